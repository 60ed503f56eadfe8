"""A stream in the clothes of asyncio: a Transport with a Protocol, or a StreamReader and a
StreamWriter.

For code that was written for TCP. It buffers no more than asyncio's own transports do; knows a
`Stream`, and nothing of connections.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from quantum.errors import QuantumError
from quantum.stream import Stream

READ_BYTES = 256 << 10
HIGH_WATER_BYTES = 64 << 10


class StreamTransport(asyncio.Transport):
    """An asyncio transport over one stream.

    Make it where a loop runs. `write` hands over at once what the stream has room for and keeps
    the rest, calling `pause_writing` above the high-water mark. `close` sends what is kept, then
    the end of the stream, and wants no more from the peer; that it arrived is known when
    `Connection.flush` or `close` says so. Both ends of the protocol's life are called as asyncio
    does: `connection_lost(None)` after `close`, with the error otherwise.
    """

    def __init__(
        self, stream: Stream, protocol: asyncio.Protocol, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__({"stream": stream, **(extra or {})})
        self._stream = stream
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._kept: deque[memoryview] = deque()
        self._kept_bytes = 0
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4
        self._is_paused = False
        self._is_ending = False
        self._is_closing = False
        self._is_lost = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._sending: asyncio.Task[None] | None = None
        self._reading = self._loop.create_task(self._read()) if stream.can_read else None
        protocol.connection_made(self)

    # reading

    async def _read(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                data = await self._stream.read(READ_BYTES)
                # It may have been paused in the meantime; at most this one piece is held back.
                await self._may_read.wait()
                if not data:
                    break
                self._protocol.data_received(data)
            if not self._protocol.eof_received():
                self.close()
        except QuantumError as error:
            self._lose(error)
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "a protocol failed: its stream is reset",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._lose(error)

    def is_reading(self) -> bool:
        """Tell whether the protocol gets what arrives."""
        return self._may_read.is_set() and not self._is_closing

    def pause_reading(self) -> None:
        """Hold data back; the peer is slowed down by flow control."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Go on after `pause_reading`."""
        self._may_read.set()

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, in order; never waits. RuntimeError after `write_eof`."""
        if self._is_ending:
            raise RuntimeError("write_eof was called: the stream takes no more data")
        if self._is_closing:
            return
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        taken = 0
        if not self._kept:
            try:
                taken = self._stream.write_nowait(view)
            except QuantumError as error:
                self._lose(error)
                return
        if taken == len(view):
            return
        # A copy: the caller may reuse its buffer.
        self._kept.append(memoryview(bytes(view[taken:])))
        self._kept_bytes += len(view) - taken
        if self._sending is None:
            self._sending = self._loop.create_task(self._send())
        if self._kept_bytes > self._high and not self._is_paused:
            self._is_paused = True
            self._tell(self._protocol.pause_writing)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(list_of_data))

    async def _send(self) -> None:
        try:
            while self._kept:
                await self._stream.write(self._kept[0])
                self._kept_bytes -= len(self._kept.popleft())
                if self._kept_bytes <= self._low and self._is_paused:
                    self._is_paused = False
                    self._tell(self._protocol.resume_writing)
        except QuantumError as error:
            self._lose(error)
            return
        finally:
            self._sending = None
        self._end()

    def _tell(self, callback: Any) -> None:
        try:
            callback()
        except Exception as error:
            self._report(error)

    def can_write_eof(self) -> bool:
        """Return True: a stream ends each way by itself."""
        return True

    def write_eof(self) -> None:
        """End the stream after what was written; reading goes on."""
        self._is_ending = True
        self._end()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room in the stream."""
        return self._kept_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low-water and the high-water mark in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks in bytes between which the protocol is paused; ValueError unless
        high >= low >= 0."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low

    # the end

    def _end(self) -> None:
        """Finish the stream when that was asked for and nothing is kept any more."""
        if self._kept or not (self._is_ending or self._is_closing):
            return
        if self._stream.can_write:
            self._stream.finish()
        if self._is_closing:
            self._lose(None)

    def close(self) -> None:
        """Send what is kept and the end of the stream, stop reading, then `connection_lost`."""
        if self._is_closing:
            return
        self._is_closing = True
        self._stop_reading()
        self._end()

    def abort(self) -> None:
        """Reset the stream: what was not delivered is dropped."""
        self._lose(None, is_reset=True)

    def is_closing(self) -> bool:
        """Tell whether `close` or `abort` was called, or the stream was lost."""
        return self._is_closing

    def _stop_reading(self) -> None:
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        self._reading = None

    def _lose(self, error: Exception | None, is_reset: bool = False) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._kept.clear()
        self._kept_bytes = 0
        self._stop_reading()
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()
        if self._stream.can_write and (error is not None or is_reset):
            self._stream.reset()
        if self._stream.can_read:
            self._stream.stop()
        self._loop.call_soon(self._protocol.connection_lost, error)

    # what is known

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = cast(asyncio.Protocol, protocol)


def stream_pair(stream: Stream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return *stream* as asyncio's reader and writer, for code that was written for TCP.

    The half that a unidirectional stream does not have is at its end, or refuses data.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = StreamTransport(stream, protocol)
    if not stream.can_read:
        reader.feed_eof()
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
