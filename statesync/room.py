"""One open document: its replica, its locks and who has written how far.

A room is the single writer of its log in this process. It decides and applies without waiting; its
service gives what it made to the store. ``durable`` trails ``replica.version`` by what the store
has not yet confirmed. Knows no store.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from statesync.api import (
    Actor,
    Change,
    Conflict,
    InvalidOperation,
    JsonValue,
    Keep,
    Operation,
    OperationStatus,
    PermissionDenied,
    Resolution,
    SequenceGap,
    TooLarge,
)
from statesync.checks import size_of
from statesync.document import Plan, Replica
from statesync.locks import Held, LockTable
from statesync.store import Append, ClientMark, Loaded
from statesync.strategy import ConflictStrategy, Content, ContentStrategy, Strategy
from statesync.tree import intended


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """What a room needs of the service's settings."""

    history: int
    max_document_bytes: int


class Room:
    """An open document."""

    def __init__(
        self,
        loaded: Loaded,
        strategy: Strategy,
        limits: RoomLimits,
        *,
        now_ns: int,
        wall_ns: int,
    ) -> None:
        """Bring the snapshot up to date from the log."""
        self.document = loaded.document
        self.strategy = strategy if isinstance(strategy, ConflictStrategy) else None
        self.replica = open_replica(
            loaded.snapshot.content, loaded.snapshot.version, strategy, history=limits.history
        )
        for operation in loaded.operations:
            self.replica.apply(operation)
        self.durable = self.replica.version
        self.snapshot_version = loaded.snapshot.version
        # The wall clock may have been set since: what is left is never more than the whole lease.
        self.locks = LockTable(
            (
                Held(
                    lock,
                    now_ns
                    + max(
                        0,
                        min(lock.expires_at_ns - wall_ns, lock.expires_at_ns - lock.acquired_at_ns),
                    ),
                )
                for lock in loaded.locks
            ),
            loaded.last_token,
        )
        self.marks: dict[str, ClientMark] = {}
        self.gate = asyncio.Lock()
        """Held by whatever must wait in the middle of a decision; keeps arrivals in order."""
        self.pins = 0
        self.in_flight = 0
        self.last_commit: asyncio.Future[None] | None = None
        self.is_broken = False
        self._max_bytes = limits.max_document_bytes
        self._size_bytes = 0
        self._size_is_known = False

    @property
    def is_idle(self) -> bool:
        """Whether the room may be closed."""
        return not (self.pins or self.in_flight or len(self.locks) or self.gate.locked())

    def sequence(self, actor: Actor, operation: Operation, mark: ClientMark) -> bool:
        """Return whether the operation is the client's next; False: it was sent before.

        Raises `PermissionDenied` for a client id of another user, and `SequenceGap`.
        """
        if mark.client_seq and mark.user_id != actor.user_id:
            raise PermissionDenied(
                f"client_id {operation.client_id!r} belongs to another user: choose your own"
            )
        if operation.client_seq <= mark.client_seq:
            return False
        if operation.client_seq != mark.client_seq + 1:
            raise SequenceGap(
                f"client_seq is {operation.client_seq}, the next of client "
                f"{operation.client_id!r} is {mark.client_seq + 1}",
                detail={"expected": str(mark.client_seq + 1)},
            )
        return True

    def admit(self, actor: Actor, operation: Operation, size_bytes: int, now_ns: int) -> None:
        """Raise unless locks and size let *actor* write this here and now."""
        self.locks.admit(operation, actor, now_ns)
        if not self._size_is_known or self._size_bytes + size_bytes > self._max_bytes:
            self._size_bytes = _size(self.replica)
            self._size_is_known = True
        if self._size_bytes + size_bytes > self._max_bytes:
            raise TooLarge(
                f"the document would exceed its {self._max_bytes} bytes: it has {self._size_bytes}"
            )

    def plan(self, operation: Operation) -> Plan:
        """Return what the operation becomes; raises as `Replica.plan` does."""
        return self.replica.plan(operation, self.strategy)

    def commit(
        self,
        actor: Actor,
        operation: Operation,
        plan: Plan,
        *,
        ids: Callable[[], object],
        wall_ns: int,
        size_bytes: int,
    ) -> Append:
        """Give the operation its version and apply it; return what the store must keep."""
        # Spelt out: this is the hot path, and `replace` costs four times as much.
        operation = Operation(
            doc_id=operation.doc_id,
            client_id=operation.client_id,
            client_seq=operation.client_seq,
            type=operation.type,
            target=operation.target,
            payload=operation.payload,
            base_version=operation.base_version,
            stamp=operation.stamp,
            fencing_token=operation.fencing_token,
            id=str(ids()),
            version=self.replica.version + 1,
            status=plan.status,
            effect=plan.effect,
            user_id=actor.user_id,
            session_id=actor.session_id,
            applied_at_ns=wall_ns,
        )
        conflict = None
        if plan.is_conflict:
            decided = plan.status is not OperationStatus.CONFLICT
            conflict = Conflict(
                id=str(ids()),
                doc_id=operation.doc_id,
                incoming=operation,
                against=plan.against,
                strategy=self.document.strategy,
                lost=tuple(
                    replace(loss, user_id=actor.user_id, version=operation.version)
                    if loss.version == 0
                    else loss
                    for loss in plan.lost
                ),
                detected_at_ns=wall_ns,
                resolved_at_ns=wall_ns if decided else 0,
                resolved_by=self.document.strategy if decided else "",
                resolved_version=operation.version if decided else 0,
            )
        self.replica.apply(operation, size_bytes)
        self._size_bytes += size_bytes
        self.marks[operation.client_id] = ClientMark(actor.user_id, operation.client_seq)
        return Append(operation, conflict)


def open_replica(
    content: JsonValue | bytes, version: int, strategy: Strategy, *, history: int
) -> Replica:
    """Return a replica with stored content."""
    opened: JsonValue | Content
    if isinstance(content, bytes):
        if not isinstance(strategy, ContentStrategy):
            raise InvalidOperation("this content needs a strategy that can open it, such as text")
        opened = strategy.open(content)
    else:
        opened = content
    return Replica(opened, version, history=history)


def resolving(conflict: Conflict, resolution: Resolution, version: int) -> tuple[Operation, Plan]:
    """Return the operation that carries out a person's decision at *version*, and its effect."""
    incoming = conflict.incoming
    effect: tuple[Change, ...] = ()
    if resolution.keep is Keep.INCOMING:
        effect = intended(incoming)
    elif resolution.keep is Keep.VALUE:
        effect = (Change(incoming.target, resolution.value),)
    operation = replace(
        incoming,
        # Its own name, so that deciding twice is deciding once.
        client_id=f"resolve:{conflict.id}",
        client_seq=1,
        base_version=version,
        fencing_token=0,
    )
    return operation, Plan(OperationStatus.RESOLVED, effect)


def _size(replica: Replica) -> int:
    return size_of(replica.value(), "the content")
