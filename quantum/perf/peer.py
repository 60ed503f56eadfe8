"""What is measured: a `Peer` offers one way for two processes to talk, a `Line` is one connection.

Singular is the contract; `quantum.perf.peers` has one file per implementation.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

# What a client must know of a server: port, and a key or certificate to trust. Travels as JSON.
Offer = dict[str, str | int]


class Line(Protocol):
    """One connection: an ordered stream of bytes in each direction, and messages beside it.

    Where the transport has no messages, a message is its 64 bytes on the stream. A measurement
    uses either the stream or messages at any one moment, never both.
    """

    async def write(self, data: bytes) -> None:
        """Write to the stream; wait while the transport asks to."""

    async def read(self) -> bytes:
        """Return what has come on the stream, at least one byte; b"" at its end."""

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes of the stream."""

    async def send(self, message: bytes) -> None:
        """Send one message of `MESSAGE_BYTES`, reliably."""

    async def receive(self) -> bytes:
        """Return the next message."""

    async def flush(self) -> None:
        """Let everything sent be on its way."""


Handler = Callable[[Line], Awaitable[None]]


class Peer(Protocol):
    """A transport under measurement."""

    def serve(self, handler: Handler) -> AbstractAsyncContextManager[Offer]:
        """Listen on a free loopback port and run *handler* for each connection."""

    def connect(self, offer: Offer) -> AbstractAsyncContextManager[Line]:
        """Connect to a server in another process."""


class ContentError(Exception):
    """What arrived is not what was sent: the measurement is void."""


MESSAGE_BYTES = 64
