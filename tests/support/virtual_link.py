"""Two sans-IO endpoints joined by a lossy link in virtual time.

Works with anything that has the four verbs of the core: ``handle_datagram(data, now_ns, source)``,
``handle_timeout(now_ns)``, ``poll_datagrams(now_ns)`` and ``next_timeout()``, and says with which
ECN bits it sends (``mark``). Deterministic for a seed.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Peer(Protocol):
    @property
    def mark(self) -> int: ...
    def handle_datagram(
        self, data: bytes, now_ns: int, source: object = None, mark: int = 0
    ) -> None: ...
    def handle_timeout(self, now_ns: int) -> None: ...
    def poll_datagrams(self, now_ns: int) -> list[bytes]: ...
    def next_timeout(self) -> int | None: ...


@dataclass(frozen=True)
class Path:
    """How the link treats datagrams: probabilities, and the one-way delay in nanoseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    delay_ns: int = 10_000_000
    jitter_ns: int = 0
    congestion: float = 0.0
    """Share of the datagrams with a mark that get the mark CE."""
    bleaches: bool = False
    """Whether the path takes all marks away."""


class StalledError(AssertionError):
    """The condition did not come true in the virtual time that was given."""


class VirtualLink:
    """Carries datagrams between *left* and *right*; ``now_ns`` is the only clock."""

    def __init__(
        self,
        left: Peer,
        right: Peer,
        path: Path = Path(),
        seed: int = 0,
        start_ns: int = 1_000_000_000,
    ) -> None:
        self.peers = {"left": left, "right": right}
        self.path = path
        self.now_ns = start_ns
        self.sent: list[tuple[str, bytes]] = []
        self.drop: Callable[[str, bytes], bool] = lambda side, data: False
        self._random = random.Random(seed)
        self._wire: list[tuple[int, int, str, bytes, int]] = []
        self._count = 0

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until *condition* holds; raise `StalledError` after *seconds* of it."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while True:
            self._poll()
            if condition():
                return
            moment = self._next_moment()
            if moment is None or moment > end_ns:
                raise StalledError(f"nothing more to do after {self.now_ns / 1e9:.3f} s")
            self.now_ns = max(self.now_ns, moment)
            self._deliver()

    def run_for(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while True:
            self._poll()
            moment = self._next_moment()
            if moment is None or moment > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, moment)
            self._deliver()

    def _next_moment(self) -> int | None:
        moments = [self._wire[0][0]] if self._wire else []
        moments += [t for p in self.peers.values() if (t := p.next_timeout()) is not None]
        return min(moments, default=None)

    def _deliver(self) -> None:
        for peer in self.peers.values():
            peer.handle_timeout(self.now_ns)
        while self._wire and self._wire[0][0] <= self.now_ns:
            _, _, side, data, mark = heapq.heappop(self._wire)
            other = "right" if side == "left" else "left"
            self.peers[other].handle_datagram(data, self.now_ns, side, mark)

    def _poll(self) -> None:
        for side, peer in self.peers.items():
            for data in peer.poll_datagrams(self.now_ns):
                self.sent.append((side, data))
                self._carry(side, data, peer.mark)

    def _carry(self, side: str, data: bytes, mark: int) -> None:
        chance = self._random.random
        copies = 1 + (chance() < self.path.duplication)
        if self.drop(side, data) or chance() < self.path.loss:
            return
        if mark and self.path.congestion and chance() < self.path.congestion:
            mark = 3
        if self.path.bleaches:
            mark = 0
        for _ in range(copies):
            arrived = data
            if chance() < self.path.corruption:
                index = self._random.randrange(len(data))
                arrived = data[:index] + bytes([data[index] ^ 0x40]) + data[index + 1 :]
            jitter = self._random.randrange(self.path.jitter_ns + 1)
            self._count += 1
            moment = self.now_ns + self.path.delay_ns + jitter
            heapq.heappush(self._wire, (moment, self._count, side, arrived, mark))
