"""A client of the gateway: one session that outlives its connections, and the documents in it.

It connects, proves who it is, opens documents and channels; when the connection is lost it connects
again with random pauses, resumes the session, and lets every document fetch what it missed and send
what is not durable. The rules of documents are theirs.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Self

from gateway.close_codes import CloseCode, may_reconnect
from gateway.codecs import load as load_codec
from gateway.messages import (
    MAX_MESSAGE_BYTES,
    Body,
    DocumentCreate,
    DocumentDelete,
    DocumentInfo,
    DocumentList,
    DocumentListed,
    DocumentOpen,
    DocumentOpened,
    Envelope,
    Event,
    GoingAway,
    History,
    Json,
    Message,
    Operation,
    Operations,
    Position,
    Publish,
    Published,
    Resync,
    Subscribe,
    Subscribed,
    Unsubscribe,
    document_of,
)
from gateway.messages import Document as DocumentBody
from gateway.sdk.address import Address
from gateway.sdk.channel import Channel
from gateway.sdk.config import ClientConfig
from gateway.sdk.document import Document
from gateway.sdk.door import Door, LinkStats
from gateway.sdk.doors import DOORS
from gateway.sdk.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InvalidCall,
    RequestRefused,
    RequestTimeout,
    SdkError,
    close_sentence,
)
from gateway.sdk.link import Clock, Link
from gateway.sdk.session import Identity, Token, expect
from quantum import guuid

OpenDoor = Callable[[Address, float], Awaitable[Door]]
_DRAIN_S = 2.0
_LOGIN_CODES = (CloseCode.SESSION_EXPIRED, CloseCode.LOGIN_TIMEOUT)


class Client:
    """A session at a gateway; make one with `connect`."""

    def __init__(
        self,
        address: Address,
        *,
        token: Token | None = None,
        login: tuple[str, str] | None = None,
        config: ClientConfig | None = None,
        name: str = "",
        codec: str = "protobuf",
        open_door: OpenDoor | None = None,
        clock: Clock = time.monotonic_ns,
        rng: Random | None = None,
    ) -> None:
        self.identity = Identity(token, login, address.url)
        self.address = address
        self.client_id = guuid.text()
        self.config = config or ClientConfig()
        self.max_message_bytes = MAX_MESSAGE_BYTES
        self.reconnects = 0
        self.resumptions = 0
        self._name = name
        self._codec = load_codec(codec)
        self._open_door = open_door or DOORS.load(address.scheme).open
        self._clock = clock
        self._rng = rng or Random()
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._error: SdkError | None = None
        self._documents: dict[str, Document] = {}
        self._sequences: dict[str, int] = {}
        self._channels: dict[str, Channel] = {}
        self._past = LinkStats()
        self._supervisor: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    # Life

    async def start(self) -> None:
        """Connect and log in. Raises `ConnectFailed` or `AuthenticationFailed`."""
        try:
            await self._establish()
        except BaseException:
            await asyncio.gather(*self._leaving, return_exceptions=True)
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="gateway client")

    async def close(self) -> None:
        """Close the connection; edits that are not durable are lost, so await `synced` first."""
        if self._error is None:
            self._error = ClientClosed("the client was closed; connect again")
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            self._past += link.door.stats()
            await link.close()
        if self._moving is not None:
            self._moving.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        self._end(self._error)

    async def __aenter__(self) -> Self:
        """Return itself, connected."""
        if self._supervisor is None:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    # State

    @property
    def link(self) -> Link | None:
        """The live connection, if there is one."""
        return self._link

    @property
    def is_online(self) -> bool:
        """Whether there is a live connection."""
        return self._up.is_set()

    @property
    def user(self) -> str:
        """The id of the user who is logged in."""
        return self.identity.user

    @property
    def username(self) -> str:
        """The name of the user who is logged in."""
        return self.identity.username

    @property
    def session_id(self) -> str:
        """The session at the gateway, which survives reconnects."""
        return self.identity.session_id

    @property
    def transport(self) -> str:
        """The name of the transport now in use, or ""."""
        return self._link.door.name if self._link is not None else ""

    @property
    def rtt_ns(self) -> int:
        """The last round trip to the gateway's application, 0 while unknown."""
        return self._link.rtt_ns if self._link is not None else 0

    def stats(self) -> LinkStats:
        """Return transport counters, summed over all connections of this client."""
        return self._past + self._link.door.stats() if self._link is not None else self._past

    async def online(self) -> None:
        """Return when there is a live connection. Raises when there will be none."""
        while not self._up.is_set():
            if self._error is not None:
                raise self._error
            await self._up.wait()
        if self._error is not None:
            raise self._error

    # Documents

    async def create_document(
        self,
        name: str,
        type: str = "text",  # noqa: A002 - it is the field's word
        *,
        strategy: str = "",
        content: Json = None,
        public: bool = False,
        editors: Sequence[str] = (),
        viewers: Sequence[str] = (),
        tags: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        hold: bool = False,
        replica_id: int | None = None,
    ) -> Document:
        """Create a document and open it; *content* is a str for text, else a dict.

        *editors* and *viewers* are user ids. Raises `RequestRefused` or `RequestTimeout`.
        """
        if not name or not type:
            raise InvalidCall("a document needs a name and a type")
        body = DocumentCreate(
            name=name,
            type=type,
            strategy=strategy,
            value=content,
            public=public,
            editors=tuple(editors),
            viewers=tuple(viewers),
            tags=tuple(tags),
            properties=dict(properties or {}),
            document=guuid.text(),  # ours, so that asking twice makes one document
        )
        made = expect(await self.request(body), DocumentBody)
        assert made.info is not None
        return await self.open_document(made.info.document, hold=hold, replica_id=replica_id)

    async def open_document(
        self, document: str, *, hold: bool = False, replica_id: int | None = None
    ) -> Document:
        """Open a document, whose operations then keep coming; opened twice, it is the same handle.

        With *hold*, remote operations wait for `Document.apply_until`. *replica_id* (1 to 2**53-1,
        random by default) must be unique among everybody who ever edits this text: of texts that
        are inserted at one place at one time, that of the lower id comes first.
        """
        if not document:
            raise InvalidCall("open_document needs the document's id")
        known = self._documents.get(document)
        if known is not None:
            return known
        found: list[Document] = []
        while True:
            await self.online()
            link = self._link
            if link is None or link.is_over:
                await asyncio.sleep(0)  # the supervisor is about to notice
                continue

            def on_reply(reply: Envelope, link: Link = link) -> None:
                if isinstance(reply.body, DocumentOpened):
                    found.append(self._register(link, reply.body, hold, replica_id))

            try:
                body = DocumentOpen(document)
                expect(
                    await link.reply(body, self.config.request_timeout_s, on_reply), DocumentOpened
                )
                return found[0]
            except ConnectionLost:
                if found:
                    return found[0]

    async def list_documents(
        self,
        type: str = "",  # noqa: A002 - it is the field's word
        *,
        state: str = "",
        limit: int = 0,
        after: str = "",
    ) -> DocumentListed:
        """Return one page of the documents this user may read."""
        body = DocumentList(type=type, state=state, limit=limit, after=after)
        return expect(await self.request(body), DocumentListed)

    async def delete_document(self, document: str) -> DocumentInfo:
        """Mark a document deleted; only its owner may."""
        info = expect(await self.request(DocumentDelete(document)), DocumentBody).info
        assert info is not None
        return info

    async def history(self, document: str, after: int = 0, limit: int = 0) -> Operations:
        """Return at most *limit* operations of the document's log after version *after*."""
        return expect(await self.request(History(document, after, limit)), Operations)

    async def whole_history(self, document: str) -> list[Operation]:
        """Return every operation that the document's log still has, in order."""
        log: list[Operation] = []
        while True:
            page = await self.history(document, log[-1].version if log else 0)
            log.extend(page.operations)
            if not page.operations or log[-1].version >= page.version:
                return log

    # Channels

    async def subscribe(self, channel: str) -> Channel:
        """Listen to a channel; iterate over the result. Raises `RequestRefused`."""
        if not channel or document_of(channel) is not None:
            raise InvalidCall(f"{channel!r} is no channel name; documents are opened, not joined")
        known = self._channels.get(channel)
        if known is not None:
            return known
        made = Channel(channel, self.config.max_events, self._unsubscribe)
        self._channels[channel] = made
        try:
            reply = await self.request(Subscribe(channel))
        except BaseException:
            del self._channels[channel]
            raise
        made.on_subscribed(expect(reply, Subscribed))
        return made

    async def publish(self, channel: str, value: Json = None, *, payload: bytes = b"") -> Published:
        """Send *value* or *payload* to everybody who listens to *channel*.

        Raises `ConnectionLost` when whether it was sent is unknown; it is not repeated.
        """
        body = Publish(channel, value)
        reply = await self.request(body, is_safe=False, payload=payload)
        return expect(reply, Published)

    # Requests

    async def request(self, body: Body, *, is_safe: bool = True, payload: bytes = b"") -> Envelope:
        """Ask the gateway; when *is_safe* to repeat, over the next connection too.

        Raises `RequestRefused`, `RequestTimeout`, `ClientClosed`, or `ConnectionLost` when it must
        not be repeated.
        """
        deadline = time.monotonic() + self.config.request_timeout_s
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                async with asyncio.timeout(left):
                    await self.online()
            except TimeoutError:
                raise RequestTimeout(
                    f"no connection to {self.address.url} within"
                    f" {self.config.request_timeout_s:g} s; {body.kind.value!r} was not sent"
                ) from None
            link = self._link
            if link is None or link.is_over:
                await asyncio.sleep(0)  # the supervisor is about to notice
                continue
            try:
                return await link.reply(body, left, payload=payload)
            except ConnectionLost:
                if not is_safe:
                    raise

    def release(self, document: str) -> None:
        """Forget a closed document, but not how far its sequence went."""
        if (known := self._documents.pop(document, None)) is not None:
            self._sequences[document] = known.next_seq

    # Private: connections

    async def _establish(self) -> None:
        """Open a door, greet, prove identity, and bring documents and channels up to date."""
        timeout_s = self.config.connect_timeout_s
        door = await self._open_door(self.address, timeout_s)
        link = Link(door, self._codec, self._on_push, self.config, self._clock)
        link.start()
        try:
            async with asyncio.timeout(timeout_s):
                welcome = await self.identity.greet(link, self._name, timeout_s)
                self.max_message_bytes = welcome.max_message_bytes or MAX_MESSAGE_BYTES
                await self._authenticate(link)
                for document in list(self._documents.values()):
                    await document.follower.attach(link, timeout_s)
                if link.is_over:
                    raise ConnectFailed(str(link.reason))
        except TimeoutError:
            self._abandon(link)
            raise ConnectFailed(
                f"the gateway at {self.address.url} opened a connection but did not answer within"
                f" {timeout_s:g} s"
            ) from None
        except BaseException:
            self._abandon(link)
            raise
        self._link = link
        self._up.set()

    def _abandon(self, link: Link) -> None:
        for document in self._documents.values():
            document.follower.detach()
        link.fail("the greeting failed")
        self._let_go(link)
        self._past += link.door.stats()

    def _let_go(self, link: Link) -> None:
        task = asyncio.create_task(link.close(), name="let go of a connection")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _authenticate(self, link: Link) -> None:
        """Resume the session, or log in where there is none (any more)."""
        timeout_s = self.config.connect_timeout_s
        channels = self._channels
        positions = tuple(Position(c.name, c.offset, c.epoch) for c in channels.values())
        session = await self.identity.resume(link, positions, timeout_s)
        if session is not None:
            self.resumptions += 1
            for recovered in session.channels:
                if (known := channels.get(recovered.channel)) is not None:
                    known.on_recovered(recovered)
            return
        await self.identity.log_in(link, timeout_s)
        for known in channels.values():
            body = Subscribe(known.name, recover=True, offset=known.offset, epoch=known.epoch)
            known.on_subscribed(await self.identity.ask(link, body, Subscribed, timeout_s))

    async def _supervise(self) -> None:
        """Keep a connection for as long as one may be had."""
        attempt = 0
        while self._error is None:
            link = self._link
            assert link is not None
            began = time.monotonic()
            await link.ended.wait()
            self._retire(link)
            if time.monotonic() - began > self.config.backoff_max_s:
                attempt = 0
            code = link.reason.code
            if code in _LOGIN_CODES:
                self.identity.forget()
            elif not may_reconnect(code):
                reason = link.reason.reason or close_sentence(code)
                self._end(ClientClosed(f"the gateway closed the session: {reason}", remote=True))
                return
            # The old connection may take its time to end; the new one does not wait for it.
            self._let_go(link)
            while self._error is None:
                attempt += 1
                await asyncio.sleep(self._pause_s(attempt))
                try:
                    await self._establish()
                    self.reconnects += 1
                    break
                except (ConnectFailed, ConnectionLost, RequestTimeout):
                    continue
                except RequestRefused as refused:
                    if not refused.retry:
                        self._end(refused)
                        return
                except SdkError as error:
                    self._end(error)
                    return

    def _pause_s(self, attempt: int) -> float:
        """Return a random pause whose bound doubles (full jitter, so that clients spread out)."""
        config = self.config
        bound = min(config.backoff_max_s, config.backoff_min_s * 2 ** min(attempt - 1, 16))
        return self._rng.uniform(0, bound)

    def _retire(self, link: Link) -> None:
        self._up.clear()
        self._link = None
        self._past += link.door.stats()
        for document in self._documents.values():
            document.follower.detach()

    def _end(self, error: SdkError) -> None:
        self._error = error
        self._up.set()  # nobody may wait for a connection that will not come
        for document in list(self._documents.values()):
            document.follower.close(error)
        for channel in self._channels.values():
            channel.end(error)

    # Private: pushes

    def _register(
        self, link: Link, opened: DocumentOpened, hold: bool, replica_id: int | None
    ) -> Document:
        """Make the handle before the next message is looked at: it may be the first event."""
        known = self._documents.get(opened.document)
        if known is not None:
            known.follower.note_version(opened.version)
            return known
        document = Document(
            self,
            opened,
            hold=hold,
            replica_id=replica_id,
            next_seq=self._sequences.get(opened.document, 1),
        )
        self._documents[opened.document] = document
        document.follower.adopt(
            link, DocumentOpened(opened.document, opened.version, opened.epoch, True)
        )
        return document

    def _on_push(self, envelope: Envelope) -> None:
        body = envelope.body
        if isinstance(body, Event):
            document = self._documents.get(body.document)
            if document is not None:
                document.follower.handle_event(body)
        elif isinstance(body, Message):
            channel = self._channels.get(envelope.channel)
            if channel is not None:
                channel.on_message(envelope, body)
        elif isinstance(body, Resync):
            self._on_resync(body)
        elif isinstance(body, GoingAway):
            self._leave(body)

    def _on_resync(self, body: Resync) -> None:
        document = self._documents.get(document_of(body.channel) or "")
        if document is not None:
            document.follower.handle_dropped()
        elif (channel := self._channels.get(body.channel)) is not None:
            channel.on_dropped()

    def _leave(self, body: GoingAway) -> None:
        """Finish what is under way on a gateway that stops, then move."""
        link = self._link
        if link is None or self._moving is not None:
            return

        async def leave() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    for document in list(self._documents.values()):
                        with contextlib.suppress(SdkError):
                            await document.synced()
            self._moving = None
            link.fail(body.reason or "the gateway is stopping", CloseCode.GOING_AWAY)

        self._moving = asyncio.create_task(leave(), name="leave a stopping gateway")

    async def _unsubscribe(self, channel: Channel) -> None:
        self._channels.pop(channel.name, None)
        if self._error is None:
            await self.request(Unsubscribe(channel.name))
