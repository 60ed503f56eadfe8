"""A gateway in memory for the client kit's tests: speaks real envelopes over doors of its own.

It keeps one log per document with the rules that matter to a client: versions without gaps, the
same (client, sequence) never applied twice, sequences in order, events in order. A test may hold
answers back, cut connections, refuse edits, and drop pushes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.codecs import load
from gateway.messages import (
    Ack,
    Document,
    DocumentClose,
    DocumentCreate,
    DocumentInfo,
    DocumentOpen,
    DocumentOpened,
    Done,
    Envelope,
    Error,
    Event,
    GoingAway,
    Hello,
    History,
    Login,
    Message,
    Operation,
    Operations,
    Ping,
    Pong,
    Publish,
    Published,
    Recovered,
    Resume,
    Session,
    Snapshot,
    Submit,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Welcome,
)
from gateway.sdk.address import Address
from gateway.sdk.door import LinkStats
from gateway.sdk.errors import ConnectFailed, DoorClosed
from statesync.strategies.text import TextContent

CODEC = load("protobuf")


@dataclass
class Log:
    """One document."""

    info: DocumentInfo
    initial: Snapshot
    operations: list[Operation] = field(default_factory=list)
    high: dict[str, int] = field(default_factory=dict)
    epoch: str = "e1"
    first_kept: int = 0

    @property
    def version(self) -> int:
        return len(self.operations)

    def content(self) -> TextContent:
        content = TextContent(self.initial.update)
        for operation in self.operations:
            content.apply(operation.update)
        return content

    @property
    def text(self) -> str:
        return self.content().text()

    def snapshot(self) -> Snapshot:
        if self.info.type == "text":
            return Snapshot(self.version, update=self.content().encode())
        return replace(self.initial, version=self.version)


class FakeDoor:
    """The client's end; the gateway's is the `FakeGateway` itself."""

    name = "fake"

    def __init__(self, gateway: "FakeGateway") -> None:
        self._gateway = gateway
        self.inbound: asyncio.Queue[bytes | DoorClosed] = asyncio.Queue()
        self.closed: DoorClosed | None = None
        self.watched: set[str] = set()
        self.channels: set[str] = set()
        self.is_logged_in = False
        self.is_mute = False
        self.may_write = asyncio.Event()
        self.may_write.set()

    @classmethod
    async def open(cls, address: Address, timeout_s: float) -> "FakeDoor":
        raise NotImplementedError("tests open doors through FakeGateway.open_door")

    async def send(self, messages: Sequence[bytes]) -> None:
        await self.may_write.wait()
        for data in messages:
            if self.closed is not None:
                raise self.closed
            self._gateway.handle(self, CODEC.decode(data))

    async def receive(self) -> list[bytes]:
        item = await self.inbound.get()
        if isinstance(item, DoorClosed):
            raise item
        return [item]

    async def close(self, code: int, reason: str) -> None:
        self.cut(code, reason)

    def abort(self) -> None:
        self.cut(0, "aborted")

    def stats(self) -> LinkStats:
        return LinkStats(packets_sent=1)

    def cut(self, code: int = 0, reason: str = "cut") -> None:
        """End the connection."""
        if self.closed is None:
            self.closed = DoorClosed(code, reason)
            self.inbound.put_nowait(self.closed)
            if self in self._gateway.doors:
                self._gateway.doors.remove(self)

    def push(self, envelope: Envelope) -> None:
        if self.closed is None and not self.is_mute:
            self.inbound.put_nowait(CODEC.encode(envelope))


class FakeGateway:
    """The other side."""

    def __init__(self) -> None:
        self.doors: list[FakeDoor] = []
        self.documents: dict[str, Log] = {}
        self.sessions: dict[str, str] = {}
        self.password = "secret"
        self.opened = 0
        self.is_down = False
        self.holds_answers = False
        self.drops_events = False
        self.swallow_submits = False
        self.refuse: Callable[[Submit], Error | None] = lambda submit: None
        self.seen: list[Envelope] = []
        self.submitted: list[tuple[str, int]] = []
        self.published: list[Envelope] = []
        self._held: list[tuple[FakeDoor, Envelope]] = []
        self._names = 0

    async def open_door(self, address: Address, timeout_s: float) -> FakeDoor:
        self.opened += 1
        if self.is_down:
            raise ConnectFailed("the gateway is down")
        door = FakeDoor(self)
        self.doors.append(door)
        return door

    # What tests do

    def cut_all(self, code: int = 0, reason: str = "cut") -> None:
        """End every connection, as a killed process does."""
        self._held.clear()
        for door in list(self.doors):
            door.cut(code, reason)

    def go_down(self) -> None:
        self.is_down = True
        self.cut_all()

    def release(self) -> None:
        """Send the answers that were held back."""
        self.holds_answers = False
        held, self._held = self._held, []
        for door, envelope in held:
            door.push(envelope)

    def tell_all(self, envelope: Envelope) -> None:
        for door in self.doors:
            door.push(envelope)

    def say_going_away(self) -> None:
        self.tell_all(Envelope(GoingAway("maintenance")))

    def add_text(self, name: str, text: str = "") -> Log:
        content = TextContent()
        if text:
            content.edit(0, 0, text)
        info = DocumentInfo(name, name=name, type="text", epoch="e1")
        self.documents[name] = Log(info, Snapshot(0, update=content.encode()))
        return self.documents[name]

    def write(self, document: str, update: bytes, client: str, client_seq: int) -> None:
        """Append somebody else's text operation."""
        self._append(Submit(document, "text", client, client_seq, update=update), "other")

    # What clients cause

    def handle(self, door: FakeDoor, envelope: Envelope) -> None:
        self.seen.append(envelope)
        body = envelope.body
        if isinstance(body, Submit):
            self._submit(door, envelope.id, body)
            return
        reply = self._answer(door, body)
        if isinstance(body, Publish):
            self.published.append(envelope)
        if envelope.id and reply is not None:
            self._send(door, Envelope(reply, id=envelope.id))

    def _send(self, door: FakeDoor, envelope: Envelope) -> None:
        if self.holds_answers and isinstance(envelope.body, Ack):
            self._held.append((door, envelope))
        else:
            door.push(envelope)

    def _answer(self, door: FakeDoor, body: object) -> object:
        match body:
            case Hello():
                return Welcome(1, server="fake")
            case Ping(sent_ms=sent):
                return Pong(sent)
            case Login(password=password, token=token):
                if self.password not in (password, token):
                    return Error("unauthenticated", "the password is wrong")
                self._names += 1
                session = f"s{self._names}"
                self.sessions[session] = f"t{self._names}"
                door.is_logged_in = True
                return Session(session, user="u1", username="ann", session_token=f"t{self._names}")
            case Resume(session=session, session_token=token, positions=positions):
                if self.sessions.get(session) != token:
                    return Error("not_found", "there is no such session")
                door.is_logged_in = True
                door.channels |= {item.channel for item in positions}
                found = tuple(
                    Recovered(item.channel, item.offset, item.epoch, True) for item in positions
                )
                return Session(session, user="u1", resumed=True, channels=found)
            case DocumentCreate(name=name, type=kind, value=value):
                log = self.add_text(name, value if isinstance(value, str) else "")
                if kind != "text":
                    log.info = replace(log.info, type=kind)
                    log.initial = Snapshot(0, value=value or {})
                return Document(log.info)
            case DocumentOpen():
                return self._open(door, body)
            case DocumentClose(document=document):
                door.watched.discard(document)
                return Done()
            case History(document=document, version=version, limit=limit):
                log = self.documents[document]
                if version < log.first_kept:
                    return Error("log_compacted", "the log was compacted")
                found = tuple(log.operations[version : version + (limit or 1000)])
                return Operations(document, found, log.version, log.epoch)
            case Subscribe(channel=channel):
                door.channels.add(channel)
                return Subscribed(channel, 0, "c1", True)
            case Unsubscribe(channel=channel):
                door.channels.discard(channel)
                return Done()
            case Publish(channel=channel, value=value):
                number = len(self.published) + 1
                for other in self.doors:
                    if channel in other.channels:
                        other.push(
                            Envelope(Message(value), channel=channel, offset=number, epoch="c1")
                        )
                return Published(channel, number, "c1", len(self.doors))
        return Error("unknown_kind", f"the fake knows no {type(body).__name__}")

    def _open(self, door: FakeDoor, body: DocumentOpen) -> object:
        log = self.documents.get(body.document)
        if not door.is_logged_in:
            return Error("unauthenticated", "log in first")
        if log is None:
            return Error("not_found", f"there is no document {body.document!r}")
        door.watched.add(body.document)
        info = replace(log.info, version=log.version)
        known = body.recover and body.epoch == log.epoch and body.version >= log.first_kept
        if not known:
            return DocumentOpened(
                body.document, log.version, log.epoch, False, info, log.snapshot()
            )
        missed = log.operations[body.version :]
        loop = asyncio.get_running_loop()
        for operation in missed:
            loop.call_soon(door.push, self._event(log, operation))
        return DocumentOpened(body.document, body.version, log.epoch, True, info)

    def _submit(self, door: FakeDoor, request: int, body: Submit) -> None:
        self.submitted.append((body.client, body.client_seq))
        if self.swallow_submits:
            return
        log = self.documents[body.document]
        high = log.high.get(body.client, 0)
        if body.client_seq <= high:
            known = next(
                item
                for item in log.operations
                if (item.client, item.client_seq) == (body.client, body.client_seq)
            )
            self._acknowledge(door, request, known, is_duplicate=True)
            return
        refusal = self.refuse(body)
        if refusal is None and body.client_seq != high + 1:
            refusal = Error(
                "sequence_gap", f"the sequence skipped: send {high + 1} first", retry=True
            )
        if refusal is not None:
            door.push(Envelope(refusal, id=request))
            return
        if body.accepted:
            self._send(
                door,
                Envelope(Ack(body.document, body.client, body.client_seq, "accepted"), id=request),
            )
        operation = self._append(body, "u1")
        self._acknowledge(door, request, operation)

    def _append(self, body: Submit, user: str) -> Operation:
        log = self.documents[body.document]
        operation = Operation(
            body.document,
            body.type,
            client=body.client,
            client_seq=body.client_seq,
            target=body.target,
            value=body.value,
            update=body.update,
            base_version=body.base_version,
            version=log.version + 1,
            user=user,
        )
        log.operations.append(operation)
        log.high[body.client] = body.client_seq
        if not self.drops_events:
            for door in self.doors:
                if body.document in door.watched:
                    door.push(self._event(log, operation))
        return operation

    def _event(self, log: Log, operation: Operation) -> Envelope:
        body = Event("operation_applied", operation.document, operation.version, "", operation)
        channel = f"doc:{operation.document}"
        return Envelope(body, channel=channel, offset=operation.version, epoch=log.epoch)

    def _acknowledge(
        self, door: FakeDoor, request: int, operation: Operation, *, is_duplicate: bool = False
    ) -> None:
        ack = Ack(
            operation.document,
            operation.client,
            operation.client_seq,
            "durable",
            version=operation.version,
            durability="D2",
            duplicate=is_duplicate,
        )
        self._send(door, Envelope(ack, id=request))
