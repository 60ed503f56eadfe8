"""What the tasks need of a transport, for peers in Python: a `Line` is one connection.

Peers whose transport looks like asyncio's streams have `StreamLine`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

MESSAGE_BYTES = 64
READ_BYTES = 256 * 1024
# Waiting for room after every message would cost more than the message.
PAUSE_EVERY = 32

# What a client must know of a server: its port, and a key or certificate to trust.
Offer = dict[str, str | int]
Stats = dict[str, int | list[int]]


class ContentError(Exception):
    """What arrived is not what was sent: the measurement is void."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of the transport; empty is the transport's own choice."""

    congestion: str = ""
    profile: str = ""


class Line(Protocol):
    """One connection: an ordered stream of bytes each way, and messages beside it.

    Where the transport has no messages, a message is its 64 bytes on the stream.
    """

    async def write(self, data: bytes) -> None:
        """Write to the stream; wait while the transport asks to."""

    async def read(self) -> bytes:
        """Return what has come on the stream, at least one byte; b"" at its end."""

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes of the stream."""

    async def send(self, message: bytes) -> None:
        """Send one message of `MESSAGE_BYTES`, reliably."""

    async def receive(self) -> Sequence[bytes]:
        """Return the next messages, at least one."""

    async def flush(self) -> None:
        """Let everything sent be on its way."""

    def stats(self) -> Stats:
        """Return counters of the transport, by the names in the README; none is fine."""


Handler = Callable[[Line], Awaitable[None]]


class Transport(Protocol):
    """A way for two processes to talk."""

    def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AbstractAsyncContextManager[Offer]:
        """Listen, and run *handler* for each connection."""

    def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AbstractAsyncContextManager[Line]:
        """Connect; at the end, what is under way is dropped."""

    def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AbstractAsyncContextManager[None]:
        """Connect, and say nothing on the connection."""


class StreamLine:
    """A `Line` on a pair of asyncio streams.

    Args:
        reader: what arrives.
        writer: what leaves.
        pause: waits until the transport wants more; the writer's own `drain` if not given.
        stats: returns the transport's counters.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pause: Callable[[], Awaitable[None]] | None = None,
        stats: Callable[[], Stats] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pause = pause or writer.drain
        self._stats = stats
        self._unpaused = 0
        self._rest = b""

    async def write(self, data: bytes) -> None:
        """Write; see `Line`."""
        self._writer.write(data)
        await self._pause()

    async def read(self) -> bytes:
        """Return what has come; see `Line`."""
        rest, self._rest = self._rest, b""
        return rest or await self._reader.read(READ_BYTES)

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes; see `Line`."""
        # What came behind the last whole message comes first.
        had, self._rest = self._rest[:count], self._rest[count:]
        if len(had) == count:
            return had
        return had + await self._reader.readexactly(count - len(had))

    async def send(self, message: bytes) -> None:
        """Write a message, and wait now and then; see `Line`."""
        self._writer.write(message)
        self._unpaused += 1
        if self._unpaused == PAUSE_EVERY:
            self._unpaused = 0
            await self._pause()

    async def receive(self) -> Sequence[bytes]:
        """Return the whole messages of what has come; see `Line`."""
        while True:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise EOFError("the stream ended where a message was due")
            data = self._rest + data if self._rest else data
            whole = len(data) - len(data) % MESSAGE_BYTES
            self._rest = data[whole:]
            if whole:
                return [data[at : at + MESSAGE_BYTES] for at in range(0, whole, MESSAGE_BYTES)]

    async def flush(self) -> None:
        """Wait until the transport wants more; see `Line`."""
        await self._pause()

    def stats(self) -> Stats:
        """Return the transport's counters; see `Line`."""
        return self._stats() if self._stats else {}
