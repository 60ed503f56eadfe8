"""State messages to values and back; what cannot be converted is `InvalidArgument`."""

import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import grpc

from quantum_pb.common.v1 import errors_pb2, ids_pb2
from quantum_pb.statesync.v1 import statesync_pb2 as pb
from statesync.api import (
    ERRORS,
    Acknowledgement,
    Actor,
    AlreadyExists,
    AlreadyResolved,
    BaseAhead,
    Change,
    Conflict,
    ConflictNotFound,
    Document,
    DocumentNotFound,
    DocumentState,
    DocumentType,
    Durability,
    Event,
    EventType,
    InvalidArgument,
    InvalidOperation,
    JsonValue,
    Keep,
    Lock,
    Locked,
    LogCompacted,
    Loss,
    NotWritable,
    Operation,
    OperationStatus,
    OperationType,
    Path,
    PermissionDenied,
    Permissions,
    RevisionMismatch,
    SequenceGap,
    SequenceReused,
    ServiceUnavailable,
    Snapshot,
    StaleLock,
    Stamp,
    StampAhead,
    StateSyncError,
    TooLarge,
    TooMany,
)
from svckit.grpc import ErrorMapping

M = TypeVar("M")
E = TypeVar("E", bound=Enum)


def request(make: Callable[..., M], *arguments: object, **fields: object) -> M:
    """Return a message made by *make*; what a message cannot hold is `InvalidArgument`."""
    try:
        return make(*arguments, **fields)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"an argument cannot be sent: {error}") from None


def _numbers(kind: type[E], prefix: str, wire: Any) -> dict[E, int]:
    return {member: wire.Value(f"{prefix}_{member.name}") for member in kind}


_TYPES = _numbers(DocumentType, "DOCUMENT_TYPE", pb.DocumentType)
_STATES = _numbers(DocumentState, "DOCUMENT_STATE", pb.DocumentState)
_OPERATIONS = _numbers(OperationType, "OPERATION_TYPE", pb.OperationType)
_STATUSES = _numbers(OperationStatus, "OPERATION_STATUS", pb.OperationStatus)
_DURABILITIES = _numbers(Durability, "DURABILITY", pb.Durability)
_EVENTS = _numbers(EventType, "EVENT_TYPE", pb.EventType)
_KEEPS = _numbers(Keep, "KEEP", pb.Keep)
_BACK: dict[type[Any], Mapping[int, Any]] = {
    kind: {number: member for member, number in table.items()}
    for kind, table in (
        (DocumentType, _TYPES),
        (DocumentState, _STATES),
        (OperationType, _OPERATIONS),
        (OperationStatus, _STATUSES),
        (Durability, _DURABILITIES),
        (EventType, _EVENTS),
        (Keep, _KEEPS),
    )
}


def number_of(member: DocumentType | DocumentState | Keep) -> Any:
    """Return the number of an enumeration's member."""
    table: dict[Any, int] = {**_TYPES, **_STATES, **_KEEPS}
    return table[member]


def member_of(kind: type[E], number: int, name: str) -> E:
    """Return the member with this number; *name* is the field's, for the error."""
    found: E | None = _BACK[kind].get(number)
    if found is None:
        raise InvalidArgument(f"{name} is {number}; use 1 to {len(_BACK[kind])}")
    return found


def value_to_wire(value: JsonValue | bytes) -> pb.Value:
    """Return a JSON value or bytes as a message."""
    if isinstance(value, bytes):
        return pb.Value(raw=value)
    try:
        return pb.Value(json=json.dumps(value, separators=(",", ":"), allow_nan=False))
    except RecursionError:
        raise InvalidArgument("the value is nested too deeply") from None


def value_from_wire(message: pb.Value, name: str) -> Any:
    """Return a JSON value or bytes from a message; absent is None."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "raw":
        return message.raw
    try:
        return json.loads(message.json, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{name} is not JSON: {error}") from None


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def path_to_wire(path: Path) -> pb.Path:
    """Return a path as a message."""
    return pb.Path(keys=path)


def path_from_wire(message: pb.Path) -> Path:
    """Return a path from a message."""
    return tuple(message.keys)


def actor_to_wire(actor: Actor) -> ids_pb2.Actor:
    """Return an actor as a message."""
    return request(
        ids_pb2.Actor,
        user_id=actor.user_id,
        session_id=actor.session_id,
        is_admin=actor.is_admin,
    )


def actor_from_wire(message: ids_pb2.Actor) -> Actor:
    """Return an actor from a message."""
    return Actor(message.user_id, message.session_id, message.is_admin)


def permissions_to_wire(permissions: Permissions) -> pb.Permissions:
    """Return permissions as a message."""
    return pb.Permissions(
        owner=permissions.owner,
        editors=sorted(permissions.editors),
        viewers=sorted(permissions.viewers),
        public=permissions.public,
    )


def permissions_from_wire(message: pb.Permissions) -> Permissions:
    """Return permissions from a message."""
    return Permissions(
        message.owner, frozenset(message.editors), frozenset(message.viewers), message.public
    )


def document_to_wire(document: Document) -> pb.Document:
    """Return a document as a message."""
    return pb.Document(
        id=document.id,
        name=document.name,
        type=number_of(document.type),
        state=number_of(document.state),
        strategy=document.strategy,
        version=document.version,
        revision=document.revision,
        epoch=document.epoch,
        permissions=permissions_to_wire(document.permissions),
        created_by=document.created_by,
        created_at_ns=document.created_at_ns,
        updated_by=document.updated_by,
        updated_at_ns=document.updated_at_ns,
        description=document.description,
        tags=document.tags,
        properties=document.properties,
        active_users=document.active_users,
    )


def document_from_wire(message: pb.Document) -> Document:
    """Return a document from a message."""
    return Document(
        id=message.id,
        name=message.name,
        type=member_of(DocumentType, message.type, "type"),
        state=member_of(DocumentState, message.state, "state"),
        strategy=message.strategy,
        version=message.version,
        revision=message.revision,
        epoch=message.epoch,
        permissions=permissions_from_wire(message.permissions),
        created_by=message.created_by,
        created_at_ns=message.created_at_ns,
        updated_by=message.updated_by,
        updated_at_ns=message.updated_at_ns,
        description=message.description,
        tags=tuple(message.tags),
        properties=dict(message.properties),
        active_users=tuple(message.active_users),
    )


def snapshot_to_wire(snapshot: Snapshot) -> pb.Snapshot:
    """Return a snapshot as a message."""
    return pb.Snapshot(
        document=document_to_wire(snapshot.document),
        version=snapshot.version,
        content=value_to_wire(snapshot.content),
        text=snapshot.text,
    )


def snapshot_from_wire(message: pb.Snapshot) -> Snapshot:
    """Return a snapshot from a message."""
    return Snapshot(
        document_from_wire(message.document),
        message.version,
        value_from_wire(message.content, "content"),
        message.text if message.HasField("text") else None,
    )


def effect_to_wire(effect: tuple[Change, ...] | None) -> pb.Effect | None:
    """Return an effect as a message; None stays None."""
    if effect is None:
        return None
    return pb.Effect(
        changes=[
            pb.Change(path=path_to_wire(c.path), value=value_to_wire(c.value), removed=c.removed)
            for c in effect
        ]
    )


def effect_from_wire(message: Any) -> tuple[Change, ...] | None:
    """Return the effect of an operation or acknowledgement message."""
    if not message.HasField("effect"):
        return None
    return tuple(
        Change(path_from_wire(c.path), value_from_wire(c.value, "effect"), c.removed)
        for c in message.effect.changes
    )


def operation_to_wire(operation: Operation) -> pb.Operation:
    """Return an operation as a message."""
    stamp = operation.stamp
    return pb.Operation(
        doc_id=operation.doc_id,
        client_id=operation.client_id,
        client_seq=operation.client_seq,
        type=_OPERATIONS[operation.type],  # type: ignore[arg-type]
        target=path_to_wire(operation.target),
        payload=value_to_wire(operation.payload),
        base_version=operation.base_version,
        stamp=ids_pb2.Stamp(wall_ms=stamp.wall_ms, counter=stamp.counter, node=stamp.node),
        fencing_token=operation.fencing_token,
        id=operation.id,
        version=operation.version,
        status=_STATUSES[operation.status],  # type: ignore[arg-type]
        effect=effect_to_wire(operation.effect),
        user_id=operation.user_id,
        session_id=operation.session_id,
        applied_at_ns=operation.applied_at_ns,
    )


def operation_from_wire(message: pb.Operation) -> Operation:
    """Return an operation from a message; what a client must give is required."""
    stamp = message.stamp
    status = OperationStatus.PENDING
    if message.status:
        status = member_of(OperationStatus, message.status, "status")
    return Operation(
        doc_id=message.doc_id,
        client_id=message.client_id,
        client_seq=message.client_seq,
        type=member_of(OperationType, message.type, "operation.type"),
        target=path_from_wire(message.target),
        payload=value_from_wire(message.payload, "operation.payload"),
        base_version=message.base_version,
        stamp=Stamp(stamp.wall_ms, stamp.counter, stamp.node),
        fencing_token=message.fencing_token,
        id=message.id,
        version=message.version,
        status=status,
        effect=effect_from_wire(message),
        user_id=message.user_id,
        session_id=message.session_id,
        applied_at_ns=message.applied_at_ns,
    )


def conflict_to_wire(conflict: Conflict) -> pb.Conflict:
    """Return a conflict as a message."""
    return pb.Conflict(
        id=conflict.id,
        doc_id=conflict.doc_id,
        incoming=operation_to_wire(conflict.incoming),
        against=conflict.against,
        strategy=conflict.strategy,
        lost=[
            pb.Loss(
                path=path_to_wire(loss.path),
                value=value_to_wire(loss.value),
                removed=loss.removed,
                user_id=loss.user_id,
                version=loss.version,
            )
            for loss in conflict.lost
        ],
        detected_at_ns=conflict.detected_at_ns,
        resolved_at_ns=conflict.resolved_at_ns,
        resolved_by=conflict.resolved_by,
        resolved_version=conflict.resolved_version,
    )


def conflict_from_wire(message: pb.Conflict) -> Conflict:
    """Return a conflict from a message."""
    return Conflict(
        id=message.id,
        doc_id=message.doc_id,
        incoming=operation_from_wire(message.incoming),
        against=tuple(message.against),
        strategy=message.strategy,
        lost=tuple(
            Loss(
                path_from_wire(loss.path),
                value_from_wire(loss.value, "lost"),
                loss.removed,
                loss.user_id,
                loss.version,
            )
            for loss in message.lost
        ),
        detected_at_ns=message.detected_at_ns,
        resolved_at_ns=message.resolved_at_ns,
        resolved_by=message.resolved_by,
        resolved_version=message.resolved_version,
    )


def acknowledgement_to_wire(answer: Acknowledgement) -> pb.Acknowledgement:
    """Return an acknowledgement as a message."""
    return pb.Acknowledgement(
        doc_id=answer.doc_id,
        client_id=answer.client_id,
        client_seq=answer.client_seq,
        operation_id=answer.operation_id,
        version=answer.version,
        status=_STATUSES[answer.status],  # type: ignore[arg-type]
        durability=_DURABILITIES[answer.durability],  # type: ignore[arg-type]
        epoch=answer.epoch,
        duplicate=answer.duplicate,
        effect=effect_to_wire(answer.effect),
        conflict_id=answer.conflict_id,
    )


def acknowledgement_from_wire(message: pb.Acknowledgement) -> Acknowledgement:
    """Return an acknowledgement from a message."""
    return Acknowledgement(
        doc_id=message.doc_id,
        client_id=message.client_id,
        client_seq=message.client_seq,
        operation_id=message.operation_id,
        version=message.version,
        status=member_of(OperationStatus, message.status, "status"),
        durability=member_of(Durability, message.durability, "durability"),
        epoch=message.epoch,
        duplicate=message.duplicate,
        effect=effect_from_wire(message),
        conflict_id=message.conflict_id,
    )


def lock_to_wire(lock: Lock) -> pb.Lock:
    """Return a lock as a message."""
    return pb.Lock(
        doc_id=lock.doc_id,
        target=path_to_wire(lock.target),
        user_id=lock.user_id,
        session_id=lock.session_id,
        fencing_token=lock.fencing_token,
        acquired_at_ns=lock.acquired_at_ns,
        expires_at_ns=lock.expires_at_ns,
    )


def lock_from_wire(message: pb.Lock) -> Lock:
    """Return a lock from a message."""
    return Lock(
        message.doc_id,
        path_from_wire(message.target),
        message.user_id,
        message.session_id,
        message.fencing_token,
        message.acquired_at_ns,
        message.expires_at_ns,
    )


def event_to_wire(event: Event) -> pb.Event:
    """Return an event as a message."""
    return pb.Event(
        type=_EVENTS[event.type],  # type: ignore[arg-type]
        doc_id=event.doc_id,
        version=event.version,
        user_id=event.user_id,
        operation=None if event.operation is None else operation_to_wire(event.operation),
        document=None if event.document is None else document_to_wire(event.document),
        conflict=None if event.conflict is None else conflict_to_wire(event.conflict),
        lock=None if event.lock is None else lock_to_wire(event.lock),
        snapshot=None if event.snapshot is None else snapshot_to_wire(event.snapshot),
    )


def event_from_wire(message: pb.Event) -> Event:
    """Return an event from a message."""
    has = message.HasField
    return Event(
        type=member_of(EventType, message.type, "type"),
        doc_id=message.doc_id,
        version=message.version,
        user_id=message.user_id,
        operation=operation_from_wire(message.operation) if has("operation") else None,
        document=document_from_wire(message.document) if has("document") else None,
        conflict=conflict_from_wire(message.conflict) if has("conflict") else None,
        lock=lock_from_wire(message.lock) if has("lock") else None,
        snapshot=snapshot_from_wire(message.snapshot) if has("snapshot") else None,
    )


def error_to_wire(error: StateSyncError) -> errors_pb2.Error:
    """Return an error as a message."""
    return errors_pb2.Error(
        code=error.code.value, reason=error.reason, retry=error.retry, detail=error.detail
    )


def error_from_wire(message: errors_pb2.Error) -> StateSyncError:
    """Return the error that a service sent."""
    kind = ERRORS.get(message.code, ServiceUnavailable)
    return kind(message.reason, remote=True, detail=dict(message.detail))


STATUS: dict[type[StateSyncError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidOperation: grpc.StatusCode.INVALID_ARGUMENT,
    TooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    DocumentNotFound: grpc.StatusCode.NOT_FOUND,
    ConflictNotFound: grpc.StatusCode.NOT_FOUND,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    NotWritable: grpc.StatusCode.FAILED_PRECONDITION,
    RevisionMismatch: grpc.StatusCode.ABORTED,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    SequenceGap: grpc.StatusCode.FAILED_PRECONDITION,
    SequenceReused: grpc.StatusCode.ALREADY_EXISTS,
    BaseAhead: grpc.StatusCode.OUT_OF_RANGE,
    StampAhead: grpc.StatusCode.FAILED_PRECONDITION,
    LogCompacted: grpc.StatusCode.OUT_OF_RANGE,
    Locked: grpc.StatusCode.ABORTED,
    StaleLock: grpc.StatusCode.FAILED_PRECONDITION,
    AlreadyResolved: grpc.StatusCode.FAILED_PRECONDITION,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
}

ERROR_MAPPING = ErrorMapping(
    root=StateSyncError,
    status=STATUS,
    encode=lambda error: error_to_wire(error).SerializeToString(),
    decode=lambda data: error_from_wire(errors_pb2.Error.FromString(data)),
    unavailable=lambda reason: ServiceUnavailable(reason, remote=True),
    refused=lambda reason: InvalidArgument(reason, remote=True),
)
