from typing import Self, final

@final
class RecvBatch:
    slots: int
    def __new__(cls, slots: int = 8) -> Self: ...
    def read(
        self, fd: int
    ) -> list[tuple[bytes, int, tuple[str, int] | tuple[str, int, int], int]]: ...
    def counters(self) -> dict[str, int]: ...

@final
class SendBatch:
    slots: int
    max_segments: int
    gso: bool
    def __new__(
        cls,
        slots: int = 16,
        max_segments: int = 32,
        *,
        family: int = ...,
        gso: bool = True,
        connected: bool = False,
    ) -> Self: ...
    def append(
        self, data: bytes, address: tuple[str, int] | tuple[str, int, int], ecn: int = 0
    ) -> bool: ...
    def send(self, fd: int) -> int: ...
    def runs(
        self,
    ) -> list[tuple[list[int], tuple[str, int] | tuple[str, int, int], int]]: ...
    def counters(self) -> dict[str, int]: ...
