"""A connection: streams, messages and datagrams for asyncio, over a handle of the core.

It turns the core's events into woken waiters. It knows no socket: `flush` and `now_ns` are given
to it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from cython_ext.core import CloseCause, EventKind
from cython_ext.core import Connection as Core
from quantum.config import TransportConfig
from quantum.errors import (
    ConfigurationError,
    ConnectionClosed,
    ConnectionFailed,
    HandshakeError,
    IdleTimeout,
    QuantumError,
    StatelessReset,
    TransportFailure,
)
from quantum.stats import ConnectionStats
from quantum.stream import Stream
from quantum.transport import stream_pair
from quantum.waiting import Waiters

# What may be queued within one turn of the loop before it is sent at once.
FLUSH_BYTES = 128 << 10
# The code of a connection whose handler or ``async with`` body raised; applications choose others.
APPLICATION_FAILED = 0x01
MAX_REASON_BYTES = 256
# The middle one: as many priorities are more urgent as most applications want.
DEFAULT_PRIORITY = 3
MAX_DEADLINE_S = 86_400
MAX_CODE = (1 << 62) - 1
# HKDF-Expand of SHA-256 gives at most 255 blocks; a label is prefixed "quantum2 " in one length
# byte.
MAX_EXPORT_BYTES = 255 * 32
MAX_LABEL_BYTES = 255 - len("quantum2 ")

_CONNECTED = int(EventKind.CONNECTED)
_OPENED = int(EventKind.STREAM_OPENED_BY_PEER)
_DATA = int(EventKind.STREAM_DATA)
_SPACE = int(EventKind.STREAM_SPACE)
_RESET = int(EventKind.STREAM_RESET_BY_PEER)
_STOPPED = int(EventKind.STREAM_STOPPED_BY_PEER)
_DELIVERED = int(EventKind.STREAM_DELIVERED)
_MESSAGES = int(EventKind.MESSAGES_ARRIVED)
_DATAGRAMS = int(EventKind.DATAGRAMS_ARRIVED)
_MESSAGE_SPACE = int(EventKind.MESSAGE_SPACE)
_STREAMS = int(EventKind.STREAMS_ALLOWED)
_ACKED = int(EventKind.EVERYTHING_ACKED)
_CLOSED = int(EventKind.CONNECTION_CLOSED)
_OURS = frozenset({CloseCause.LOCAL_CLOSE, CloseCause.LOCAL_ERROR})
# Before the first message or datagram was taken; never filled.
_NOTHING: list[bytes] = []
_WAITED_FOR = frozenset({_MESSAGES, _DATAGRAMS, _MESSAGE_SPACE})


class Flush(Protocol):
    """Has what was queued sent, at the end of this turn of the loop at the latest."""

    def __call__(self, count: int, is_whole: bool = False, /) -> None:
        """*count* bytes more are queued; *is_whole* says that nothing need follow them."""


class Socket(Protocol):
    """The socket of a connection that has one of its own."""

    async def wait_idle(self) -> None:
        """Wait until the peer has surely heard of the end."""

    def close(self) -> None:
        """Close it now; a second call does nothing."""


class Connection:
    """One connection, either end; made by `connect` and by a listener."""

    __slots__ = (
        "__weakref__",
        "_begun_s",
        "_datagrams",
        "_flush",
        "_handshake_s",
        "_incoming",
        "_is_connected",
        "_loop",
        "_messages",
        "_now_ns",
        "_owned",
        "_streams",
        "_waiters",
        "config",
        "core",
        "error",
    )

    def __init__(
        self,
        core: Core,
        config: TransportConfig,
        flush: Flush,
        now_ns: Callable[[], int],
        owned: Socket | None = None,
    ) -> None:
        self.core = core
        self.config = config
        self.error: ConnectionFailed | None = None
        self._flush = flush
        self._now_ns = now_ns
        self._owned = owned
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        # Made when they are needed: a server may hold very many connections that wait for nothing.
        self._incoming: deque[Stream] | None = None
        self._waiters: dict[int, Waiters] = {}
        # What was taken from the core and not from here, the oldest last.
        self._messages: list[bytes] = _NOTHING
        self._datagrams: list[bytes] = _NOTHING
        self._begun_s = self._loop.time()
        self._handshake_s = 0.0
        self._is_connected = False

    def __repr__(self) -> str:
        host, port = self.peer_address
        return f"<Connection with {host}:{port} {self.core.state.name}>"

    # streams

    async def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Open a stream; wait while the peer's limit does not allow another."""
        while True:
            self._check_open()
            stream_id = self.core.open_stream(not unidirectional)
            if stream_id is not None:
                stream = self._streams[stream_id] = Stream(self, stream_id)
                return stream
            await self._wait(_STREAMS)

    async def accept_stream(self) -> Stream:
        """Return the next stream that the peer opened; wait for one."""
        while not self._incoming:
            self._check_open()
            await self._wait(_OPENED)
        stream = self._incoming.popleft()
        stream.on_accepted()
        return stream

    async def open_stream_pair(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream for code that wants asyncio's reader and writer; see `open_stream`."""
        return stream_pair(await self.open_stream())

    async def accept_stream_pair(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the peer's next stream as asyncio's reader and writer; see `accept_stream`."""
        return stream_pair(await self.accept_stream())

    async def streams(self) -> AsyncIterator[Stream]:
        """Iterate over the streams that the peer opens, until the connection closes in order: by
        this end, or by the peer with code 0.

        Raises the connection's error when it ended in another way.
        """
        while True:
            try:
                stream = await self.accept_stream()
            except ConnectionClosed as error:
                if error.remote and error.code:
                    raise
                return
            yield stream

    def forget_stream(self, stream_id: int) -> None:
        """Drop a stream that is over."""
        self._streams.pop(stream_id, None)

    # messages and datagrams

    async def send(
        self,
        data: bytes | bytearray | memoryview,
        *,
        priority: int = DEFAULT_PRIORITY,
        deadline: float | None = None,
    ) -> None:
        """Send a reliable message; wait while too much is unacknowledged.

        Messages arrive once each and in no order. Those of a more urgent *priority*, 0 to 7 with 3
        for most, leave first; among equals the order of sending is kept. *deadline* is in seconds
        from now: what has not left by then is not sent, what was lost is not sent again, and the
        peer does not see the message. That is no error, since `send` returned long before; the
        statistics count it (`messages_expired`). A send that waits for room until the deadline
        returns and is counted too. None is never.

        A send that is cancelled sent nothing. Raises ConfigurationError for a message larger than
        the peer accepts, a priority that does not exist, and a deadline that is no time.
        """
        due_ns = 0 if deadline is None else self._due_ns(deadline)
        while True:
            try:
                queued = self.core.send_message(data, priority, due_ns)
            except (ValueError, OverflowError) as error:
                raise ConfigurationError(str(error)) from None
            if queued:
                self._flush(len(data), True)
                return
            self._check_open()
            if not await self._wait_until(_MESSAGE_SPACE, due_ns):
                self.core.expire_message()
                return

    def _due_ns(self, deadline: float) -> int:
        if not isinstance(deadline, int | float) or not 0 <= deadline <= MAX_DEADLINE_S:
            raise ConfigurationError(
                f"deadline = {deadline!r} is not between 0 and {MAX_DEADLINE_S:,} seconds"
            )
        return self._now_ns() + round(deadline * 1_000_000_000)

    async def receive(self) -> bytes:
        """Return the next message; wait for one.

        Credit returns to the peer as messages are taken: who does not take them slows the sender
        down.
        """
        while not self._messages:
            taken = self.core.receive_messages(256)
            if taken:
                taken.reverse()
                self._messages = taken
                if self.core.is_changed:
                    self._flush(0)
                break
            self._check_open()
            await self._wait(_MESSAGES)
        return self._messages.pop()

    async def messages(self) -> AsyncIterator[bytes]:
        """Iterate over messages until the connection closes in order: by this end, or by the peer
        with code 0.

        Raises the connection's error when it ended in another way.
        """
        while True:
            try:
                message = await self.receive()
            except ConnectionClosed as error:
                if error.remote and error.code:
                    raise
                return
            yield message

    def send_datagram(self, data: bytes | bytearray | memoryview) -> bool:
        """Send an unreliable datagram; False when the queue is full and it was dropped.

        Raises ConfigurationError when it does not fit into one packet (`max_datagram_bytes`).
        """
        self._check_open()
        try:
            queued = self.core.send_datagram(bytes(memoryview(data)))
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._flush(len(data), True)
        return queued

    async def receive_datagram(self) -> bytes:
        """Return the next datagram; wait for one."""
        while not self._datagrams:
            taken = self.core.receive_datagrams()
            if taken:
                taken.reverse()
                self._datagrams = taken
                break
            self._check_open()
            await self._wait(_DATAGRAMS)
        return self._datagrams.pop()

    @property
    def max_message_bytes(self) -> int:
        """Largest message that the peer accepts."""
        return self.core.max_message_bytes

    @property
    def max_datagram_bytes(self) -> int:
        """Largest payload that `send_datagram` takes."""
        return self.core.max_datagram_bytes

    # life

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the peer's transport has acknowledged everything written; TimeoutError after
        *timeout* s.

        Raises the connection's error when it ended before that.
        """
        async with asyncio.timeout(timeout):
            while not self.core.request_flush():
                self._check_open()
                self._flush(0)
                await self._wait(_ACKED)

    async def close(self, code: int = 0, reason: str = "") -> None:
        """End the connection in order: what was written is delivered first.

        Delivery is waited for at most `close_timeout` seconds. A client's own socket is closed
        once the peer has surely heard of the end. Never raises for what the network does. When it
        is cancelled, the connection ends at once.
        """
        _check_close_code(code)
        try:
            if self.error is None:
                try:
                    await self.flush(self.config.close_timeout)
                except (QuantumError, TimeoutError):
                    pass
            self.abort(code, reason)
            if self._owned is not None:
                await self._linger(self._owned)
        finally:
            self.abort(code, reason)
            if self._owned is not None:
                self._owned.close()

    async def _linger(self, owned: Socket) -> None:
        # Until a round trip was measured the core waits by the assumed one, a second in all; the
        # handshake, which is one and more, says better.
        sampled = self.core.stats()["rtt_minimum_ns"] > 0
        longest = 3 * (self._handshake_s + self.config.max_ack_delay)
        try:
            async with asyncio.timeout(None if sampled else longest):
                await owned.wait_idle()
        except TimeoutError:
            pass

    def abort(self, code: int = 0, reason: str = "") -> None:
        """End the connection at once; what was not delivered is dropped.

        The peer gets *code* and the first 256 bytes of *reason*. Does nothing when it is over.
        """
        _check_close_code(code)
        if self.error is not None:
            return
        text = reason.encode(errors="replace")[:MAX_REASON_BYTES]
        # Not half a character.
        text = text.decode(errors="ignore").encode()
        self.core.close(code, text, True, self._now_ns())
        self.flush_now()
        # At once, even where the socket takes no more just now.
        self.handle_events()

    def discard(self, code: int = 0, reason: str = "") -> None:
        """`abort`, and close a client's own socket without waiting for the peer to have heard."""
        self.abort(code, reason)
        if self._owned is not None:
            self._owned.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is over, whoever ended it; `error` says how."""
        while self.error is None:
            await self._wait(_CLOSED)

    async def wait_connected(self) -> None:
        """Wait for the end of the handshake; raises the connection's error when it fails."""
        while not self._is_connected:
            self._check_open()
            await self._wait(_CONNECTED)

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            await self.close()
        else:
            self.discard(APPLICATION_FAILED, "the application failed")

    # what is known

    @property
    def congestion(self) -> str:
        """Name of the congestion controller of this connection."""
        return self.core.congestion

    def set_congestion(self, name: str) -> None:
        """Choose the congestion controller of this connection: "bbr", "cubic" or "new_reno".

        It may be changed at any time; the new one goes on from the present window and round trip.
        Raises ConfigurationError for another name.
        """
        try:
            self.core.set_congestion(name, self._now_ns())
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    def stats(self) -> ConnectionStats:
        """Return counters and estimates as they are now."""
        return ConnectionStats.of(self.core.stats())

    @property
    def peer_address(self) -> tuple[str, int]:
        """Host and port of the other end."""
        return self.core.peer_address

    @property
    def is_client(self) -> bool:
        """Whether this end opened the connection."""
        return self.core.is_client

    @property
    def server_name(self) -> str:
        """The name that the client asked for."""
        return self.core.server_name

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self.error is not None

    def exporter(self, label: str, length: int) -> bytes:
        """Return *length* bytes that only both ends of this connection know (docs/protocol.md
        section 3.2).

        They bind a token to the connection. Raises ConfigurationError before the handshake is done.
        """
        if self.core.secrets is None:
            raise ConfigurationError("the exporter exists once the handshake is done")
        if not 1 <= length <= MAX_EXPORT_BYTES:
            raise ConfigurationError(f"length is 1 to {MAX_EXPORT_BYTES}, not {length}")
        size = len(label.encode())
        if not 1 <= size <= MAX_LABEL_BYTES:
            raise ConfigurationError(f"a label has 1 to {MAX_LABEL_BYTES} bytes, not {size}")
        return self.core.secrets.export(label, length)

    # the owner's side of a stream

    def flush_soon(self, count: int = 0) -> None:
        """Have what was written sent in this turn of the loop."""
        self._flush(count)

    def flush_now(self) -> None:
        """Send what was written."""
        self._flush(FLUSH_BYTES)

    # events, from the endpoint

    def handle_events(self) -> None:
        """Take the core's events and wake who waits for them."""
        for kind, stream_id, code in self.core.poll_events():
            if kind == _DATA:
                stream = self._streams.get(stream_id)
                if stream is not None:
                    stream.on_data()
            elif kind in _WAITED_FOR:
                self._wake(kind)
            elif kind == _OPENED:
                stream = self._streams[stream_id] = Stream(self, stream_id)
                if self._incoming is None:
                    self._incoming = deque()
                self._incoming.append(stream)
                self._wake(_OPENED)
            elif kind == _CLOSED:
                self._on_closed()
            elif kind == _CONNECTED:
                self._handshake_s = self._loop.time() - self._begun_s
                self._is_connected = True
                self._wake(_CONNECTED)
            elif kind in (_ACKED, _STREAMS):
                self._wake(kind)
            else:
                self._on_stream_event(kind, stream_id, code)

    def _on_stream_event(self, kind: int, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            if kind == _RESET:
                # Stopped by this end: nobody will read the reset, and the stream is over with it.
                self.core.stream_read(stream_id, 1)
                self._flush(0)
            return
        if kind == _SPACE:
            stream.on_space()
        elif kind == _RESET:
            stream.on_reset(code)
        elif kind == _STOPPED:
            stream.on_stopped(code)
        elif kind == _DELIVERED:
            stream.on_delivered()
            # The peer may open another in its place, and must hear so.
            self._flush(0)

    def fail(self, error: ConnectionFailed) -> None:
        """End with *error*: what carries the connection does not work any more."""
        self._on_closed(error)

    def _on_closed(self, error: ConnectionFailed | None = None) -> None:
        if self.error is not None:
            return
        self.error = error or self._why()
        for waiters in list(self._waiters.values()):
            waiters.wake()
        for stream in list(self._streams.values()):
            stream.on_connection_lost(self.error)
        self._streams.clear()
        if self._owned is not None and self.core.cause not in _OURS:
            # The peer is gone or draining: nobody waits for another word from this socket.
            self._loop.call_soon(self._owned.close)

    def _why(self) -> ConnectionFailed:
        cause = self.core.cause
        code, is_application, raw = self.core.close_frame
        text = raw.decode(errors="replace")
        said = f": {text}" if text else ""
        host, port = self.peer_address
        if cause == CloseCause.HANDSHAKE_TIMEOUT and text:
            return HandshakeError(f"{host}:{port} does not speak version 2{said}", remote=True)
        if cause == CloseCause.HANDSHAKE_TIMEOUT:
            return HandshakeError(
                f"no valid answer from {host}:{port} within {self.config.handshake_timeout:g} s: "
                "is a Quantum server there, and is the pin its public key?"
            )
        if cause == CloseCause.IDLE_TIMEOUT:
            return IdleTimeout(
                f"nothing came from {host}:{port} for the idle time-out of "
                f"{self.config.idle_timeout:g} s"
            )
        if cause == CloseCause.STATELESS_RESET:
            return StatelessReset(
                f"{host}:{port} does not know this connection any more", remote=True
            )
        if cause == CloseCause.LOCAL_ERROR:
            return TransportFailure(f"the peer broke the protocol{said}", code=code, remote=True)
        if cause == CloseCause.PEER_ERROR:
            return TransportFailure(
                f"the peer says we broke the protocol{said}", code=code, remote=True
            )
        remote = cause == CloseCause.PEER_CLOSE
        who = "the peer" if remote else "this end"
        return ConnectionClosed(
            f"{who} closed the connection with code {code}{said}",
            code=code,
            remote=remote,
            is_application=is_application,
        )

    # waiting

    def _check_open(self) -> None:
        if self.error is not None:
            # Fresh, or it would grow by every caller that it was raised to.
            raise self.error.with_traceback(None)

    def _wait(self, kind: int) -> "asyncio.Future[None]":
        waiters = self._waiters.get(kind)
        if waiters is None:
            waiters = self._waiters[kind] = Waiters(self._loop)
        # Before the flush, which may be what ends the connection.
        future = waiters.future()
        if self.core.is_changed:
            # Who waits for an answer wants the question to leave.
            self.flush_now()
        return future

    async def _wait_until(self, kind: int, due_ns: int) -> bool:
        """Wait; False when the time came first. 0 is never."""
        if due_ns == 0:
            await self._wait(kind)
            return True
        try:
            async with asyncio.timeout((due_ns - self._now_ns()) / 1_000_000_000):
                await self._wait(kind)
        except TimeoutError:
            return False
        return True

    def _wake(self, kind: int) -> None:
        waiters = self._waiters.get(kind)
        if waiters is not None:
            waiters.wake()


def _check_close_code(code: int) -> None:
    if not 0 <= code <= MAX_CODE:
        raise ConfigurationError(f"a close code is 0 to 2^62 - 1, not {code}")
