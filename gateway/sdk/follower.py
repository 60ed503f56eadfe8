"""A document's copy kept in step with the gateway's log, over connections that come and go.

It joins the replica (content), the outbox (edits under way) and the inbox (what arrives). It knows
no program and no reconnect: `gateway.sdk.document` is its face, and the client calls `attach` and
`detach`. Rules: edits leave in order of sequence; operations are applied in order of version; what
is missing is asked for, never guessed.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol
from weakref import WeakSet

from gateway.errors import Code
from gateway.messages import (
    Ack,
    Body,
    DocumentInfo,
    DocumentOpen,
    DocumentOpened,
    Envelope,
    Error,
    Event,
    EventType,
    History,
    Operations,
    Snapshot,
    Stage,
    Stamp,
    Submit,
)
from gateway.sdk.config import ClientConfig
from gateway.sdk.errors import (
    ConnectionLost,
    DocumentClosed,
    EditRefused,
    RequestRefused,
    SdkError,
)
from gateway.sdk.events import DocumentEvent, Feed, Happening
from gateway.sdk.inbox import Inbox, RemoteOperation, Taken
from gateway.sdk.link import Link
from gateway.sdk.outbox import Edit, Outbox
from gateway.sdk.replica import TextReplica, TreeReplica
from statesync.clock import HybridClock

_RETRY_S = 0.1
_MAX_RETRY_S = 5.0
_HISTORY_LIMIT = 1000


class Host(Protocol):
    """What a document needs of its client."""

    client_id: str
    config: ClientConfig
    max_message_bytes: int

    @property
    def link(self) -> Link | None:
        """The live connection, if there is one."""
        ...

    async def request(self, body: Body) -> Envelope:
        """Ask, over this connection or the next."""
        ...

    def release(self, document: str) -> None:
        """Forget a closed document."""
        ...


class Follower:
    """One document's copy and its place in the log."""

    def __init__(
        self,
        host: Host,
        opened: DocumentOpened,
        *,
        hold: bool = False,
        replica_id: int | None = None,
        next_seq: int = 1,
    ) -> None:
        assert opened.info is not None
        config = host.config
        snapshot = opened.snapshot or Snapshot()
        self.id = opened.document
        self.info: DocumentInfo = opened.info
        self.epoch = opened.epoch
        self.is_holding = hold
        self.replica: TextReplica | TreeReplica = (
            TextReplica(snapshot, replica_id) if self.info.type == "text" else TreeReplica(snapshot)
        )
        self.inbox = Inbox(opened.version, config.max_held)
        self.outbox = Outbox(config.max_pending, config.window_operations, config.window_bytes)
        self.outbox.next_seq = next_seq
        self.feeds: WeakSet[Feed[DocumentEvent]] = WeakSet()
        self.link: Link | None = None
        self.error: SdkError | None = None
        self.refusal: EditRefused | None = None
        self._client_id = host.client_id
        self._asks_accepted = config.accepted_acks
        self._first_seq = next_seq
        self._clock = HybridClock(host.client_id)
        self._changed = asyncio.Event()
        self._known_version = opened.version
        self._is_catching_up = False
        self._is_paused = False
        self._retries = 0
        self._rebuilding: EditRefused | None = None
        self._status = "offline"

    # For the document

    @property
    def status(self) -> str:
        """``saved``, ``saving`` or ``offline``."""
        if self.link is None:
            return "offline"
        return "saving" if len(self.outbox) else "saved"

    @property
    def is_behind(self) -> bool:
        """Whether an edit is not durable, or an operation known of has not arrived."""
        return (
            len(self.outbox) > 0
            or self._rebuilding is not None
            or self.inbox.received < self._known_version
        )

    def check_editable(self) -> None:
        """Raise unless an edit may be made now."""
        if self.error is not None:
            raise self.error
        if self._rebuilding is not None:
            raise self._rebuilding
        self.outbox.check_room()

    def stamp(self) -> Stamp:
        """Return a stamp for an edit made now."""
        stamp = self._clock.now(time.time_ns() // 1_000_000)
        return Stamp(stamp.wall_ms, stamp.counter, stamp.node)

    def add(self, submit: Submit) -> Edit:
        """Take an edit that the replica already shows, and send it when it may go."""
        edit = Edit(submit)
        self.outbox.add(edit)
        if isinstance(self.replica, TreeReplica):
            self.replica.touch()
        if len(self.outbox) == 1:
            self._tell_status()
        self._pump()
        return edit

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when *condition* holds; looks after every change. Raises the fatal error."""
        while True:
            if self.error is not None:
                raise self.error
            if condition():
                return
            await self._changed.wait()

    def apply_next(self) -> None:
        """Apply the first operation that arrived."""
        item = self.inbox.release()
        if item is None:
            raise AssertionError("an operation that arrived is neither held nor applied")
        is_echo = item.is_own and item.client_seq >= self._first_seq
        self.replica.apply(item.operation, is_echo=is_echo)
        if not item.is_own:
            event = DocumentEvent(Happening.OPERATION_APPLIED, item.version, item.user, item)
            self._tell(event)

    def refill(self) -> None:
        """Ask for what did not fit while too much was held."""
        if self.inbox.is_half_empty and self.inbox.received < self._known_version:
            self._catch_up()

    # For the client

    async def attach(self, link: Link, timeout_s: float) -> None:
        """Take up work on a new connection: fetch what was missed, send what is not durable.

        Raises `ConnectionLost` or `RequestTimeout`; when the gateway refuses, the document fails.
        """
        body = DocumentOpen(self.id, recover=True, version=self.inbox.received, epoch=self.epoch)

        def on_reply(reply: Envelope) -> None:
            if isinstance(reply.body, DocumentOpened):
                self.adopt(link, reply.body)

        try:
            await link.reply(body, timeout_s, on_reply)
        except RequestRefused as refused:
            if refused.retry:
                raise ConnectionLost(refused.reason) from refused
            self.close(refused)

    def adopt(self, link: Link, opened: DocumentOpened) -> None:
        """Go on from *opened* over *link*."""
        self.info = opened.info or self.info
        self.link = link
        self._is_catching_up = self._is_paused = False
        if not opened.recovered and opened.snapshot is not None:
            self._take_snapshot(opened.snapshot)
        self.epoch = opened.epoch or self.epoch
        self._known_version = max(self.inbox.received, opened.version)
        self.outbox.rewind()
        self._notify()
        self._pump()

    def detach(self) -> None:
        """The connection is gone; edits wait."""
        self.link = None
        self.outbox.rewind()
        self._notify()

    def handle_event(self, event: Event) -> None:
        """Take in what the gateway pushed about this document."""
        if event.type == EventType.OPERATION_APPLIED and event.operation is not None:
            operation = event.operation
            self._arrive(
                RemoteOperation(
                    operation.client,
                    operation.client_seq,
                    event.version or operation.version,
                    operation.user or event.user,
                    operation.client == self._client_id,
                    operation,
                )
            )
            return
        if event.type == EventType.RESYNC and event.snapshot is not None:
            self._take_snapshot(event.snapshot)
            return
        if event.info is not None:
            self.info = event.info
        self._tell(DocumentEvent(event.type, event.version, event.user, detail=event))

    def note_version(self, version: int) -> None:
        """The log has reached *version*: fetch what is missing."""
        self._known_version = max(self._known_version, version)
        if self.inbox.received < self._known_version:
            self._catch_up()

    def handle_dropped(self) -> None:
        """The gateway dropped pushes for this document: fetch them."""
        self._catch_up()

    # Private: edits

    def _pump(self) -> None:
        link = self.link
        if link is None or link.is_over or self._is_paused:
            return
        while (edit := self.outbox.take()) is not None:
            self._send(link, edit)

    def _send(self, link: Link, edit: Edit) -> None:
        attempt = edit.attempt

        def on_reply(reply: Envelope) -> None:
            body = reply.body
            if isinstance(body, Ack):
                if body.stage == Stage.ACCEPTED:
                    self.outbox.accept(body.client_seq)
                    return
                link.forget(reply.id)
                self._settle(body)
            elif isinstance(body, Error):
                link.forget(reply.id)
                if edit.attempt == attempt and not edit.is_durable and edit.error is None:
                    self._on_refused(edit, body)

        link.ask(replace(edit.submit, accepted=self._asks_accepted), on_reply, is_stream=True)

    def _settle(self, ack: Ack) -> None:
        if not self.outbox.settle(ack):
            return
        if isinstance(self.replica, TreeReplica):
            self.replica.touch()
        self._retries = 0
        self._known_version = max(self._known_version, ack.version)
        self._notify()
        self._pump()

    def _on_refused(self, edit: Edit, error: Error) -> None:
        if error.code == Code.STAMP_AHEAD and error.server_time_ms:
            self._clock.correct(error.server_time_ms, time.time_ns() // 1_000_000)
            for later in self.outbox.pending():
                if later.client_seq >= edit.client_seq and later.submit.stamp is not None:
                    later.submit = replace(later.submit, stamp=self.stamp())
            self.outbox.rewind(edit.client_seq)
            self._pump()
        elif error.retry and not self._is_final(edit, error):
            self.outbox.rewind(edit.client_seq)
            self._is_paused = True
            self._retries += 1
            pause_s = min(_RETRY_S * 2 ** min(self._retries - 1, 8), _MAX_RETRY_S)
            loop = asyncio.get_running_loop()
            loop.call_later(max(error.retry_after_ms / 1e3, pause_s), self._unpause)
        else:
            self._take_back(edit, error)

    def _is_final(self, edit: Edit, error: Error) -> bool:
        """Whether sending again cannot help, though the gateway says that it may.

        A lock is for its holder to give back, and the person who typed must know now. A gap before
        the first edit that is not durable means that the gateway lost durable ones.
        """
        if error.code == Code.LOCKED:
            return True
        return error.code == Code.SEQUENCE_GAP and edit is self.outbox.pending()[0]

    def _unpause(self) -> None:
        self._is_paused = False
        self._pump()

    def _take_back(self, edit: Edit, error: Error) -> None:
        reason = error.message or error.code
        refusal = EditRefused(error.code, f"edit {edit.client_seq} was refused: {reason}")
        self.refusal = refusal
        self.outbox.drop_from(edit.client_seq, refusal)
        self._tell(DocumentEvent(Happening.EDIT_REFUSED, self.inbox.applied, error=refusal))
        if isinstance(self.replica, TreeReplica):
            self.replica.touch()
        else:
            self._rebuilding = refusal
            self._reopen()
        self._notify()

    # Private: the log

    def _arrive(self, item: RemoteOperation) -> None:
        self._known_version = max(self._known_version, item.version)
        taken = self.inbox.take(item)
        if taken is Taken.GAP:
            self._catch_up()
        if taken is not Taken.KEPT:
            return
        if self.is_holding:
            self._tell(DocumentEvent(Happening.OPERATION_ARRIVED, item.version, item.user, item))
        else:
            self.apply_next()
        self._notify()

    def _catch_up(self) -> None:
        """Ask for the operations after what was received, until none is missing."""
        link = self.link
        if self._is_catching_up or link is None or link.is_over:
            return
        self._is_catching_up = True

        def on_reply(reply: Envelope) -> None:
            self._is_catching_up = False
            body = reply.body
            if isinstance(body, Operations) and body.epoch in ("", self.epoch):
                before = self.inbox.received
                self._known_version = max(self._known_version, body.version)
                for operation in body.operations:
                    self.handle_event(
                        Event(
                            EventType.OPERATION_APPLIED,
                            self.id,
                            version=operation.version,
                            operation=operation,
                        )
                    )
                if before < self.inbox.received < self._known_version:
                    self._catch_up()
            elif isinstance(body, Error) and body.retry:
                asyncio.get_running_loop().call_later(_RETRY_S, self._catch_up)
            else:
                self._reopen()

        link.ask(History(self.id, self.inbox.received, _HISTORY_LIMIT), on_reply)

    def _reopen(self) -> None:
        """Fetch the whole document anew."""
        link = self.link
        if link is None or link.is_over:
            return

        def on_reply(reply: Envelope) -> None:
            if isinstance(reply.body, DocumentOpened):
                self.adopt(link, reply.body)
            elif isinstance(reply.body, Error):
                self.close(RequestRefused.of(reply.body))

        link.ask(DocumentOpen(self.id), on_reply)

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        if self._rebuilding is not None:
            self.replica.rebuild(snapshot)
            self._rebuilding = None
        else:
            self.replica.merge(snapshot)
        self.inbox.reset(snapshot.version)
        self._known_version = snapshot.version
        self._tell(DocumentEvent(Happening.RESYNC, snapshot.version))
        self._notify()

    # Private: telling

    def close(self, error: SdkError) -> None:
        """End for *error*, which everybody who waits here gets."""
        if self.error is not None:
            return
        self.error = error
        self.link = None
        self.outbox.drop_from(0, error)
        for feed in list(self.feeds):
            feed.close(None if isinstance(error, DocumentClosed) else error)
        self._notify()

    def _tell(self, event: DocumentEvent) -> None:
        for feed in list(self.feeds):
            feed.put(event)

    def _tell_status(self) -> None:
        status = self.status
        if status != self._status:
            self._status = status
            self._tell(DocumentEvent(Happening.STATUS, self.inbox.applied, status=status))

    def _notify(self) -> None:
        """Wake whoever waits for a condition of this document."""
        self._changed.set()
        self._changed = asyncio.Event()
        self._tell_status()
