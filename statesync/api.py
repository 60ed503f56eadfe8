"""What others may depend on: the state service, its values, its events and its errors.

Knows no store, no clock, no strategy and no wire. `LocalStateSyncService` and `GrpcStateSyncClient`
both satisfy `StateSyncService`, and one contract suite runs on both. To keep them equal: arguments
and results are plain frozen values, errors carry codes that survive the wire, streams are async
iterators, and no method takes a callback. A caller's deadline is `asyncio.timeout()`.

A document is a log. Every operation the service accepts gets the next version, and a replica that
applies the log in order (`statesync.document.Replica`) has the document. An operation asks;
``status`` and ``effect``, set by the service, say what became of it.

Times named ``*_at_ns`` are nanoseconds since the Unix epoch, for people and logs; nothing is
ordered or expired by them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from statesync.errors import ERRORS as ERRORS
from statesync.errors import AlreadyExists as AlreadyExists
from statesync.errors import AlreadyResolved as AlreadyResolved
from statesync.errors import BaseAhead as BaseAhead
from statesync.errors import ConflictNotFound as ConflictNotFound
from statesync.errors import DocumentNotFound as DocumentNotFound
from statesync.errors import ErrorCode as ErrorCode
from statesync.errors import InvalidArgument as InvalidArgument
from statesync.errors import InvalidOperation as InvalidOperation
from statesync.errors import Locked as Locked
from statesync.errors import LogCompacted as LogCompacted
from statesync.errors import NotWritable as NotWritable
from statesync.errors import PermissionDenied as PermissionDenied
from statesync.errors import RevisionMismatch as RevisionMismatch
from statesync.errors import SequenceGap as SequenceGap
from statesync.errors import SequenceReused as SequenceReused
from statesync.errors import ServiceUnavailable as ServiceUnavailable
from statesync.errors import StaleLock as StaleLock
from statesync.errors import StampAhead as StampAhead
from statesync.errors import StateSyncError as StateSyncError
from statesync.errors import TooLarge as TooLarge
from statesync.errors import TooMany as TooMany

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
"""What JSON can say. Values inside the package are plain lists and dicts."""

Path: TypeAlias = tuple[str, ...]
"""Keys from the root of a structured document; () is the whole document."""


class DocumentType(StrEnum):
    """What kind of thing a document is; text is a CRDT, the others are trees of JSON values."""

    WHITEBOARD = "whiteboard"
    TEXT = "text"
    CANVAS = "canvas"
    SHEET = "sheet"


class DocumentState(StrEnum):
    """An archived document can be read; a deleted one is only kept."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class OperationType(StrEnum):
    """What an operation does at its target, and the payload it takes.

    create: any value; the target must not exist. update: any value, set at the target. delete: no
    payload. move: numbers under "x" and/or "y" (and "z"). resize: numbers under "width" and/or
    "height". style: an object merged into the target's "style", key by key; null removes a key.
    text: a Yjs update (bytes, version 1 encoding), target ().
    """

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MOVE = "move"
    RESIZE = "resize"
    STYLE = "style"
    TEXT = "text"


class OperationStatus(StrEnum):
    """What became of an operation.

    pending: not yet decided (a client's own). applied: exactly as asked. resolved: it met a
    conflict, and ``effect`` is what the strategy made of it. conflict: it waits for a person.
    rejected: refused for good (a client's own record; the service raises instead).
    """

    PENDING = "pending"
    APPLIED = "applied"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    RESOLVED = "resolved"


class Durability(StrEnum):
    """What an acknowledged operation survives."""

    D0 = "D0"
    """Nothing: it is in memory."""
    D1 = "D1"
    """A killed process."""
    D2 = "D2"
    """Power loss on one machine."""
    D3 = "D3"
    """The loss of a machine."""


class EventType(StrEnum):
    """What subscribers are told."""

    OPERATION_APPLIED = "operation_applied"
    DOCUMENT_UPDATED = "document_updated"
    USER_JOINED = "user_joined"
    USER_LEFT = "user_left"
    CONFLICT_DETECTED = "conflict_detected"
    CONFLICT_RESOLVED = "conflict_resolved"
    LOCK_ACQUIRED = "lock_acquired"
    LOCK_RELEASED = "lock_released"
    RESYNC = "resync"
    """The log no longer reaches back to the subscriber: replace the replica by ``snapshot``."""


class Keep(StrEnum):
    """Which side a person keeps when resolving a conflict by hand."""

    CURRENT = "current"
    INCOMING = "incoming"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a call is made; the caller has authenticated it. An admin may do all."""

    user_id: str
    session_id: str = ""
    is_admin: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """A hybrid logical clock reading: wall milliseconds, then a counter, then the node's name."""

    wall_ms: int = 0
    counter: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Who may do what: the owner all, editors write and lock, viewers read, public: all read."""

    owner: str = ""
    editors: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()
    public: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A document without its content.

    ``version`` is the offset of the newest operation (0: as created). ``revision`` counts changes
    of everything else here. ``epoch`` names the log: an offset means something only with it.
    """

    id: str
    name: str
    type: DocumentType
    state: DocumentState
    strategy: str
    version: int
    revision: int
    epoch: str
    permissions: Permissions
    created_by: str
    created_at_ns: int
    updated_by: str
    updated_at_ns: int
    description: str = ""
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    active_users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document with its content at ``version``.

    ``content`` is a JSON value, or for a text document its Yjs state (bytes); ``text`` is then the
    plain text.
    """

    document: Document
    version: int
    content: JsonValue | bytes
    text: str | None = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a caller says about a document to be created.

    ``content`` None is empty ({} or ""); a text document takes a string or a Yjs state.
    ``strategy`` "" takes the default of the type. ``document_id`` "" lets the service choose; a
    client that works offline gives its own (a UUID); repeating a creation answers the first.
    """

    name: str
    type: DocumentType
    content: JsonValue | bytes = None
    strategy: str = ""
    permissions: Permissions = field(default_factory=Permissions)
    description: str = ""
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """Fields to change; None leaves a field as it is. Only the owner may change a document."""

    name: str | None = None
    state: DocumentState | None = None
    permissions: Permissions | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    properties: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents to list; None matches all. Deleted ones are listed only by their state."""

    type: DocumentType | None = None
    state: DocumentState | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """One page in order of id; ``next_after`` "" marks the last."""

    documents: tuple[Document, ...]
    total: int
    next_after: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One elementary effect on a tree: set a value at a path, or remove what is there."""

    path: Path
    value: JsonValue = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One edit. A client fills the first part; the service the second.

    (doc_id, client_id, client_seq) names an operation for ever: sending it again is safe and
    answers the first outcome; another content under the same name is refused. A client counts
    ``client_seq`` from 1 without gaps. ``base_version`` is the document version the editor saw.
    ``fencing_token`` is that of a lock held on the target, 0 for none.
    """

    doc_id: str
    client_id: str
    client_seq: int
    type: OperationType
    target: Path = ()
    payload: JsonValue | bytes = None
    base_version: int = 0
    stamp: Stamp = Stamp()
    fencing_token: int = 0

    id: str = ""
    version: int = 0
    status: OperationStatus = OperationStatus.PENDING
    effect: tuple[Change, ...] | None = None
    """None: as asked. Else what was done instead, which may be nothing."""
    user_id: str = ""
    session_id: str = ""
    applied_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class OperationPage:
    """Operations in order of version; ``version`` is the document's newest at that moment."""

    operations: tuple[Operation, ...]
    version: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that a conflict pushed aside, with where it stood and whose operation wrote it."""

    path: Path
    value: JsonValue
    removed: bool
    user_id: str
    version: int
    """The version of the operation that wrote it."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Operations that overlapped without having seen each other, and what came of it.

    ``incoming`` is the later arrival and ``against`` the versions it had not seen. ``lost`` holds
    every value that did not survive. A conflict with ``resolved_at_ns`` 0 waits for
    `StateSyncService.resolve_conflict`.
    """

    id: str
    doc_id: str
    incoming: Operation
    against: tuple[int, ...]
    strategy: str
    lost: tuple[Loss, ...]
    detected_at_ns: int
    resolved_at_ns: int = 0
    resolved_by: str = ""
    resolved_version: int = 0

    @property
    def is_pending(self) -> bool:
        """Whether a person must still decide."""
        return self.resolved_at_ns == 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision; ``value`` is set at the conflict's targets when ``keep`` is VALUE."""

    keep: Keep
    value: JsonValue = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The answer to an operation: its place in the log and what that place survives."""

    doc_id: str
    client_id: str
    client_seq: int
    operation_id: str
    version: int
    status: OperationStatus
    durability: Durability
    epoch: str
    duplicate: bool = False
    effect: tuple[Change, ...] | None = None
    conflict_id: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lease on a part of a document. Writes under it must carry its ``fencing_token``."""

    doc_id: str
    target: Path
    user_id: str
    session_id: str
    fencing_token: int
    acquired_at_ns: int
    expires_at_ns: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a document; exactly the field that its type needs is set.

    ``version`` is the operation's for OPERATION_APPLIED, else the document's at that moment.
    """

    type: EventType
    doc_id: str
    version: int
    user_id: str = ""
    operation: Operation | None = None
    document: Document | None = None
    conflict: Conflict | None = None
    lock: Lock | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals of a service; the last two are of this process."""

    total_documents: int
    active_documents: int
    archived_documents: int
    total_operations: int
    total_conflicts: int
    resolved_conflicts: int
    active_subscribers: int
    active_locks: int


class Subscription(Protocol):
    """A stream of events of one document; closes with `aclose` or at the end of ``async with``.

    Operations arrive in order of version, none missing and none twice, from ``version`` + 1 on. A
    subscriber that is too slow is caught up from the log (or by RESYNC), never silently cut.
    """

    id: str
    version: int
    """The version after which operations are delivered."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Return itself."""
        ...

    async def __anext__(self) -> Event:
        """Return the next event; raises `StateSyncError` when access or the service is lost."""
        ...

    async def __aenter__(self) -> "Subscription":
        """Return itself."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        ...

    async def aclose(self) -> None:
        """Stop; a waiting iteration ends."""
        ...


class StateSyncService(Protocol):
    """Documents, their logs, their locks and who watches them.

    Every method may raise `StateSyncError`. A document that the actor may not read is
    `PermissionDenied`; one that never was is `DocumentNotFound`.
    """

    async def create_document(self, actor: Actor, new: NewDocument) -> Document:
        """Create a document owned by *actor* (or, for an admin, by ``new.permissions.owner``)."""
        ...

    async def get_document(
        self, actor: Actor, doc_id: str, *, at_version: int | None = None
    ) -> Snapshot:
        """Return a document with its content, now or as it was at a version."""
        ...

    async def update_document(
        self,
        actor: Actor,
        doc_id: str,
        change: DocumentChange,
        *,
        expected_revision: int | None = None,
    ) -> Document:
        """Change name, state, permissions and the like; `RevisionMismatch` if it moved on."""
        ...

    async def delete_document(self, actor: Actor, doc_id: str) -> Document:
        """Put a document in state DELETED; its log is kept. Deleting twice is no error."""
        ...

    async def list_documents(
        self,
        actor: Actor,
        where: DocumentFilter | None = None,
        *,
        after: str = "",
        limit: int = 100,
    ) -> DocumentPage:
        """Return up to *limit* documents that *actor* may read, with ids after *after*."""
        ...

    async def apply(self, actor: Actor, operation: Operation) -> Acknowledgement:
        """Apply one operation; returns when it is as durable as the acknowledgement says."""
        ...

    async def apply_many(
        self, actor: Actor, operations: Sequence[Operation]
    ) -> "tuple[Acknowledgement | StateSyncError, ...]":
        """Apply operations of one or more documents in order, committed together.

        Never raises for a single operation: its error stands in its place. After the first error
        of a (document, client) its later operations answer `SequenceGap`.
        """
        ...

    async def operations_since(
        self, actor: Actor, doc_id: str, version: int, *, limit: int = 1000
    ) -> OperationPage:
        """Return operations after *version*, oldest first; `LogCompacted` if they are gone."""
        ...

    async def conflicts(
        self, actor: Actor, doc_id: str, *, pending_only: bool = False, limit: int = 100
    ) -> tuple[Conflict, ...]:
        """Return a document's conflicts, newest first."""
        ...

    async def resolve_conflict(
        self, actor: Actor, doc_id: str, conflict_id: str, resolution: Resolution
    ) -> Conflict:
        """Decide a waiting conflict; what it changes becomes an operation of the log."""
        ...

    async def subscribe(
        self, actor: Actor, doc_id: str, *, from_version: int | None = None
    ) -> Subscription:
        """Watch a document from now, or from just after *from_version* (0: the whole log)."""
        ...

    async def acquire_lock(
        self, actor: Actor, doc_id: str, *, target: Path = (), ttl_s: float = 0.0
    ) -> Lock:
        """Lock a part of a document, or renew one's own lock (same token); 0 takes the default."""
        ...

    async def release_lock(self, actor: Actor, doc_id: str, fencing_token: int) -> None:
        """Release one's own lock; `StaleLock` if the token is no longer the lock's."""
        ...

    async def locks(self, actor: Actor, doc_id: str) -> tuple[Lock, ...]:
        """Return the locks now held."""
        ...

    async def statistics(self) -> Statistics:
        """Return totals."""
        ...
