"""Documents: create, open, watch, edit, lock and reconcile them through the state service.

A client's watch pulls: it takes the next event from the service when the client's outbox has room,
so a slow client is caught up from the log and delays nobody. Edits are queued per client in order
and applied together, so that one disk write serves many.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import cast

from gateway import convert
from gateway import messages as m
from gateway.client import Client, Encoded
from gateway.errors import Code, GatewayError
from gateway.middleware import Handler
from gateway.outbox import Policy
from gateway.service_errors import to_gateway_error
from statesync import api
from svckit.logs import logger

_log = logger("gateway.documents")
_ATTACHMENT = "documents"
_MAX_WATCHES = 128
_MAX_QUEUED = 512
_MAX_BATCH = 256
_MAX_PAGE = 1000
_SHARED_EVENTS = 4096

Guard = Callable[[], AbstractContextManager[None]]


@dataclass(slots=True)
class _Watch:
    subscription: api.Subscription
    epoch: str
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Edits:
    """A client's operations that are not yet applied."""

    waiting: deque[tuple[int, api.Operation]] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _State:
    """What a client has of documents."""

    watches: dict[str, _Watch] = field(default_factory=dict)
    edits: _Edits = field(default_factory=_Edits)


class DocumentHandlers:
    """The handlers of documents."""

    def __init__(self, service: api.StateSyncService, guard: Guard) -> None:
        """*guard* is the circuit breaker of the service, for what runs outside a request."""
        self._service = service
        self._guard = guard
        self._shared: OrderedDict[tuple[str, str, int, str], Encoded] = OrderedDict()
        self.submitted = 0
        self.batches = 0

    def handlers(self) -> dict[m.Kind, Handler]:
        """Return the handler of each kind."""
        return {
            m.Kind.DOCUMENT_CREATE: self.create,
            m.Kind.DOCUMENT_OPEN: self.open,
            m.Kind.DOCUMENT_LIST: self.list,
            m.Kind.DOCUMENT_CLOSE: self.close,
            m.Kind.DOCUMENT_UPDATE: self.update,
            m.Kind.DOCUMENT_DELETE: self.delete,
            m.Kind.HISTORY: self.history,
            m.Kind.SUBMIT: self.submit,
            m.Kind.CONFLICT_LIST: self.conflicts,
            m.Kind.CONFLICT_RESOLVE: self.resolve,
            m.Kind.LOCK_ACQUIRE: self.lock,
            m.Kind.LOCK_RELEASE: self.unlock,
        }

    async def create(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Create a document that the client's user owns."""
        body = cast(m.DocumentCreate, envelope.body)
        new = api.NewDocument(
            name=body.name,
            type=convert.named(api.DocumentType, body.type, "document type"),
            content=body.update or body.value,
            strategy=body.strategy,
            permissions=convert.permissions("", body.editors, body.viewers, body.public),
            description=body.description,
            tags=body.tags,
            properties=body.properties,
            document_id=body.document,
        )
        created = await self._service.create_document(actor(client), new)
        return m.Document(convert.document_info(created))

    async def open(self, client: Client, envelope: m.Envelope) -> None:
        """Reply with a document, or with what the client lacks of it; events follow."""
        body = cast(m.DocumentOpen, envelope.body)
        position = m.Position(body.document, body.version, body.epoch) if body.recover else None
        if body.quiet:
            found = await self._service.get_document(actor(client), body.document)
            client.reply(envelope.id, _opened(found, recovered=False))
            return
        found, recovered, start = await self._watch(client, body.document, position)
        client.reply(envelope.id, _opened(found, recovered=recovered, position=position))
        start()

    async def subscribe(self, client: Client, request_id: int, body: m.Subscribe) -> None:
        """Listen to a document's channel; like open, without content."""
        document = body.channel.removeprefix(m.DOCUMENT_PREFIX)
        position = m.Position(document, body.offset, body.epoch) if body.recover else None
        found, recovered, start = await self._watch(client, document, position)
        offset = position.offset if position and recovered else found.version
        epoch = found.document.epoch
        client.reply(request_id, m.Subscribed(body.channel, offset, epoch, recovered))
        start()

    async def resume(
        self, client: Client, position: m.Position
    ) -> tuple[m.Recovered, Callable[[], None]]:
        """Watch a document from a position; returns the outcome and what starts the events.

        Where that cannot be, nothing is watched: the client opens the document anew.
        """
        document = position.channel.removeprefix(m.DOCUMENT_PREFIX)
        at = m.Position(document, position.offset, position.epoch)
        try:
            found, recovered, start = await self._watch(client, document, at, only_recover=True)
        except api.StateSyncError as error:
            _log.info("document not resumed", document=document, reason=error.reason)
            return m.Recovered(position.channel), _nothing
        offset = position.offset if recovered else found.version
        outcome = m.Recovered(position.channel, offset, found.document.epoch, recovered)
        return outcome, start

    async def unsubscribe(self, client: Client, document: str) -> None:
        """Stop watching a document; twice is no error."""
        watch = _state(client).watches.pop(document, None)
        client.channels.discard(m.document_channel(document))
        if watch is not None:
            await _end(watch)

    async def close(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Stop watching a document."""
        await self.unsubscribe(client, cast(m.DocumentClose, envelope.body).document)
        return m.Done()

    async def list(self, client: Client, envelope: m.Envelope) -> m.Body:
        """List documents."""
        body = cast(m.DocumentList, envelope.body)
        where = api.DocumentFilter(
            type=convert.named(api.DocumentType, body.type, "document type") if body.type else None,
            state=(
                convert.named(api.DocumentState, body.state, "document state")
                if body.state
                else None
            ),
            created_by=body.created_by or None,
        )
        page = await self._service.list_documents(
            actor(client), where, after=body.after, limit=_limit(body.limit, 100)
        )
        infos = tuple(map(convert.document_info, page.documents))
        return m.DocumentListed(infos, page.next_after, page.total)

    async def update(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Change a document's description or permissions."""
        body = cast(m.DocumentUpdate, envelope.body)
        changed = await self._service.update_document(
            actor(client),
            body.document,
            convert.document_change(body.change),
            expected_revision=body.expected_revision or None,
        )
        return m.Document(convert.document_info(changed))

    async def delete(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Mark a document deleted."""
        body = cast(m.DocumentDelete, envelope.body)
        deleted = await self._service.delete_document(actor(client), body.document)
        return m.Document(convert.document_info(deleted))

    async def history(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Return operations after a version."""
        body = cast(m.History, envelope.body)
        page = await self._service.operations_since(
            actor(client), body.document, body.version, limit=_limit(body.limit, 100)
        )
        operations = tuple(map(convert.operation, page.operations))
        return m.Operations(body.document, operations, page.version, page.epoch)

    async def submit(self, client: Client, envelope: m.Envelope) -> None:
        """Queue an operation behind the client's others; its acknowledgement comes by itself."""
        body = cast(m.Submit, envelope.body)
        operation = convert.submitted(body)
        edits = _state(client).edits
        while len(edits.waiting) >= _MAX_QUEUED:
            edits.room.clear()
            await edits.room.wait()
        edits.waiting.append((envelope.id, operation))
        client.track(1)
        if body.accepted:
            stage = m.Stage.ACCEPTED
            client.reply(envelope.id, m.Ack(body.document, body.client, body.client_seq, stage))
        if edits.task is None or edits.task.done():
            edits.task = asyncio.create_task(self._apply(client, edits), name=f"edits {client.id}")

    async def conflicts(self, client: Client, envelope: m.Envelope) -> m.Body:
        """List conflicts."""
        body = cast(m.ConflictList, envelope.body)
        found = await self._service.conflicts(
            actor(client), body.document, pending_only=body.pending, limit=_limit(body.limit, 100)
        )
        return m.Conflicts(body.document, tuple(map(convert.conflict, found)))

    async def resolve(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Decide a waiting conflict."""
        body = cast(m.ConflictResolve, envelope.body)
        resolution = api.Resolution(convert.named(api.Keep, body.keep, "choice"), body.value)
        settled = await self._service.resolve_conflict(
            actor(client), body.document, body.conflict, resolution
        )
        return m.ConflictResolved(convert.conflict(settled))

    async def lock(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Lock a part of a document."""
        body = cast(m.LockAcquire, envelope.body)
        granted = await self._service.acquire_lock(
            actor(client), body.document, target=body.target, ttl_s=body.ttl_s
        )
        return m.Lock(convert.lock(granted))

    async def unlock(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Release a lock."""
        body = cast(m.LockRelease, envelope.body)
        await self._service.release_lock(actor(client), body.document, body.fence)
        return m.Done()

    async def forget(self, client: Client) -> None:
        """End all watches of a client that is gone; what it had submitted is still applied."""
        state = cast(_State | None, client.attachments.pop(_ATTACHMENT, None))
        if state is None:
            return
        for document, watch in list(state.watches.items()):
            client.channels.discard(m.document_channel(document))
            await _end(watch)
        if state.edits.task is not None:
            await asyncio.gather(state.edits.task, return_exceptions=True)

    # Private

    async def _watch(
        self,
        client: Client,
        document: str,
        position: m.Position | None,
        *,
        only_recover: bool = False,
    ) -> tuple[api.Snapshot, bool, Callable[[], None]]:
        """Subscribe from *position*, or from the snapshot that is returned.

        The caller replies, and then calls what is returned last to let the events follow.
        With *only_recover*, nothing is watched when the position cannot be recovered from.
        """
        await self.unsubscribe(client, document)
        state = _state(client)
        if len(state.watches) >= _MAX_WATCHES:
            raise GatewayError(
                Code.LIMIT_REACHED, f"a client may watch {_MAX_WATCHES} documents; close one first"
            )
        who = actor(client)
        found = await self._service.get_document(who, document)
        subscription, recovered = None, False
        is_reachable = (
            position is not None
            and position.epoch == found.document.epoch
            and position.offset <= found.version
        )
        if position is not None and is_reachable:
            try:
                subscription = await self._service.subscribe(
                    who, document, from_version=position.offset
                )
                recovered = True
            except api.LogCompacted:
                pass  # the snapshot must do
        if subscription is None:
            if only_recover:
                return found, False, _nothing
            subscription = await self._service.subscribe(who, document, from_version=found.version)
        watch = _Watch(subscription, found.document.epoch)
        state.watches[document] = watch
        client.channels.add(m.document_channel(document))

        def start() -> None:
            watch.task = asyncio.create_task(
                self._follow(client, document, watch), name=f"watch {document}"
            )

        return found, recovered, start

    async def _follow(self, client: Client, document: str, watch: _Watch) -> None:
        """Send a document's events to a client, as fast as the client reads."""
        channel = m.document_channel(document)
        try:
            async for event in watch.subscription:
                if client.outbox.is_busy:
                    await client.room()
                client.push(self._encoded(channel, watch, event), Policy.DISCONNECT)
            reason = "the document's events have ended"
        except api.StateSyncError as error:
            reason = error.reason
        except Exception as error:
            _log.exception("watch failed", document=document, exc_info=error)
            reason = "the gateway failed; its log says why"
        if _state(client).watches.get(document) is watch:
            del _state(client).watches[document]
            client.channels.discard(channel)
            client.push(Encoded(m.Envelope(m.Resync(channel, reason=reason), channel=channel)))

    def _encoded(self, channel: str, watch: _Watch, event: api.Event) -> Encoded:
        """Return an event as an envelope; an operation's is made once for all who watch."""
        if event.type is not api.EventType.OPERATION_APPLIED:
            return Encoded(
                m.Envelope(
                    convert.event(event), channel=channel, offset=event.version, epoch=watch.epoch
                )
            )
        key = (event.doc_id, watch.epoch, event.version, event.type.value)
        found = self._shared.get(key)
        if found is None:
            envelope = m.Envelope(
                convert.event(event), channel=channel, offset=event.version, epoch=watch.epoch
            )
            found = self._shared[key] = Encoded(envelope)
            if len(self._shared) > _SHARED_EVENTS:
                self._shared.popitem(last=False)
        return found

    async def _apply(self, client: Client, edits: _Edits) -> None:
        """Apply what a client has queued, many at once and in order."""
        who = actor(client)
        while edits.waiting:
            batch = [edits.waiting.popleft() for _ in range(min(len(edits.waiting), _MAX_BATCH))]
            edits.room.set()
            self.batches += 1
            self.submitted += len(batch)
            outcomes: tuple[api.Acknowledgement | Exception, ...]
            try:
                with self._guard():
                    async with asyncio.timeout(client.limits.request_timeout_s):
                        outcomes = await self._service.apply_many(who, [op for _, op in batch])
            except Exception as error:
                outcomes = (error,) * len(batch)
            for (request_id, operation), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    client.refuse(request_id, _explain(outcome, operation))
                else:
                    client.reply(request_id, convert.acknowledgement(outcome))
                client.track(-1)


def actor(client: Client) -> api.Actor:
    """Return on whose behalf a client's requests are made."""
    assert client.identity is not None
    return api.Actor(client.identity.user_id, client.session_id, client.identity.is_admin)


def _opened(
    found: api.Snapshot, *, recovered: bool, position: m.Position | None = None
) -> m.DocumentOpened:
    version = position.offset if position is not None and recovered else found.version
    return m.DocumentOpened(
        document=found.document.id,
        version=version,
        epoch=found.document.epoch,
        recovered=recovered,
        info=convert.document_info(found.document),
        snapshot=None if recovered else convert.snapshot(found),
    )


def _state(client: Client) -> _State:
    found = client.attachments.get(_ATTACHMENT)
    if found is None:
        found = client.attachments[_ATTACHMENT] = _State()
    return cast(_State, found)


async def _end(watch: _Watch) -> None:
    if watch.task is not None:
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)
    await watch.subscription.aclose()


def _limit(asked: int, default: int) -> int:
    return min(asked, _MAX_PAGE) if asked else default


def _nothing() -> None:
    """Start nothing."""


def _explain(error: Exception, operation: api.Operation) -> GatewayError:
    known = to_gateway_error(error)
    if known is None:
        _log.error("operation failed", document=operation.doc_id, exc_info=error)
        known = GatewayError(Code.INTERNAL, "the gateway failed; its log says why")
    return known


_SERVED_APART = frozenset({m.Kind.DOCUMENT_CLOSE, m.Kind.SUBMIT})
"""Kinds whose handler calls no service, or calls it under a guard of its own."""

BACKENDS: Mapping[m.Kind, str] = {
    kind: "statesync"
    for kind in m.Kind
    if kind.value.startswith(("document.", "conflict.", "lock.", "history"))
    and kind not in _SERVED_APART
}
