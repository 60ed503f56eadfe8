"""The bodies that concern documents: to create, open, edit, watch, lock and reconcile them.

See `gateway.messages`, which offers all of it, for the rules. What the words mean (version, epoch,
base version, stamp, fence) is the state service's to say.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from gateway.parts import (
    Change,
    Conflict,
    DocumentInfo,
    Json,
    Kind,
    LockInfo,
    Operation,
    Snapshot,
    Stamp,
)


@dataclass(frozen=True, slots=True)
class DocumentCreate:
    """Create a document; its content is *value* (text: a string) or *update* (a Yjs state).

    *document* "" lets the server choose the id; creating the same id again answers the first.
    """

    kind: ClassVar[Kind] = Kind.DOCUMENT_CREATE
    name: str
    type: str
    strategy: str = ""
    value: Json = None
    update: bytes = b""
    public: bool = False
    editors: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    document: str = ""


@dataclass(frozen=True, slots=True)
class DocumentOpen:
    """Open a document and, unless *quiet*, listen to it.

    With *recover*, *version* and *epoch* say what the client has: it gets the operations since then
    as events and no content, or, when that is impossible, the content with ``recovered`` false.
    """

    kind: ClassVar[Kind] = Kind.DOCUMENT_OPEN
    document: str
    recover: bool = False
    version: int = 0
    epoch: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class DocumentList:
    """List the documents this user may read, *limit* at a time (0: the server's default)."""

    kind: ClassVar[Kind] = Kind.DOCUMENT_LIST
    type: str = ""
    state: str = ""
    created_by: str = ""
    limit: int = 0
    after: str = ""


@dataclass(frozen=True, slots=True)
class DocumentClose:
    """Stop listening to a document."""

    kind: ClassVar[Kind] = Kind.DOCUMENT_CLOSE
    document: str


@dataclass(frozen=True, slots=True)
class DocumentUpdate:
    """Change what *change* names of: name, state, description, tags, properties, permissions.

    Permissions are ``{"owner", "editors", "viewers", "public"}``. *expected_revision* 0 does not
    check. Only the owner may.
    """

    kind: ClassVar[Kind] = Kind.DOCUMENT_UPDATE
    document: str
    change: Json
    expected_revision: int = 0


@dataclass(frozen=True, slots=True)
class DocumentDelete:
    """Mark a document deleted; only its owner may."""

    kind: ClassVar[Kind] = Kind.DOCUMENT_DELETE
    document: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document without its content."""

    kind: ClassVar[Kind] = Kind.DOCUMENT
    info: DocumentInfo | None = None


@dataclass(frozen=True, slots=True)
class DocumentOpened:
    """A document; the operations after *version* follow as events.

    When *recovered*, there is no snapshot: the client's own copy plus those events is the document.
    """

    kind: ClassVar[Kind] = Kind.DOCUMENT_OPENED
    document: str
    version: int = 0
    epoch: str = ""
    recovered: bool = False
    info: DocumentInfo | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class DocumentListed:
    """One page in order of id; *next_after* is empty on the last."""

    kind: ClassVar[Kind] = Kind.DOCUMENT_LISTED
    documents: tuple[DocumentInfo, ...] = ()
    next_after: str = ""
    total: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """Ask for at most *limit* operations after *version* (0: the server's default)."""

    kind: ClassVar[Kind] = Kind.HISTORY
    document: str
    version: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations in version order; *version* is the document's newest at that moment."""

    kind: ClassVar[Kind] = Kind.OPERATIONS
    document: str
    operations: tuple[Operation, ...] = ()
    version: int = 0
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Submit:
    """Apply an operation.

    (document, client, client_seq) names it for ever: sent again, it is not applied again, and its
    first answer comes back. Sequences count from 1 without gaps. The answer is the durable
    acknowledgement; with *accepted* there is one of that stage before it.
    """

    kind: ClassVar[Kind] = Kind.SUBMIT
    document: str
    type: str
    client: str
    client_seq: int
    target: tuple[str, ...] = ()
    value: Json = None
    update: bytes = b""
    base_version: int = 0
    stamp: Stamp | None = None
    fence: int = 0
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """How far a submitted operation has come.

    ``accepted``: it is queued in order; a crash may still lose it. ``durable``: it has a *version*
    and is kept as *durability* says (D0 memory, D1 killed process, D2 power loss, D3 replicated).
    *status*, *altered* and *effect* are as in `Operation`.
    """

    kind: ClassVar[Kind] = Kind.ACK
    document: str
    client: str
    client_seq: int
    stage: str
    version: int = 0
    epoch: str = ""
    durability: str = ""
    duplicate: bool = False
    status: str = ""
    operation: str = ""
    altered: bool = False
    effect: tuple[Change, ...] = ()
    conflict: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a document; the part that its type needs is there.

    For an applied operation the envelope's offset is its version. A resync brings a *snapshot* that
    replaces the client's copy.
    """

    kind: ClassVar[Kind] = Kind.EVENT
    type: str
    document: str
    version: int = 0
    user: str = ""
    operation: Operation | None = None
    conflict: Conflict | None = None
    lock: LockInfo | None = None
    info: DocumentInfo | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class ConflictList:
    """Ask for a document's conflicts, newest first; *pending*: only those that wait."""

    kind: ClassVar[Kind] = Kind.CONFLICT_LIST
    document: str
    pending: bool = False
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Conflicts:
    """A document's conflicts."""

    kind: ClassVar[Kind] = Kind.CONFLICTS
    document: str
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class ConflictResolve:
    """Settle a conflict: *keep* is ``current``, ``incoming``, or ``value`` (then *value* is it)."""

    kind: ClassVar[Kind] = Kind.CONFLICT_RESOLVE
    document: str
    conflict: str
    keep: str
    value: Json = None


@dataclass(frozen=True, slots=True)
class ConflictResolved:
    """The settled conflict."""

    kind: ClassVar[Kind] = Kind.CONFLICT_RESOLVED
    conflict: Conflict | None = None


@dataclass(frozen=True, slots=True)
class LockAcquire:
    """Lock a part of a document, or renew one's lock, for *ttl_s* (0: the server's default)."""

    kind: ClassVar[Kind] = Kind.LOCK_ACQUIRE
    document: str
    target: tuple[str, ...] = ()
    ttl_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LockRelease:
    """Give a lock back; *fence* is the one it was granted with."""

    kind: ClassVar[Kind] = Kind.LOCK_RELEASE
    document: str
    fence: int


@dataclass(frozen=True, slots=True)
class Lock:
    """A granted lock."""

    kind: ClassVar[Kind] = Kind.LOCK
    lock: LockInfo | None = None
