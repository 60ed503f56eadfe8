"""One client, on any transport: its state, its outbox, its back-pressure and its deadlines.

It reads whole messages from its peer, hands each to a handler, and writes replies and pushes in
order from a bounded outbox. It knows no kind of message and no service.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.close_codes import CloseCode
from gateway.codec import Codec, DecodeError, EncodeError
from gateway.errors import Code, GatewayError
from gateway.identity import Identity
from gateway.limits import ClientLimits
from gateway.messages import Body, Envelope, Error, GoingAway, Kind, Resync
from gateway.outbox import Item, Outbox, Policy
from gateway.state import ClientState, Trigger, advance
from gateway.transport import Peer, PeerGone
from svckit.clock import Clock
from svckit.logs import logger

_log = logger("gateway.client")
_BATCH_BYTES = 256 << 10

Handle = Callable[["Client", Envelope], Awaitable[None]]
Sniff = Callable[[bytes], Codec]


class Encoded:
    """An envelope that many clients get: encoded once for each codec, its bytes shared."""

    __slots__ = ("_bytes", "channel", "envelope", "key")

    def __init__(self, envelope: Envelope, *, key: str = "") -> None:
        self.envelope = envelope
        self.channel = envelope.channel
        self.key = key
        self._bytes: dict[str, bytes] = {}

    def for_codec(self, codec: Codec) -> bytes:
        """Return its bytes in *codec*."""
        found = self._bytes.get(codec.name)
        if found is None:
            found = self._bytes[codec.name] = codec.encode(self.envelope)
        return found


@dataclass(slots=True)
class Tally:
    """What one client did."""

    received: int = 0
    sent: int = 0
    bad: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    extra: Mapping[str, int] = field(default_factory=dict)


class Client:
    """A connected client."""

    def __init__(
        self,
        connection_id: str,
        peer: Peer,
        codec: Codec,
        sniff: Sniff,
        limits: ClientLimits,
        clock: Clock,
    ) -> None:
        self.id = connection_id
        self.peer = peer
        self.codec = codec
        self.limits = limits
        self.state = ClientState.CONNECTED
        self.identity: Identity | None = None
        self.session_id = ""
        self.channels: set[str] = set()
        self.attachments: dict[str, Any] = {}
        """What handlers keep for this client, by the name of their module."""
        self.tally = Tally()
        self.outbox = Outbox(limits.outbox_messages, limits.outbox_bytes)
        self.connected_ns = self.heard_ns = clock.monotonic_ns()
        self.close_code: CloseCode | None = None
        self.cleanups: list[Callable[[], Awaitable[None]]] = []
        self._sniff = sniff
        self._clock = clock
        self._index = 0
        self._pending = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._busy = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._has_codec = False

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.peer.transport} {self.peer.host} {self.state}>"

    async def run(self, handle: Handle) -> None:
        """Serve the client until its connection ends; never raises for what it did."""
        writer = asyncio.create_task(self._write(), name=f"writer {self.id}")
        try:
            async for data in self.peer.frames():
                self.heard_ns = self._clock.monotonic_ns()
                self.tally.received += 1
                self.tally.bytes_received += len(data)
                envelope = self._decode(data)
                if envelope is None:
                    continue
                if self.outbox.is_busy:
                    await self.room()
                self.track(1)
                try:
                    await handle(self, envelope)
                finally:
                    self.track(-1)
        except PeerGone:
            pass
        finally:
            self.state = advance(self.state, Trigger.CLOSE)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.outbox.clear()
            self._wake()
            for cleanup in reversed(self.cleanups):
                await _run_cleanup(cleanup)

    # Commands

    def authenticate(self, identity: Identity, session_id: str) -> None:
        """Give the client its user and session."""
        self.state = advance(self.state, Trigger.AUTHENTICATE)
        self.identity = identity
        self.session_id = session_id

    def log_out(self) -> None:
        """Take user and session away."""
        self.state = advance(self.state, Trigger.LOG_OUT)
        self.identity = None
        self.session_id = ""

    def reply(self, request_id: int, body: Body, **head: Any) -> None:
        """Queue a reply. With *request_id* 0 nobody waits for one, and only errors are sent."""
        if request_id or body.kind is Kind.ERROR:
            self._put(Item(self._encode(Envelope(body, id=request_id, **head))))

    def refuse(self, request_id: int, error: GatewayError) -> None:
        """Queue the reply that says why a request was not carried out."""
        body = Error(
            code=error.code,
            message=error.reason,
            retry=error.retry,
            retry_after_ms=error.retry_after_ms,
            server_time_ms=self._clock.wall_ns() // 1_000_000,
            detail=error.detail,
        )
        self.reply(request_id, body)

    def push(self, message: Encoded, policy: Policy | None = None) -> None:
        """Queue a push, or, when the client does not keep up, do what the policy says."""
        data = message.for_codec(self.codec)
        self._put(Item(data, message.channel or "-", message.key), policy or self.limits.policy)

    def drain(self, notice: GoingAway) -> None:
        """Tell the client to move; what it asked before is still answered."""
        if self.state in (ClientState.DRAINING, ClientState.CLOSED):
            return
        self.state = advance(self.state, Trigger.DRAIN)
        self._put(Item(self._encode(Envelope(notice))))

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what is queued, if the client reads it in a short while, and close with *code*."""
        if self.close_code is not None:
            return
        self.close_code = code
        if code is CloseCode.SLOW_CONSUMER:
            self.outbox.clear()  # it would not be read: the client resumes and recovers
            self._wake()
        try:
            async with asyncio.timeout(1.0):
                await self._empty.wait()
        except TimeoutError:
            pass
        await self.peer.close(code, reason)

    async def settled(self) -> None:
        """Return when no request is running and nothing waits to be sent."""
        while self.state is not ClientState.CLOSED and (self._busy or not self._empty.is_set()):
            await self._at_rest.wait()
            await self._empty.wait()

    async def room(self) -> None:
        """Return when the outbox has room again, or the client is gone."""
        while self.outbox.is_busy and self.state is not ClientState.CLOSED:
            self._room.clear()
            await self._room.wait()

    def track(self, delta: int) -> None:
        """Count work that goes on after its handler returned, so that a drain waits for it."""
        self._busy += delta
        if self._busy:
            self._at_rest.clear()
        else:
            self._at_rest.set()

    def overdue(self, now_ns: int) -> CloseCode | None:
        """Return why the client must be closed at *now_ns*, or None."""
        if self.close_code is not None:
            return None
        since_login_s = (now_ns - self.connected_ns) / 1e9
        if self.identity is None and since_login_s > self.limits.login_timeout_s:
            return CloseCode.LOGIN_TIMEOUT
        if (now_ns - self.heard_ns) / 1e9 > self.limits.idle_timeout_s and not self._busy:
            return CloseCode.IDLE
        return None

    @property
    def is_ready(self) -> bool:
        """Whether the client has logged in."""
        return self.identity is not None and self.state is not ClientState.CLOSED

    # Private

    def _decode(self, data: bytes) -> Envelope | None:
        try:
            if not data:
                raise DecodeError(Code.MALFORMED, "the message is empty")
            codec = self._sniff(data)
            if not self._has_codec:
                self._has_codec = True
                self.codec = codec
            envelope = codec.decode(data)
        except DecodeError as error:
            self.tally.bad += 1
            self.refuse(error.request_id, error)
            if self.tally.bad >= self.limits.bad_messages:
                self._close_soon(CloseCode.BAD_ENVELOPE)
            return None
        if envelope.index:
            if envelope.index <= self._index:
                self._close_soon(CloseCode.REPLAYED)
                return None
            self._index = envelope.index
        return envelope

    def _encode(self, envelope: Envelope) -> bytes:
        try:
            return self.codec.encode(envelope)
        except EncodeError as error:
            _log.error("unsendable reply", kind=envelope.kind.value, reason=str(error))
            body = Error(Code.INTERNAL, "the answer cannot be written in this codec")
            return self.codec.encode(Envelope(body, id=envelope.id))

    def _put(self, item: Item, policy: Policy = Policy.DISCONNECT) -> None:
        if self.state is ClientState.CLOSED or self.close_code is not None:
            return
        if self.outbox.put(item, policy):
            self._empty.clear()
            self._pending.set()
        else:
            self._close_soon(CloseCode.SLOW_CONSUMER)

    def _close_soon(self, code: CloseCode) -> None:
        if self.close_code is None:
            task = asyncio.create_task(self.close(code), name=f"close {self.id}")
            self.attachments.setdefault("closing", task)  # the loop holds tasks only weakly

    def _wake(self) -> None:
        self._room.set()
        self._empty.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._pending.wait()
                batch = self.outbox.take(_BATCH_BYTES)
                for channel in self.outbox.take_lossy():
                    notice = Resync(channel, reason="messages were dropped: read faster")
                    batch.insert(0, self._encode(Envelope(notice, channel=channel)))
                if not batch:
                    self._pending.clear()
                    self._empty.set()
                    continue
                async with asyncio.timeout(self.limits.stall_timeout_s):
                    await self.peer.send(batch)
                self.tally.sent += len(batch)
                self.tally.bytes_sent += sum(map(len, batch))
                if not self.outbox.is_busy:
                    self._room.set()
        except TimeoutError:
            self._close_soon(CloseCode.SLOW_CONSUMER)
        except PeerGone:
            self.outbox.clear()
            self._wake()


async def _run_cleanup(cleanup: Callable[[], Awaitable[None]]) -> None:
    try:
        await cleanup()
    except Exception:
        _log.exception("cleanup failed", cleanup=getattr(cleanup, "__qualname__", repr(cleanup)))
