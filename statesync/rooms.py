"""The open documents of a service: opens rooms, writes operations to them, tells who watches.

The way of an operation: checked, admitted to its room, planned, applied to the room's replica and
given to the store, all without waiting; when the store says that it is safe, it is broadcast and
acknowledged, in that order. What the store refuses closes the room, and everything in flight there
is refused with it: the next call opens the document afresh. Knows no wire and no plug-in.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from statesync.access import require_active, require_edit
from statesync.api import (
    Acknowledgement,
    Actor,
    Conflict,
    Document,
    DocumentNotFound,
    Event,
    EventType,
    InvalidArgument,
    InvalidOperation,
    Lock,
    LogCompacted,
    Operation,
    SequenceReused,
    ServiceUnavailable,
    StateSyncError,
    TooMany,
)
from statesync.checks import check_id, check_operation
from statesync.clock import HybridClock
from statesync.config import StateSyncConfig
from statesync.document import HistoryTooShort, Plan, Replica
from statesync.fanout import Fanout, Outlet
from statesync.room import Room, RoomLimits, open_replica
from statesync.store import Append, ClientMark, StateStore, StoredSnapshot
from statesync.strategy import ContentBroken, Strategy
from statesync.subscription import PAGE, LocalSubscription
from statesync.tree import same
from svckit.clock import Clock
from svckit.logs import logger
from svckit.registry import Registry, UnknownName

_MAX_MARKS = 10_000
_NO_MARK = ClientMark("", 0)

_log = logger("statesync")
_Pending = tuple[Acknowledgement, "asyncio.Future[None] | None"]


class Rooms:
    """Every open document of this process, and its single writer."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        ids: Callable[[], UUID],
        strategies: Registry[Strategy],
        config: StateSyncConfig,
    ) -> None:
        """Use *ids* (a UUIDv7 factory) and the strategies that *strategies* can load."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._registry = strategies
        self._config = config
        self._strategies: dict[str, Strategy] = {}
        self._stamps = HybridClock("server")
        self._rooms: OrderedDict[str, Room] = OrderedDict()
        self._opening: dict[str, asyncio.Task[Room]] = {}
        self._leaving: dict[str, asyncio.Future[None]] = {}
        """The last commit of a broken room, to be awaited before its document opens again."""
        self.fanouts: dict[str, Fanout] = {}
        """Of each document that is watched."""
        self.subscriptions: dict[Outlet, LocalSubscription] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.refused: Counter[str] = Counter()
        """Operations refused, by error code."""
        self.accepted: Counter[str] = Counter()
        """Operations accepted, by status."""

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))

    async def close(self) -> None:
        """Refuse what comes, and wait for what is in flight."""
        self._is_closed = True
        for room in tuple(self._rooms.values()):
            if room.last_commit is not None:
                await asyncio.wait([room.last_commit])
        if self._background:
            await asyncio.wait(self._background)

    async def apply(self, actor: Actor, operation: Operation) -> Acknowledgement:
        """Apply one operation; returns when it is as durable as the acknowledgement says."""
        try:
            acknowledgement, commit = await self._submit(actor, operation)
            if commit is not None:
                await commit
        except StateSyncError as error:
            self.refused[error.code] += 1
            raise
        return acknowledgement

    async def apply_many(
        self, actor: Actor, operations: Sequence[Operation]
    ) -> tuple[Acknowledgement | StateSyncError, ...]:
        """Apply operations in order, committed together."""
        if len(operations) > self._config.max_batch:
            raise InvalidArgument(
                f"{len(operations)} operations in one call, at most {self._config.max_batch}"
            )
        submitted: list[_Pending | StateSyncError] = []
        for operation in operations:
            try:
                submitted.append(await self._submit(actor, operation))
            except StateSyncError as error:
                submitted.append(error)
        outcomes: list[Acknowledgement | StateSyncError] = []
        for entry in submitted:
            if isinstance(entry, StateSyncError):
                outcomes.append(entry)
                continue
            acknowledgement, commit = entry
            try:
                if commit is not None:
                    await commit
                outcomes.append(acknowledgement)
            except StateSyncError as error:
                outcomes.append(error)
        for outcome in outcomes:
            if isinstance(outcome, StateSyncError):
                self.refused[outcome.code] += 1
        return tuple(outcomes)

    # Below: from an operation to its commit.

    async def _submit(self, actor: Actor, operation: Operation) -> _Pending:
        size_bytes = check_operation(operation, self._config.max_operation_bytes)
        room = await self.enter(operation.doc_id)
        try:
            if operation.doc_id != room.document.id:
                operation = replace(operation, doc_id=room.document.id)
            require_edit(actor, room.document)
            mark = room.marks.get(operation.client_id)
            if mark is not None and not room.gate.locked():
                try:
                    return self._decide(room, actor, operation, mark, size_bytes, None)
                except (HistoryTooShort, _SentBefore):
                    pass
            async with room.gate:
                return await self._decide_slowly(room, actor, operation, size_bytes)
        finally:
            room.pins -= 1

    def _decide(
        self,
        room: Room,
        actor: Actor,
        operation: Operation,
        mark: ClientMark,
        size_bytes: int,
        plan: Plan | None,
    ) -> _Pending:
        if not room.sequence(actor, operation, mark):
            raise _SentBefore
        require_active(room.document)
        room.admit(actor, operation, size_bytes, self._clock.monotonic_ns())
        operation = self._stamped(operation)
        if plan is None:
            plan = room.plan(operation)
        entry, kept = self.commit(room, actor, operation, plan, size_bytes)
        return self._acknowledge(room, entry.operation, entry.conflict), kept

    def commit(
        self,
        room: Room,
        actor: Actor,
        operation: Operation,
        plan: Plan,
        size_bytes: int,
        *,
        resolves: Conflict | None = None,
    ) -> "tuple[Append, asyncio.Future[None] | None]":
        """Apply a decided operation and give it to the store; *resolves* is a conflict it ends."""
        self._check_open(room)
        wall_ns = self._clock.wall_ns()
        try:
            entry = room.commit(
                actor, operation, plan, ids=self._ids, wall_ns=wall_ns, size_bytes=size_bytes
            )
        except ContentBroken as error:
            self._break(room)
            raise InvalidOperation(str(error)) from None
        if resolves is not None:
            done = replace(
                resolves,
                resolved_at_ns=wall_ns,
                resolved_by=actor.user_id,
                resolved_version=entry.operation.version,
            )
            entry = Append(entry.operation, done)
        return entry, self._keep(room, entry)

    async def _decide_slowly(
        self, room: Room, actor: Actor, operation: Operation, size_bytes: int
    ) -> _Pending:
        """Decide where the store must be asked first; the gate keeps later arrivals behind."""
        mark = room.marks.get(operation.client_id)
        if mark is None:
            if len(room.marks) >= _MAX_MARKS and not room.in_flight:
                room.marks.clear()
            found = await self._store.mark(operation.doc_id, operation.client_id)
            mark = room.marks.setdefault(operation.client_id, found or _NO_MARK)
        try:
            try:
                return self._decide(room, actor, operation, mark, size_bytes, None)
            except HistoryTooShort:
                operation = self._stamped(operation)
                plan = await self._plan_from_log(room, operation)
                return self._decide(room, actor, operation, mark, size_bytes, plan)
        except _SentBefore:
            return await self._answer_again(room, operation)

    async def _plan_from_log(self, room: Room, operation: Operation) -> Plan:
        """Plan an operation whose base is older than the room remembers."""
        lag = room.replica.version - operation.base_version
        if lag > self._config.max_base_lag:
            raise LogCompacted(
                f"base_version {operation.base_version} is {lag} operations behind, at most "
                f"{self._config.max_base_lag} are allowed: read the document and edit again"
            )
        await self.settled(room)
        snapshot = await self._store.snapshot_at(room.document.id, operation.base_version)
        if snapshot is None or room.strategy is None:
            raise LogCompacted(f"version {operation.base_version} is no longer kept")
        replica = await self.replay(room.document, snapshot, room.replica.version, history=2**62)
        return replica.plan(operation, room.strategy)

    async def _answer_again(self, room: Room, operation: Operation) -> _Pending:
        """Answer an operation that was sent before with its first outcome."""
        first = next(
            (
                past
                for past in room.replica.since(room.replica.oldest) or ()
                if past.client_id == operation.client_id and past.client_seq == operation.client_seq
            ),
            None,
        )
        if first is None:
            first = await self._store.operation(
                operation.doc_id, operation.client_id, operation.client_seq
            )
        elif first.version > room.durable:
            await self.settled(room)
        if first is None:
            raise LogCompacted(
                f"client_seq {operation.client_seq} was accepted so long ago that its outcome is "
                "no longer kept"
            )
        if (
            first.type is not operation.type
            or first.target != operation.target
            or not same(first.payload, operation.payload)
        ):
            raise SequenceReused(
                f"client_seq {operation.client_seq} of client {operation.client_id!r} was used "
                "for another operation: count on"
            )
        conflict = await self._store.conflict_of(operation.doc_id, first.id)
        answer = self._acknowledge(room, first, conflict)
        return replace(answer, duplicate=True), None

    def _keep(self, room: Room, entry: Append) -> "asyncio.Future[None] | None":
        """Give an applied operation to the store; return what ends when it is broadcast."""
        try:
            stored = self._store.append(entry)
        except ServiceUnavailable:
            self._break(room)
            raise
        if stored is None:
            self._broadcast(room, entry)
            return None
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room.in_flight += 1
        room.last_commit = stored

        def settle(done: "asyncio.Future[None]") -> None:
            room.in_flight -= 1
            error = done.exception()
            if error is not None:
                self._break(room)
                if not kept.done():
                    kept.set_exception(error)
                    kept.exception()  # heard: the caller may have gone
                return
            self._broadcast(room, entry)
            if not kept.done():
                kept.set_result(None)

        stored.add_done_callback(settle)
        return kept

    def _broadcast(self, room: Room, entry: Append) -> None:
        operation, conflict = entry.operation, entry.conflict
        room.durable = operation.version
        self.accepted[operation.status] += 1
        doc_id = operation.doc_id
        if doc_id in self.fanouts:
            user = operation.user_id
            self.publish(
                doc_id,
                EventType.OPERATION_APPLIED,
                version=operation.version,
                user_id=user,
                operation=operation,
            )
            if conflict is not None:
                if conflict.incoming.id == operation.id:
                    self.publish(
                        doc_id, EventType.CONFLICT_DETECTED, user_id=user, conflict=conflict
                    )
                if not conflict.is_pending:
                    self.publish(
                        doc_id, EventType.CONFLICT_RESOLVED, user_id=user, conflict=conflict
                    )
        if room.durable - room.snapshot_version >= self._config.snapshot_every:
            room.snapshot_version = room.replica.version
            snapshot = StoredSnapshot(room.replica.version, room.replica.value())
            self._spawn(self._save_snapshot(doc_id, snapshot))

    async def _save_snapshot(self, doc_id: str, snapshot: StoredSnapshot) -> None:
        try:
            await self._store.save_snapshot(doc_id, snapshot)
        except ServiceUnavailable as error:
            # Nothing is lost: the log has it all, opening is slower.
            _log.warning("snapshot not saved", doc_id=doc_id, reason=error.reason)

    def _acknowledge(
        self, room: Room, operation: Operation, conflict: Conflict | None
    ) -> Acknowledgement:
        return Acknowledgement(
            doc_id=operation.doc_id,
            client_id=operation.client_id,
            client_seq=operation.client_seq,
            operation_id=operation.id,
            version=operation.version,
            status=operation.status,
            durability=self._store.durability,
            epoch=room.document.epoch,
            effect=operation.effect,
            conflict_id="" if conflict is None else conflict.id,
        )

    def _stamped(self, operation: Operation) -> Operation:
        wall_ms = self._clock.wall_ns() // 1_000_000
        if operation.stamp.wall_ms == 0:
            return replace(operation, stamp=self._stamps.now(wall_ms))
        self._stamps.observe(operation.stamp, wall_ms)
        return operation

    # Below: rooms.

    async def enter(self, doc_id: str) -> Room:
        """Return the room of a document, pinned: the caller takes one off `pins` when done."""
        room = self._rooms.get(doc_id)
        if room is None:
            doc_id = check_id(doc_id)
            room = self._rooms.get(doc_id)
        if room is None:
            if self._is_closed:
                raise ServiceUnavailable("the service is closing")
            opening = self._opening.get(doc_id)
            if opening is None:
                opening = asyncio.create_task(self._open(doc_id))
                self._opening[doc_id] = opening
            room = await asyncio.shield(opening)
        room.pins += 1
        if room.document.id in self._rooms:
            self._rooms.move_to_end(room.document.id)
        return room

    async def _open(self, doc_id: str) -> Room:
        try:
            self._make_space()
            leaving = self._leaving.pop(doc_id, None)
            if leaving is not None:
                await asyncio.wait([leaving])
            loaded = await self._store.load(doc_id)
            if loaded is None:
                raise DocumentNotFound(f"no document has the id {doc_id}")
            room = Room(
                loaded,
                self.strategy(loaded.document.strategy),
                RoomLimits(self._config.history, self._config.max_document_bytes),
                now_ns=self._clock.monotonic_ns(),
                wall_ns=self._clock.wall_ns(),
            )
            self._rooms[doc_id] = room
            return room
        finally:
            del self._opening[doc_id]

    def _make_space(self) -> None:
        if len(self._rooms) < self._config.max_open_documents:
            return
        idle = next((key for key, room in self._rooms.items() if room.is_idle), None)
        if idle is None:
            raise TooMany(
                f"{len(self._rooms)} documents are open and all are busy: try again later"
            )
        del self._rooms[idle]

    def _break(self, room: Room) -> None:
        """Forget a room whose replica is not what the store has, or will have."""
        room.is_broken = True
        if self._rooms.get(room.document.id) is room:
            del self._rooms[room.document.id]
            if room.last_commit is not None and not room.last_commit.done():
                self._leaving[room.document.id] = room.last_commit

    def _check_open(self, room: Room) -> None:
        if room.is_broken:
            raise ServiceUnavailable("the document is being opened again: send the same once more")
        if self._is_closed:
            raise ServiceUnavailable("the service is closing")

    async def settled(self, room: Room) -> None:
        """Wait until what the room holds now is durable; raises if it will not be."""
        if room.last_commit is not None and not room.last_commit.done():
            await asyncio.wait([room.last_commit])
            # Its own callback, which broadcasts, was registered before this one and ran first.
        if room.is_broken:
            raise ServiceUnavailable("the store refused what this document held: try again")

    async def replay(
        self, document: Document, snapshot: StoredSnapshot, version: int, *, history: int
    ) -> Replica:
        """Return a document as it was at *version*, from a snapshot and the stored log."""
        replica = open_replica(
            snapshot.content,
            snapshot.version,
            self.strategy(document.strategy),
            history=history,
        )
        while replica.version < version:
            page = await self._store.operations(document.id, replica.version, PAGE)
            if not page or page[0].version != replica.version + 1:
                raise LogCompacted(f"version {version} of {document.id} is no longer kept")
            for operation in page[: version - replica.version]:
                # History here is bounded by the lag that is allowed, not by weight.
                replica.apply(operation, 0)
        return replica

    def strategy(self, name: str) -> Strategy:
        """Return a strategy by its name; raises `InvalidArgument`."""
        found = self._strategies.get(name)
        if found is None:
            try:
                found = self._strategies[name] = self._registry.load(name)()
            except UnknownName as error:
                raise InvalidArgument(str(error)) from None
        return found

    def publish(
        self,
        doc_id: str,
        kind: EventType,
        *,
        version: int | None = None,
        user_id: str = "",
        operation: Operation | None = None,
        document: Document | None = None,
        conflict: Conflict | None = None,
        lock: Lock | None = None,
    ) -> None:
        """Tell everyone who watches a document; *version* None is the newest published."""
        fanout = self.fanouts.get(doc_id)
        if fanout is None:
            return
        event = Event(
            type=kind,
            doc_id=doc_id,
            version=fanout.version if version is None else version,
            user_id=user_id,
            operation=operation,
            document=document,
            conflict=conflict,
            lock=lock,
        )
        for outlet in fanout.publish(event):
            self.subscriptions[outlet].wake()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class _SentBefore(Exception):
    """The operation's sequence was used: it must be answered, not applied."""
