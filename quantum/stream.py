"""Streams of a connection: ordered bytes, each way, with back-pressure.

Thin: the bytes and their rules are in the core; here are the waiting and the errors. A stream never
touches the socket; it asks its owner to flush.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from cython_ext.core import Connection as Core
from quantum.errors import (
    ConnectionFailed,
    QuantumError,
    StreamFinished,
    StreamReset,
    StreamStopped,
)

UNIDIRECTIONAL = 2
SERVER = 1


class Owner(Protocol):
    """What a stream needs of its connection."""

    core: Core
    error: ConnectionFailed | None

    def flush_soon(self, count: int = 0) -> None:
        """Have what was written sent in this turn of the loop."""

    def forget_stream(self, stream_id: int) -> None:
        """The stream has ended on both sides."""


class Stream:
    """A bidirectional or unidirectional stream; made by `Connection.open_stream` and
    `accept_stream`."""

    def __init__(self, owner: Owner, stream_id: int) -> None:
        self.id = stream_id
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._delivered: asyncio.Future[None] | None = None
        self._reset: StreamReset | None = None
        self._stopped: StreamStopped | None = None
        self._finished = False
        self._ended = False
        self._is_delivered = False

    def __repr__(self) -> str:
        return f"<Stream {self.id}>"

    @property
    def can_write(self) -> bool:
        """Whether this end has a sending half."""
        return not self.id & UNIDIRECTIONAL or bool(self.id & SERVER) != self._owner.core.is_client

    @property
    def can_read(self) -> bool:
        """Whether this end has a receiving half."""
        return not self.id & UNIDIRECTIONAL or bool(self.id & SERVER) == self._owner.core.is_client

    # writing

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue *data*; wait while the send buffer is full.

        Up to `send_buffer_bytes` go as one piece: a write of that size that is cancelled
        committed nothing.
        Raises StreamFinished after `finish`, StreamStopped when the peer wants no more, or the
        connection's error.
        """
        view = memoryview(data)
        if view.ndim != 1 or view.itemsize != 1:
            view = view.cast("B")
        at = 0
        while True:
            taken = self._owner.core.stream_write(self.id, view, at)
            if taken < 0 or self._finished:
                raise self._write_error()
            at += taken
            if at >= len(view):
                self._owner.flush_soon(taken)
                return
            if taken == 0:
                self._owner.flush_soon()
                await self._wait_for_space()
            else:
                self._owner.flush_soon(taken)

    async def _wait_for_space(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_future()
        # Shielded: several writers may wait for the same room.
        await asyncio.shield(self._writer)

    def _write_error(self) -> QuantumError:
        if self._owner.error is not None:
            return self._owner.error
        if self._stopped is not None:
            return self._stopped
        if not self.can_write:
            return StreamFinished(
                f"stream {self.id} is the peer's: it can only be read", stream_id=self.id
            )
        return StreamFinished(
            f"stream {self.id} was finished or reset: open another", stream_id=self.id
        )

    def finish(self) -> None:
        """End the sending half after what was written; the peer reads an end of stream."""
        self._finished = True
        self._owner.core.stream_finish(self.id)
        self._owner.flush_soon()

    def reset(self, code: int = 0) -> None:
        """Give up the sending half: what was not delivered is dropped, the peer gets *code*."""
        self._finished = True
        self._owner.core.stream_reset(self.id, code)
        self._owner.flush_soon()

    async def wait_delivered(self) -> None:
        """Wait until everything up to `finish` was acknowledged by the peer's transport."""
        if self._is_delivered:
            return
        if self._owner.error is not None or self._stopped is not None:
            raise self._write_error()
        if self._delivered is None:
            self._delivered = self._loop.create_future()
        await asyncio.shield(self._delivered)

    # reading

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to *max_bytes* bytes as soon as there are some; b"" at the end of the stream.

        Raises StreamReset when the peer gave the stream up, or the connection's error once
        everything that came before was read.
        """
        while True:
            data = self._owner.core.stream_read(self.id, max_bytes)
            if data is not None:
                if not data:
                    self._ended = True
                self._owner.flush_soon()
                return data
            if self._reset is not None:
                raise self._reset
            if not self.can_read:
                raise StreamFinished(
                    f"stream {self.id} is ours: it can only be written", stream_id=self.id
                )
            if self._owner.error is not None:
                raise self._owner.error
            if self._reader is None or self._reader.done():
                self._reader = self._loop.create_future()
            await asyncio.shield(self._reader)

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes; asyncio.IncompleteReadError, with what there was, at an
        early end."""
        parts: list[bytes] = []
        missing = count
        while missing:
            part = await self.read(missing)
            if not part:
                raise asyncio.IncompleteReadError(b"".join(parts), count)
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stop(self, code: int = 0) -> None:
        """Tell the peer that no more is wanted; what still comes is thrown away."""
        self._owner.core.stream_stop(self.id, code)
        self._owner.flush_soon()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.can_write and not self._finished:
            if kind is None:
                self.finish()
            else:
                self.reset()
        if self.can_read and not self._ended:
            self.stop()

    # events, from the connection

    def on_data(self) -> None:
        """There is something to read, or the end."""
        _wake(self._reader)

    def on_space(self) -> None:
        """There is room to write."""
        _wake(self._writer)

    def on_reset(self, code: int) -> None:
        """The peer reset its sending half."""
        self._reset = StreamReset(
            f"the peer reset stream {self.id} with code {code}",
            stream_id=self.id,
            code=code,
            remote=True,
        )
        _wake(self._reader)

    def on_stopped(self, code: int) -> None:
        """The peer wants no more."""
        self._stopped = StreamStopped(
            f"the peer stopped stream {self.id} with code {code}",
            stream_id=self.id,
            code=code,
            remote=True,
        )
        _wake(self._writer)
        _fail(self._delivered, self._stopped)

    def on_delivered(self) -> None:
        """Everything up to FIN was acknowledged."""
        self._is_delivered = True
        _wake(self._delivered)

    def on_connection_lost(self, error: ConnectionFailed) -> None:
        """The connection ended; what was received stays readable."""
        _wake(self._reader)
        _wake(self._writer)
        _fail(self._delivered, error)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None] | None", error: QuantumError) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        # Nobody may be waiting any more; the error is not lost, the next call raises it.
        future.exception()
