"""One live connection: requests matched with replies, pushes handed on, silence noticed.

A link is born with an open door and dies once. It knows no document, no session and no reconnect:
whoever made it is told of its end by `ended`, and makes another.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.close_codes import CloseCode
from gateway.codec import Codec, DecodeError, EncodeError
from gateway.messages import Body, Envelope, Error, Ping, Pong
from gateway.sdk.config import ClientConfig
from gateway.sdk.door import Door
from gateway.sdk.errors import (
    ConnectionLost,
    DoorClosed,
    InvalidCall,
    RequestRefused,
    RequestTimeout,
)

_BATCH_BYTES = 64 << 10
_MAX_BAD = 100

_log = logging.getLogger("quantum.sdk")

OnReply = Callable[[Envelope], None]
Clock = Callable[[], int]


@dataclass(slots=True)
class _Asked:
    """A request under way; *is_stream* replies may be several, and its owner forgets it."""

    on_reply: OnReply
    on_lost: Callable[[], None]
    is_stream: bool


class Link:
    """A conversation over one door."""

    def __init__(
        self,
        door: Door,
        codec: Codec,
        on_push: Callable[[Envelope], None],
        config: ClientConfig,
        clock: Clock,
    ) -> None:
        self.door = door
        self._codec = codec
        self._on_push = on_push
        self._config = config
        self._clock = clock
        self._asked: dict[int, _Asked] = {}
        self._next_id = 1
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._heard_ns = clock()
        self._tasks: list[asyncio.Task[None]] = []
        self._reason: DoorClosed | None = None
        self.ended = asyncio.Event()
        self.rtt_ns = 0
        self.bad_messages = 0

    def start(self) -> None:
        """Begin to read, write and watch."""
        for work in (self._read, self._write, self._watch):
            task = asyncio.create_task(self._guard(work), name=f"{self.door.name} {work.__name__}")
            self._tasks.append(task)

    # Commands

    def call(
        self, body: Body, see_first: OnReply | None = None, **head: Any
    ) -> "asyncio.Future[Envelope]":
        """Ask, and return the future of the one reply; *see_first* gets it before others go on.

        It fails with `RequestRefused` or `ConnectionLost`. Raises `InvalidCall` for a body that
        cannot travel.
        """
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()

        def on_reply(reply: Envelope) -> None:
            if future.done():
                return
            if isinstance(reply.body, Error):
                future.set_exception(RequestRefused.of(reply.body))
                return
            if see_first is not None:
                see_first(reply)
            future.set_result(reply)

        def on_lost() -> None:
            if not future.done():
                future.set_exception(ConnectionLost(f"the connection was lost: {self._reason}"))

        asked = self.ask(body, on_reply, on_lost, **head)
        if asked is not None:
            future.add_done_callback(lambda _: self.forget(asked))
        return future

    def ask(
        self,
        body: Body,
        on_reply: OnReply,
        on_lost: Callable[[], None] | None = None,
        *,
        is_stream: bool = False,
        **head: Any,
    ) -> int | None:
        """Send a request whose replies go to *on_reply*, before any later message is looked at.

        Returns its id, or None on a link that has ended (then *on_lost* was called). With
        *is_stream* replies keep coming until `forget`.
        """
        on_lost = on_lost or _nothing
        if self.is_over:
            on_lost()
            return None
        request_id = self._next_id
        self._next_id += 1
        data = self._encode(Envelope(body, id=request_id, **head))
        self._asked[request_id] = _Asked(on_reply, on_lost, is_stream)
        self._queue(data)
        return request_id

    def tell(self, body: Body) -> None:
        """Send what needs no answer."""
        if not self.is_over:
            self._queue(self._encode(Envelope(body)))

    def forget(self, request_id: int) -> None:
        """Want no further replies to a request."""
        self._asked.pop(request_id, None)

    async def reply(
        self, body: Body, timeout_s: float, see_first: OnReply | None = None, **head: Any
    ) -> Envelope:
        """Ask and wait; *see_first* gets the reply before any later message is looked at.

        Raises `RequestRefused`, `ConnectionLost` or `RequestTimeout`.
        """
        future = self.call(body, see_first, **head)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise RequestTimeout(
                f"the gateway did not answer {body.kind.value!r} within {timeout_s:g} s"
            ) from None

    def fail(self, reason: str, code: int = 0) -> None:
        """End the link because *reason*."""
        self._end(DoorClosed(code, reason))
        self.door.abort()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send what is queued, close, and let go of everything; twice is safe."""
        if not self.is_over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.connect_timeout_s):
                    await self._flushed.wait()
        self._end(DoorClosed(int(code), reason or "closed on request"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.door.close(int(code), reason)

    @property
    def is_over(self) -> bool:
        """Whether the link has ended."""
        return self._reason is not None

    @property
    def reason(self) -> DoorClosed:
        """Why it ended."""
        return self._reason or DoorClosed(reason="it has not ended")

    # Private

    def _encode(self, envelope: Envelope) -> bytes:
        try:
            return self._codec.encode(envelope)
        except EncodeError as error:
            raise InvalidCall(str(error)) from None

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._flushed.clear()
        self._wake.set()

    def _end(self, reason: DoorClosed) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        asked, self._asked = self._asked, {}
        for item in asked.values():
            item.on_lost()
        self._wake.set()
        self._flushed.set()
        self.ended.set()

    async def _guard(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except DoorClosed as closed:
            self._end(closed)
        except Exception as error:
            _log.exception("the client kit failed; the connection is given up")
            self.fail(f"the client kit failed: {error!r}")

    async def _read(self) -> None:
        while not self.is_over:
            for data in await self.door.receive():
                self._heard_ns = self._clock()
                try:
                    envelope = self._codec.decode(data)
                except DecodeError as error:
                    self._count_bad(error)
                    continue
                self._handle(envelope)

    def _handle(self, envelope: Envelope) -> None:
        if envelope.id:
            asked = self._asked.get(envelope.id)
            if asked is None:
                return  # given up, or a pong that nobody waits for any more
            if not asked.is_stream:
                del self._asked[envelope.id]
            asked.on_reply(envelope)
        elif isinstance(envelope.body, Ping):
            self.tell(Pong(sent_ms=envelope.body.sent_ms))
        else:
            self._on_push(envelope)

    def _count_bad(self, error: DecodeError) -> None:
        self.bad_messages += 1
        if self.bad_messages >= _MAX_BAD:
            self.fail(f"the gateway sent what this client cannot read: {error.reason}")

    async def _write(self) -> None:
        outgoing = self._outgoing
        while not self.is_over:
            await self._wake.wait()
            self._wake.clear()
            while outgoing and not self.is_over:
                batch, size = [], 0
                while outgoing and size < _BATCH_BYTES:
                    size += len(outgoing[0])
                    batch.append(outgoing.popleft())
                await self.door.send(batch)
            self._flushed.set()

    async def _watch(self) -> None:
        """Ping at intervals; end the link when nothing at all was heard for too long."""
        interval_s = self._config.ping_interval_s
        while not self.is_over:
            sent_ns = self._clock()

            def on_pong(_: Envelope, sent_ns: int = sent_ns) -> None:
                self.rtt_ns = self._clock() - sent_ns

            self.ask(Ping(sent_ms=sent_ns // 1_000_000), on_pong)
            try:
                async with asyncio.timeout(interval_s):
                    await self.ended.wait()
            except TimeoutError:
                pass
            silent_s = (self._clock() - self._heard_ns) / 1e9
            if silent_s > self._config.dead_after_s:
                self.fail(f"nothing was heard from the gateway for {silent_s:.1f} s")


def _nothing() -> None:
    """Let a lost request be; its owner looks at the link."""
