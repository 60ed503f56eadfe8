"""The state service in this process: documents, locks, conflicts and subscriptions.

Satisfies `statesync.api.StateSyncService`. Checks who may do what, and leaves operations to
`statesync.rooms`. Knows no wire and no plug-in.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from statesync.access import (
    may_read,
    require_active,
    require_edit,
    require_own,
    require_read,
)
from statesync.api import (
    Acknowledgement,
    Actor,
    AlreadyExists,
    AlreadyResolved,
    Conflict,
    ConflictNotFound,
    Document,
    DocumentChange,
    DocumentFilter,
    DocumentPage,
    DocumentState,
    DocumentType,
    Event,
    EventType,
    InvalidArgument,
    JsonValue,
    Lock,
    NewDocument,
    Operation,
    OperationPage,
    Path,
    PermissionDenied,
    Resolution,
    RevisionMismatch,
    ServiceUnavailable,
    Snapshot,
    StateSyncError,
    Statistics,
    TooMany,
)
from statesync.checks import (
    check_change,
    check_id,
    check_limit,
    check_new,
    check_number,
    check_path,
    check_text,
    size_of,
)
from statesync.config import StateSyncConfig
from statesync.fanout import Fanout, Outlet
from statesync.room import Room, resolving
from statesync.rooms import Rooms
from statesync.store import ClientMark, StateStore
from statesync.strategy import ConflictStrategy, ContentStrategy, Strategy
from statesync.subscription import PAGE, LocalSubscription
from statesync.tree import check
from svckit.clock import Clock
from svckit.logs import logger
from svckit.registry import Registry

_MAX_PAGE = 1000

_log = logger("statesync")


class LocalStateSyncService:
    """The state service over a store; satisfies `statesync.api.StateSyncService`."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        ids: Callable[[], UUID],
        strategies: Registry[Strategy],
        config: StateSyncConfig | None = None,
    ) -> None:
        """Use *ids* (a UUIDv7 factory) and the strategies that *strategies* can load."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._config = config or StateSyncConfig()
        self._rooms = Rooms(store, clock, ids, strategies, self._config)

    @property
    def refused(self) -> Counter[str]:
        """Operations refused so far, by error code."""
        return self._rooms.refused

    @property
    def accepted(self) -> Counter[str]:
        """Operations accepted so far, by status."""
        return self._rooms.accepted

    def gauges(self) -> dict[str, float]:
        """Return what this process holds now, for its metrics."""
        return {
            "open_documents": len(self._rooms),
            "subscriptions": len(self._rooms.subscriptions),
        }

    async def start(self) -> None:
        """Open the store; raises ValueError if it cannot give the configured durability."""
        if self._store.durability < self._config.durability:
            raise ValueError(
                f"durability {self._config.durability} is configured, this store gives "
                f"{self._store.durability}: choose another store or lower the setting"
            )
        await self._store.open()

    async def close(self) -> None:
        """End subscriptions, wait for what is in flight, and close the store."""
        await self._rooms.close()
        for subscription in tuple(self._rooms.subscriptions.values()):
            await subscription.aclose()
        await self._store.close()

    async def run(self) -> None:
        """Announce expired locks for ever; for the process's supervisor."""
        while True:
            await self.sweep()
            await asyncio.sleep(1.0)

    async def sweep(self) -> int:
        """Announce locks that expired; return how many. That they end waits for nobody."""
        ended = 0
        for room in self._rooms:
            locks = room.locks.expired(self._clock.monotonic_ns())
            if not locks:
                continue
            ended += len(locks)
            for lock in locks:
                self._rooms.publish(
                    lock.doc_id, EventType.LOCK_RELEASED, user_id=lock.user_id, lock=lock
                )
            tokens = [lock.fencing_token for lock in locks]
            try:
                await self._store.drop_locks(room.document.id, tokens)
            except ServiceUnavailable as error:
                _log.warning("expired locks stay in the store", reason=error.reason)
        return ended

    # Documents.

    async def create_document(self, actor: Actor, new: NewDocument) -> Document:
        """Create a document."""
        _check_actor(actor)
        check_new(new, self._config.max_document_bytes)
        owner = actor.user_id
        if actor.is_admin and new.permissions.owner:
            owner = new.permissions.owner
        strategy, content = self._initial(new)
        wall_ns = self._clock.wall_ns()
        document = Document(
            id=check_id(new.document_id, "document_id") if new.document_id else str(self._ids()),
            name=new.name,
            type=new.type,
            state=DocumentState.ACTIVE,
            strategy=strategy,
            version=0,
            revision=1,
            epoch=str(self._ids()),
            permissions=replace(new.permissions, owner=owner),
            created_by=actor.user_id,
            created_at_ns=wall_ns,
            updated_by=actor.user_id,
            updated_at_ns=wall_ns,
            description=new.description,
            tags=tuple(new.tags),
            properties=dict(new.properties),
        )
        if await self._store.create(document, content):
            return document
        first = await self._store.document(document.id)
        if (
            first is None
            or first.created_by != actor.user_id
            or (first.type, first.strategy) != (document.type, document.strategy)
        ):
            raise AlreadyExists(f"another document has the id {document.id}: choose another")
        return self._seen(first)

    async def get_document(
        self, actor: Actor, doc_id: str, *, at_version: int | None = None
    ) -> Snapshot:
        """Return a document with its content."""
        room = await self._rooms.enter(doc_id)
        try:
            require_read(actor, room.document)
            if at_version is not None and at_version != room.replica.version:
                return await self._past(room, at_version)
            version = room.replica.version
            content, text = room.replica.value(), room.replica.text()
            await self._rooms.settled(room)
            return Snapshot(self._seen(room.document, version), version, content, text)
        finally:
            room.pins -= 1

    async def update_document(
        self,
        actor: Actor,
        doc_id: str,
        change: DocumentChange,
        *,
        expected_revision: int | None = None,
    ) -> Document:
        """Change a document's settings."""
        _check_actor(actor)
        check_change(change)
        room = await self._rooms.enter(doc_id)
        try:
            async with room.gate:
                require_own(actor, room.document)
                return await self._change(room, actor, change, expected_revision)
        finally:
            room.pins -= 1

    async def delete_document(self, actor: Actor, doc_id: str) -> Document:
        """Put a document in state DELETED."""
        room = await self._rooms.enter(doc_id)
        try:
            async with room.gate:
                require_own(actor, room.document)
                if room.document.state is DocumentState.DELETED:
                    return self._seen(room.document, room.durable)
                change = DocumentChange(state=DocumentState.DELETED)
                return await self._change(room, actor, change, None)
        finally:
            room.pins -= 1

    async def list_documents(
        self,
        actor: Actor,
        where: DocumentFilter | None = None,
        *,
        after: str = "",
        limit: int = 100,
    ) -> DocumentPage:
        """Return one page of documents that *actor* may read."""
        check_limit(limit, _MAX_PAGE)
        after = check_id(after, "after") if after else ""
        reader = None if actor.is_admin else actor.user_id
        found, total = await self._store.documents(where or DocumentFilter(), reader, after, limit)
        return DocumentPage(
            tuple(self._seen(document) for document in found),
            total,
            found[-1].id if len(found) == limit else "",
        )

    # Operations.

    async def apply(self, actor: Actor, operation: Operation) -> Acknowledgement:
        """Apply one operation; returns when it is as durable as the acknowledgement says."""
        _check_actor(actor)
        return await self._rooms.apply(actor, operation)

    async def apply_many(
        self, actor: Actor, operations: Sequence[Operation]
    ) -> tuple[Acknowledgement | StateSyncError, ...]:
        """Apply operations in order, committed together."""
        _check_actor(actor)
        return await self._rooms.apply_many(actor, operations)

    async def operations_since(
        self, actor: Actor, doc_id: str, version: int, *, limit: int = 1000
    ) -> OperationPage:
        """Return operations after *version*, oldest first."""
        check_number("version", version)
        check_limit(limit, _MAX_PAGE)
        room = await self._rooms.enter(doc_id)
        try:
            require_read(actor, room.document)
            durable = room.durable
            found = await self._log_after(room, version, limit)
            return OperationPage(tuple(found), durable, room.document.epoch)
        finally:
            room.pins -= 1

    # Conflicts.

    async def conflicts(
        self, actor: Actor, doc_id: str, *, pending_only: bool = False, limit: int = 100
    ) -> tuple[Conflict, ...]:
        """Return a document's conflicts, newest first."""
        check_limit(limit, _MAX_PAGE)
        room = await self._rooms.enter(doc_id)
        try:
            require_read(actor, room.document)
            return tuple(await self._store.conflicts(room.document.id, pending_only, limit))
        finally:
            room.pins -= 1

    async def resolve_conflict(
        self, actor: Actor, doc_id: str, conflict_id: str, resolution: Resolution
    ) -> Conflict:
        """Decide a waiting conflict."""
        _check_actor(actor)
        conflict_id = check_id(conflict_id, "conflict_id")
        size_bytes = size_of(resolution.value, "the value")
        if size_bytes > self._config.max_operation_bytes:
            raise InvalidArgument(f"the value has {size_bytes} bytes, which is too many")
        check(resolution.value, "the value")
        room = await self._rooms.enter(doc_id)
        try:
            async with room.gate:
                require_edit(actor, room.document)
                require_active(room.document)
                conflict = await self._store.conflict(room.document.id, conflict_id)
                if conflict is None:
                    raise ConflictNotFound(f"document {doc_id} has no conflict {conflict_id}")
                if not conflict.is_pending:
                    raise AlreadyResolved(f"conflict {conflict_id} was decided before")
                kept, done = self._decide(room, actor, conflict, resolution, size_bytes)
            if kept is not None:
                await kept
            return done
        finally:
            room.pins -= 1

    # Locks.

    async def acquire_lock(
        self, actor: Actor, doc_id: str, *, target: Path = (), ttl_s: float = 0.0
    ) -> Lock:
        """Lock a part of a document, or renew one's own lock."""
        _check_actor(actor)
        check_path(target)
        ttl_s = ttl_s or self._config.lock_ttl_s
        if not 0 < ttl_s <= self._config.max_lock_ttl_s:
            raise InvalidArgument(
                f"ttl_s must be above 0 and at most {self._config.max_lock_ttl_s:g}, not {ttl_s:g}"
            )
        room = await self._rooms.enter(doc_id)
        try:
            async with room.gate:
                require_edit(actor, room.document)
                require_active(room.document)
                held = room.locks.plan(
                    actor,
                    room.document.id,
                    target,
                    ttl_ns=int(ttl_s * 1e9),
                    now_ns=self._clock.monotonic_ns(),
                    wall_ns=self._clock.wall_ns(),
                )
                await self._store.save_lock(held.lock)
                is_new = held.lock.fencing_token > room.locks.last_token
                room.locks.take(held)
            if is_new:
                self._rooms.publish(
                    room.document.id,
                    EventType.LOCK_ACQUIRED,
                    user_id=actor.user_id,
                    lock=held.lock,
                )
            return held.lock
        finally:
            room.pins -= 1

    async def release_lock(self, actor: Actor, doc_id: str, fencing_token: int) -> None:
        """Release one's own lock."""
        check_number("fencing_token", fencing_token, 1)
        room = await self._rooms.enter(doc_id)
        try:
            async with room.gate:
                require_read(actor, room.document)
                lock = room.locks.find(actor, fencing_token, self._clock.monotonic_ns())
                await self._store.drop_locks(room.document.id, [fencing_token])
                room.locks.release(fencing_token)
            self._rooms.publish(
                room.document.id, EventType.LOCK_RELEASED, user_id=lock.user_id, lock=lock
            )
        finally:
            room.pins -= 1

    async def locks(self, actor: Actor, doc_id: str) -> tuple[Lock, ...]:
        """Return the locks now held."""
        room = await self._rooms.enter(doc_id)
        try:
            require_read(actor, room.document)
            return room.locks.current(self._clock.monotonic_ns())
        finally:
            room.pins -= 1

    # Watching.

    async def subscribe(
        self, actor: Actor, doc_id: str, *, from_version: int | None = None
    ) -> LocalSubscription:
        """Watch a document from now, or from just after *from_version*."""
        _check_actor(actor)
        if from_version is not None:
            check_number("from_version", from_version)
        room = await self._rooms.enter(doc_id)
        try:
            require_read(actor, room.document)
            return self._watch(room, actor, from_version)
        finally:
            room.pins -= 1

    async def statistics(self) -> Statistics:
        """Return totals."""
        totals = await self._store.totals()
        now_ns = self._clock.monotonic_ns()
        return Statistics(
            total_documents=totals.documents,
            active_documents=totals.active,
            archived_documents=totals.archived,
            total_operations=totals.operations,
            total_conflicts=totals.conflicts,
            resolved_conflicts=totals.resolved,
            active_subscribers=len(self._rooms.subscriptions),
            active_locks=sum(len(room.locks.current(now_ns)) for room in self._rooms),
        )

    # Below: how.

    def _initial(self, new: NewDocument) -> tuple[str, JsonValue | bytes]:
        is_text = new.type is DocumentType.TEXT
        name = new.strategy or ("text" if is_text else self._config.default_strategy)
        strategy = self._rooms.strategy(name)
        if isinstance(strategy, ContentStrategy) is not is_text:
            raise InvalidArgument(f"strategy {name!r} does not fit a document of type {new.type}")
        if isinstance(strategy, ContentStrategy):
            return name, strategy.initial(new.content)
        assert isinstance(strategy, ConflictStrategy)
        content: JsonValue | bytes = {} if new.content is None else new.content
        if not isinstance(content, dict):
            raise InvalidArgument(f"a document of type {new.type} starts from an object")
        check(content, "the content")
        return name, content

    def _seen(self, document: Document, version: int | None = None) -> Document:
        """Return a document with its version and who is there now."""
        fanout = self._rooms.fanouts.get(document.id)
        users = () if fanout is None else fanout.users
        if version is None:
            version = document.version
        return replace(document, version=version, active_users=users)

    async def _past(self, room: Room, version: int) -> Snapshot:
        check_number("at_version", version)
        if version > room.replica.version:
            raise InvalidArgument(
                f"at_version is {version}, the document is at {room.replica.version}"
            )
        document = room.document
        await self._rooms.settled(room)
        snapshot = await self._store.snapshot_at(document.id, version)
        if snapshot is None:
            raise ServiceUnavailable(f"document {document.id} has no snapshot")
        replica = await self._rooms.replay(document, snapshot, version, history=0)
        return Snapshot(
            self._seen(document, room.durable), version, replica.value(), replica.text()
        )

    async def _change(
        self, room: Room, actor: Actor, change: DocumentChange, expected: int | None
    ) -> Document:
        before = room.document
        if expected is not None and expected != before.revision:
            raise RevisionMismatch(
                f"the document is at revision {before.revision}, not {expected}",
                detail={"revision": str(before.revision)},
            )
        given = {
            name: value
            for name in DocumentChange.__dataclass_fields__
            if (value := getattr(change, name)) is not None
        }
        after = replace(
            before,
            **given,
            revision=before.revision + 1,
            updated_by=actor.user_id,
            updated_at_ns=self._clock.wall_ns(),
        )
        if not await self._store.update(after, before.revision):
            raise RevisionMismatch("the document was changed by another process: read it again")
        room.document = after
        seen = self._seen(after, room.durable)
        self._rooms.publish(
            after.id, EventType.DOCUMENT_UPDATED, user_id=actor.user_id, document=seen
        )
        self._end_unwelcome(after)
        return seen

    def _end_unwelcome(self, document: Document) -> None:
        """End the subscriptions of those who may no longer read."""
        fanout = self._rooms.fanouts.get(document.id)
        for outlet in () if fanout is None else fanout.outlets():
            subscription = self._rooms.subscriptions[outlet]
            if not may_read(subscription.actor, document):
                outlet.error = PermissionDenied(
                    f"user {outlet.user_id!r} may no longer read document {document.id}"
                )
                subscription.wake()

    async def _log_after(self, room: Room, version: int, limit: int) -> Sequence[Operation]:
        """Return durable operations after a version, from memory where it reaches back."""
        durable = room.durable
        remembered = room.replica.since(version)
        if remembered is not None:
            return [o for o in remembered[:limit] if o.version <= durable]
        return await self._store.operations(room.document.id, version, limit)

    def _decide(
        self,
        room: Room,
        actor: Actor,
        conflict: Conflict,
        resolution: Resolution,
        size_bytes: int,
    ) -> "tuple[asyncio.Future[None] | None, Conflict]":
        operation, plan = resolving(conflict, resolution, room.replica.version)
        room.admit(actor, operation, size_bytes, self._clock.monotonic_ns())
        room.marks[operation.client_id] = ClientMark("", 0)
        entry, kept = self._rooms.commit(
            room,
            actor,
            operation,
            plan,
            size_bytes,
            resolves=conflict,
        )
        assert entry.conflict is not None
        return kept, entry.conflict

    def _watch(self, room: Room, actor: Actor, from_version: int | None) -> LocalSubscription:
        doc_id = room.document.id
        fanout = self._rooms.fanouts.get(doc_id)
        if fanout is None:
            fanout = self._rooms.fanouts[doc_id] = Fanout(room.durable)
        if len(fanout) >= self._config.max_subscribers:
            raise TooMany(f"document {doc_id} has {len(fanout)} subscribers, which is the bound")
        outlet = Outlet(
            fanout.version if from_version is None else from_version,
            self._config.subscriber_queue,
            actor.user_id,
        )
        if fanout.add(outlet):
            # To those who were here: the one who joins knows.
            event = Event(EventType.USER_JOINED, doc_id, fanout.version, user_id=actor.user_id)
            for other in fanout.outlets():
                if other is not outlet:
                    other.push(event)
                    self._rooms.subscriptions[other].wake()

        async def read_log(version: int) -> Sequence[Operation]:
            opened = await self._rooms.enter(doc_id)
            try:
                return await self._log_after(opened, version, PAGE)
            finally:
                opened.pins -= 1

        subscription = LocalSubscription(
            str(self._ids()),
            doc_id,
            actor,
            outlet,
            fanout,
            read_log=read_log,
            read_all=lambda: self.get_document(actor, doc_id),
            on_close=self._unwatch,
        )
        self._rooms.subscriptions[outlet] = subscription
        return subscription

    def _unwatch(self, subscription: LocalSubscription) -> None:
        outlet, doc_id = subscription.outlet, subscription.doc_id
        self._rooms.subscriptions.pop(outlet, None)
        fanout = self._rooms.fanouts.get(doc_id)
        if fanout is None:
            return
        is_gone = fanout.remove(outlet)
        if not len(fanout):
            del self._rooms.fanouts[doc_id]
        elif is_gone:
            self._rooms.publish(doc_id, EventType.USER_LEFT, user_id=outlet.user_id)


def _check_actor(actor: Actor) -> None:
    check_text("user_id", actor.user_id, required=True)
    check_text("session_id", actor.session_id)
