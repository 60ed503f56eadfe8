"""A `Line` on a pair of asyncio streams, which is how TCP, TLS and aioquic are used.

They have no messages: a message is its 64 bytes on the stream.
"""

import asyncio
from collections.abc import Awaitable, Callable

from quantum.perf.peer import MESSAGE_BYTES

READ_BYTES = 256 * 1024
# Waiting for room after every message would cost more than the message.
PAUSE_EVERY = 32


class StreamLine:
    """See `Line`.

    Args:
        reader: what arrives.
        writer: what leaves.
        pause: waits until the transport wants more.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pause = pause
        self._unpaused = 0

    async def write(self, data: bytes) -> None:
        """Write, and wait while the transport asks to."""
        self._writer.write(data)
        await self._pause()

    async def read(self) -> bytes:
        """Return what has come; b"" at the end."""
        return await self._reader.read(READ_BYTES)

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes."""
        return await self._reader.readexactly(count)

    async def send(self, message: bytes) -> None:
        """Write a message, and wait now and then."""
        self._writer.write(message)
        self._unpaused += 1
        if self._unpaused == PAUSE_EVERY:
            self._unpaused = 0
            await self._pause()

    async def receive(self) -> bytes:
        """Return the next message."""
        return await self._reader.readexactly(MESSAGE_BYTES)

    async def flush(self) -> None:
        """Let everything be on its way."""
        await self._pause()
