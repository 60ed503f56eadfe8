"""Streams of a connection: ordered bytes, each way, with back-pressure.

Thin: the bytes and their rules are in the core; here are the waiting and the errors. A stream never
touches the socket; it asks its owner to flush.
"""

import asyncio
from typing import Protocol

from cython_ext.core import Connection as Core
from quantum.errors import (
    ConfigurationError,
    ConnectionFailed,
    QuantumError,
    StreamFinished,
    StreamReset,
    StreamStopped,
)
from quantum.waiting import Waiters

UNIDIRECTIONAL = 2
SERVER = 1
MAX_CODE = (1 << 62) - 1


class Owner(Protocol):
    """What a stream needs of its connection."""

    core: Core
    error: ConnectionFailed | None

    def flush_soon(self, count: int = 0) -> None:
        """Have what was written sent in this turn of the loop."""

    def flush_now(self) -> None:
        """Send what was written."""

    def forget_stream(self, stream_id: int) -> None:
        """The stream has ended on both sides."""


class Stream:
    """A stream; made by `Connection.open_stream` and `accept_stream`.

    It counts against the limit of streams until both its halves are over: the sending half by
    `finish` or `reset`, the receiving half by reading to the end or `stop`. ``async with`` sees to
    both. Any number of tasks may read or write; each `read` and each `write` of at most
    `send_buffer_bytes` is one piece.
    """

    def __init__(self, owner: Owner, stream_id: int) -> None:
        self.id = stream_id
        is_ours = bool(stream_id & SERVER) != owner.core.is_client
        self.can_write = is_ours or not stream_id & UNIDIRECTIONAL
        """Whether this end has a sending half."""
        self.can_read = not is_ours or not stream_id & UNIDIRECTIONAL
        """Whether this end has a receiving half."""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._readers = Waiters(self._loop)
        self._writers = Waiters(self._loop)
        self._delivered: asyncio.Future[None] | None = None
        # What a read_exactly that was given up had taken already.
        self._returned = b""
        self._read_error: StreamReset | StreamStopped | None = None
        self._stopped: StreamStopped | None = None
        self._is_accepted = is_ours
        self._is_finished = False
        self._is_delivered = False
        self._is_read = not self.can_read
        self._is_written = not self.can_write

    def __repr__(self) -> str:
        return f"<Stream {self.id}>"

    # writing

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue *data*; wait while the send buffer is full.

        Up to `send_buffer_bytes` go as one piece: a write of that size that is cancelled
        committed nothing; of a larger one, whole pieces may have gone.
        Raises StreamFinished after `finish` or `reset`, StreamStopped when the peer wants no more,
        or the connection's error.
        """
        view = _as_bytes(data)
        at = 0
        while True:
            taken = self._take(view, at)
            at += taken
            if at >= len(view):
                return
            if taken == 0:
                await self._wait(self._writers)

    def write_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Queue what there is room for and return how many bytes of *data* that was; like `write`
        otherwise."""
        return self._take(_as_bytes(data), 0)

    def _take(self, view: memoryview, at: int) -> int:
        taken = self._owner.core.stream_write(self.id, view, at)
        if taken < 0:
            raise self._write_error()
        self._owner.flush_soon(taken)
        return taken

    def _write_error(self) -> QuantumError:
        if self._owner.error is not None:
            return self._owner.error.with_traceback(None)
        if self._stopped is not None:
            return self._stopped.with_traceback(None)
        if not self.can_write:
            return self._not_ours_to_write()
        return StreamFinished(
            f"stream {self.id} was finished or reset: open another", stream_id=self.id
        )

    def _not_ours_to_write(self) -> StreamFinished:
        return StreamFinished(
            f"stream {self.id} is the peer's: it can only be read", stream_id=self.id
        )

    def finish(self) -> None:
        """End the sending half after what was written; the peer reads an end of stream.

        Does nothing when it has ended already; StreamFinished when there is no such half.
        """
        if not self.can_write:
            raise self._not_ours_to_write()
        self._is_finished = True
        self._owner.core.stream_finish(self.id)
        self._owner.flush_soon()
        self._writers.wake()

    def reset(self, code: int = 0) -> None:
        """Give up the sending half: what was not delivered is dropped, the peer gets *code*.

        Does nothing when everything was delivered; StreamFinished when there is no such half.
        """
        _check_code(code)
        if not self.can_write:
            raise self._not_ours_to_write()
        self._is_finished = True
        self._owner.core.stream_reset(self.id, code)
        self._owner.flush_soon()
        self._writers.wake()
        if not self._is_delivered:
            _fail(self._delivered, self._given_up())
        self._end_writing()

    def _given_up(self) -> StreamFinished:
        return StreamFinished(
            f"stream {self.id} was reset by this end: its data is not delivered", stream_id=self.id
        )

    async def wait_delivered(self) -> None:
        """Wait until everything up to `finish` was acknowledged by the peer's transport.

        Raises StreamStopped, StreamFinished after `reset`, or the connection's error, when that
        will not come.
        """
        if self._is_delivered:
            return
        if self._owner.error is not None or self._stopped is not None or not self.can_write:
            raise self._write_error()
        if self._is_written:
            raise self._given_up()
        if self._delivered is None:
            self._delivered = self._loop.create_future()
        await asyncio.shield(self._delivered)

    # reading

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to *max_bytes* bytes as soon as there are some; b"" at the end of the stream.

        Raises StreamReset when the peer gave the stream up, StreamStopped after `stop`, or the
        connection's error once everything that came before was read.
        """
        if max_bytes < 1:
            raise ConfigurationError(f"max_bytes is 1 or more, not {max_bytes}")
        while True:
            if self._returned:
                data, self._returned = self._returned[:max_bytes], self._returned[max_bytes:]
                return data
            if self._read_error is not None:
                raise self._read_error.with_traceback(None)
            if not self.can_read:
                raise StreamFinished(
                    f"stream {self.id} is ours: it can only be written", stream_id=self.id
                )
            if self._is_read:
                return b""
            taken = self._owner.core.stream_read(self.id, max_bytes)
            if taken is not None:
                if not taken:
                    self._end_reading()
                if self._owner.core.is_changed:
                    self._owner.flush_soon()
                return taken
            if self._owner.error is not None:
                raise self._owner.error.with_traceback(None)
            await self._wait(self._readers)

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes; asyncio.IncompleteReadError, with what there was, at an
        early end.

        When it is cancelled, the next read begins where this one did.
        """
        if count < 0:
            raise ConfigurationError(f"count is 0 or more, not {count}")
        parts: list[bytes] = []
        missing = count
        try:
            while missing:
                part = await self.read(missing)
                if not part:
                    break
                parts.append(part)
                missing -= len(part)
        except BaseException:
            if self._read_error is None:
                self._returned = b"".join(parts) + self._returned
            raise
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if missing:
            raise asyncio.IncompleteReadError(data, count)
        return data

    def stop(self, code: int = 0) -> None:
        """Tell the peer that no more is wanted; what still comes is thrown away.

        Does nothing when everything was read; StreamFinished when there is nothing to read here.
        """
        _check_code(code)
        if not self.can_read:
            raise StreamFinished(
                f"stream {self.id} is ours: there is nothing to stop", stream_id=self.id
            )
        if self._is_read:
            return
        self._owner.core.stream_stop(self.id, code)
        self._returned = b""
        self._read_error = StreamStopped(
            f"stream {self.id} was stopped by this end", stream_id=self.id, code=code
        )
        self._owner.flush_soon()
        self._readers.wake()
        self._end_reading()

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.can_write and not self._is_finished:
            if kind is None:
                self.finish()
            else:
                self.reset()
        if self.can_read and not self._is_read:
            self.stop()

    def _wait(self, waiters: Waiters) -> "asyncio.Future[None]":
        # Before the flush, which may be what ends the connection.
        future = waiters.future()
        if self._owner.core.is_changed:
            # Who waits for an answer wants the question to leave.
            self._owner.flush_now()
        return future

    # the end

    def _end_reading(self) -> None:
        self._is_read = True
        if self._is_written:
            self._owner.forget_stream(self.id)

    def _end_writing(self) -> None:
        self._is_written = True
        if self._is_read:
            self._owner.forget_stream(self.id)

    # events, from the connection

    def on_accepted(self) -> None:
        """The application has it."""
        self._is_accepted = True
        if isinstance(self._read_error, StreamReset):
            self._consume_reset()

    def on_data(self) -> None:
        """There is something to read, or the end."""
        self._readers.wake()

    def on_space(self) -> None:
        """There is room to write."""
        self._writers.wake()

    def on_reset(self, code: int) -> None:
        """The peer reset its sending half."""
        if self._read_error is None:
            self._returned = b""
            self._read_error = StreamReset(
                f"the peer reset stream {self.id} with code {code}",
                stream_id=self.id,
                code=code,
                remote=True,
            )
            self._readers.wake()
        # A stream that was not accepted keeps its place, or a peer that opens and resets without
        # end would fill our queue.
        if self._is_accepted:
            self._consume_reset()

    def _consume_reset(self) -> None:
        self._owner.core.stream_read(self.id, 1)
        self._owner.flush_soon()
        self._end_reading()

    def on_stopped(self, code: int) -> None:
        """The peer wants no more."""
        self._stopped = StreamStopped(
            f"the peer stopped stream {self.id} with code {code}",
            stream_id=self.id,
            code=code,
            remote=True,
        )
        self._writers.wake()
        _fail(self._delivered, self._stopped)
        self._end_writing()

    def on_delivered(self) -> None:
        """Everything up to FIN was acknowledged."""
        self._is_delivered = True
        if self._delivered is not None and not self._delivered.done():
            self._delivered.set_result(None)
        self._end_writing()

    def on_connection_lost(self, error: ConnectionFailed) -> None:
        """The connection ended; what was received stays readable."""
        self._readers.wake()
        self._writers.wake()
        _fail(self._delivered, error)


def _as_bytes(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    return view if view.ndim == 1 and view.itemsize == 1 else view.cast("B")


def _check_code(code: int) -> None:
    if not 0 <= code <= MAX_CODE:
        raise ConfigurationError(f"an error code is 0 to 2^62 - 1, not {code}")


def _fail(future: "asyncio.Future[None] | None", error: QuantumError) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        # Nobody may be waiting any more; the error is not lost, the next call raises it.
        future.exception()
