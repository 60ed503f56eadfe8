"""What travels between a client and the gateway: the envelope, its kinds and their bodies.

One envelope serves every transport and both codecs. This module knows no codec, no transport, no
clock and no service: it is plain immutable data, so that a client may import it and nothing else.

Rules for editing it:

* A body is a frozen dataclass with a ``kind``. Its fields are ``str``, ``int``, ``float``,
  ``bool``, ``bytes``, ``Json``, ``dict[str, str]``, a tuple of ``str`` or ``int``, another part,
  or a tuple of parts; `gateway.codec` derives both codecs from them. The protobuf message has the same name
  and fields.
* A field without a default is required and may not be empty or 0. Every other default is its type's
  zero, since protobuf cannot tell a zero from an absent field. Integers are 0 .. 2**63 - 1.
* Names (document types, operation types, event types, error codes) are strings in both codecs, so
  that a new one needs no new schema. Times are milliseconds since the Unix epoch: ``*_ms``.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20
DOCUMENT_PREFIX = "doc:"

#: A JSON value: None, bool, int, float, str, list or dict of such. Codecs check it at the border.
Json: TypeAlias = Any


class Kind(StrEnum):
    """What an envelope is. The name in JSON is the value; the number is in ``envelope.proto``."""

    HELLO = "hello"
    WELCOME = "welcome"
    LOGIN = "login"
    RESUME = "resume"
    SESSION = "session"
    LOGOUT = "logout"
    REFRESH = "refresh"
    TOKENS = "tokens"
    PING = "ping"
    PONG = "pong"
    DONE = "done"
    ERROR = "error"
    GOING_AWAY = "going_away"
    SUBSCRIBE = "subscribe"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBE = "unsubscribe"
    PUBLISH = "publish"
    PUBLISHED = "published"
    MESSAGE = "message"
    RESYNC = "resync"
    DOCUMENT_CREATE = "document.create"
    DOCUMENT_OPEN = "document.open"
    DOCUMENT_LIST = "document.list"
    DOCUMENT_CLOSE = "document.close"
    DOCUMENT_UPDATE = "document.update"
    DOCUMENT_DELETE = "document.delete"
    DOCUMENT = "document"
    DOCUMENT_OPENED = "document.opened"
    DOCUMENT_LISTED = "document.listed"
    HISTORY = "history"
    OPERATIONS = "operations"
    SUBMIT = "submit"
    ACK = "ack"
    EVENT = "event"
    CONFLICT_LIST = "conflict.list"
    CONFLICTS = "conflicts"
    CONFLICT_RESOLVE = "conflict.resolve"
    CONFLICT_RESOLVED = "conflict.resolved"
    LOCK_ACQUIRE = "lock.acquire"
    LOCK_RELEASE = "lock.release"
    LOCK = "lock"


class Stage(StrEnum):
    """How far an operation has come when it is acknowledged."""

    ACCEPTED = "accepted"
    DURABLE = "durable"


class EventType(StrEnum):
    """What happened to a document."""

    OPERATION_APPLIED = "operation_applied"
    DOCUMENT_UPDATED = "document_updated"
    USER_JOINED = "user_joined"
    USER_LEFT = "user_left"
    CONFLICT_DETECTED = "conflict_detected"
    CONFLICT_RESOLVED = "conflict_resolved"
    LOCK_ACQUIRED = "lock_acquired"
    LOCK_RELEASED = "lock_released"
    RESYNC = "resync"


# Parts: what bodies are made of.


@dataclass(frozen=True, slots=True)
class Stamp:
    """A hybrid logical clock reading: wall milliseconds, a counter, and who read it."""

    wall_ms: int = 0
    counter: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a client has seen a channel. For a document, *offset* is its version."""

    channel: str
    offset: int = 0
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one channel after a resume.

    *recovered* is true only when every message after the client's position follows this reply; when
    it is false the client must fetch the state anew, and *offset* and *epoch* are where it starts.
    """

    channel: str
    offset: int = 0
    epoch: str = ""
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document without its content. *version* and *epoch* are its channel's offset and epoch."""

    document: str
    name: str = ""
    type: str = ""
    state: str = ""
    strategy: str = ""
    version: int = 0
    revision: int = 0
    epoch: str = ""
    owner: str = ""
    public: bool = False
    editors: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    active_users: tuple[str, ...] = ()
    created_by: str = ""
    created_ms: int = 0
    updated_by: str = ""
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document's content at *version*: *value*, or for text *update*, its whole Yjs state."""

    version: int = 0
    value: Json = None
    update: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """One effect on a structured document: *value* is set at *path*, or what was there goes."""

    path: tuple[str, ...] = ()
    value: Json = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One edit of the log. *version* is the server's; *update* is a Yjs update, *value* is JSON.

    With *altered*, *effect* (which may be empty) was done instead of what was asked.
    """

    document: str
    type: str
    client: str = ""
    client_seq: int = 0
    target: tuple[str, ...] = ()
    value: Json = None
    update: bytes = b""
    base_version: int = 0
    stamp: Stamp | None = None
    operation: str = ""
    version: int = 0
    status: str = ""
    altered: bool = False
    effect: tuple[Change, ...] = ()
    user: str = ""
    session: str = ""
    applied_ms: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that a conflict pushed aside: where it stood, and who wrote it in which version."""

    path: tuple[str, ...] = ()
    value: Json = None
    removed: bool = False
    user: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Edits that met unseen: the later arrival, the versions it had not seen, what was lost.

    It waits for somebody while *resolved_ms* is 0.
    """

    conflict: str
    document: str = ""
    incoming: Operation | None = None
    against: tuple[int, ...] = ()
    strategy: str = ""
    lost: tuple[Loss, ...] = ()
    detected_ms: int = 0
    resolved_ms: int = 0
    resolved_by: str = ""
    resolved_version: int = 0


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Who may write a part of a document. *fence* grows with every grant."""

    document: str
    target: tuple[str, ...] = ()
    user: str = ""
    session: str = ""
    fence: int = 0
    acquired_ms: int = 0
    expires_ms: int = 0


# Bodies: connection and session.


@dataclass(frozen=True, slots=True)
class Hello:
    """Open the conversation; login or resume may follow without waiting for the welcome."""

    kind: ClassVar[Kind] = Kind.HELLO
    protocol: int
    client: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Say what this gateway is, and its limits. A client that is silent for *idle_s* is closed."""

    kind: ClassVar[Kind] = Kind.WELCOME
    protocol: int
    server: str = ""
    node: str = ""
    max_message_bytes: int = 0
    heartbeat_s: float = 0.0
    idle_s: float = 0.0
    server_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Login:
    """Prove who you are: an access *token*, or a *username* with its *password*."""

    kind: ClassVar[Kind] = Kind.LOGIN
    token: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """Continue a session on a new connection, and recover what its channels missed."""

    kind: ClassVar[Kind] = Kind.RESUME
    session: str
    session_token: str = field(repr=False)
    positions: tuple[Position, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """The answer to login and resume.

    *session_token* is given once, at login, and is what resume asks for. *resumed* says whether the
    old session goes on; *channels* says, channel by channel, what was recovered.
    """

    kind: ClassVar[Kind] = Kind.SESSION
    session: str
    user: str = ""
    username: str = ""
    session_token: str = field(default="", repr=False)
    resumed: bool = False
    channels: tuple[Recovered, ...] = ()
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_s: int = 0


@dataclass(frozen=True, slots=True)
class Logout:
    """End the session; its token is worthless afterwards."""

    kind: ClassVar[Kind] = Kind.LOGOUT


@dataclass(frozen=True, slots=True)
class Refresh:
    """Trade a refresh token for a new pair; the old one must not be used again."""

    kind: ClassVar[Kind] = Kind.REFRESH
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A fresh access token, and the refresh token that replaces the one used."""

    kind: ClassVar[Kind] = Kind.TOKENS
    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_s: int = 0


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a pong. *sent_ms* is the sender's own clock and comes back unread."""

    kind: ClassVar[Kind] = Kind.PING
    sent_ms: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer a ping."""

    kind: ClassVar[Kind] = Kind.PONG
    sent_ms: int = 0
    server_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out, and there is nothing else to say."""

    kind: ClassVar[Kind] = Kind.DONE


@dataclass(frozen=True, slots=True)
class Error:
    """The request was refused. *code* is one of `gateway.errors`; *message* is one sentence.

    *retry* says whether the same request may succeed later, *retry_after_ms* when to try.
    """

    kind: ClassVar[Kind] = Kind.ERROR
    code: str
    message: str = ""
    retry: bool = False
    retry_after_ms: int = 0
    server_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class GoingAway:
    """This gateway is stopping: connect again (elsewhere, or after *reconnect_ms*) and resume."""

    kind: ClassVar[Kind] = Kind.GOING_AWAY
    reason: str = ""
    reconnect_ms: int = 0


# Bodies: channels.


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Listen to a channel; ``doc:<id>`` is a document's. *recover*: from *offset* in *epoch*."""

    kind: ClassVar[Kind] = Kind.SUBSCRIBE
    channel: str
    recover: bool = False
    offset: int = 0
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Messages after *offset* follow. *recovered* as in `Recovered`."""

    kind: ClassVar[Kind] = Kind.SUBSCRIBED
    channel: str
    offset: int = 0
    epoch: str = ""
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop listening to a channel."""

    kind: ClassVar[Kind] = Kind.UNSUBSCRIBE
    channel: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Send *value*, or the envelope's payload, to everybody who listens to *channel*."""

    kind: ClassVar[Kind] = Kind.PUBLISH
    channel: str
    value: Json = None


@dataclass(frozen=True, slots=True)
class Published:
    """The publication's place in its channel, and how many listeners this gateway sent it to."""

    kind: ClassVar[Kind] = Kind.PUBLISHED
    channel: str
    offset: int = 0
    epoch: str = ""
    subscribers: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A publication, pushed. Channel, offset, epoch and payload are the envelope's."""

    kind: ClassVar[Kind] = Kind.MESSAGE
    value: Json = None
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Resync:
    """Messages of a channel were dropped for this client: fetch its state, subscribe anew."""

    kind: ClassVar[Kind] = Kind.RESYNC
    channel: str
    offset: int = 0
    epoch: str = ""
    reason: str = ""


# Bodies: documents.


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


Body: TypeAlias = (
    Hello | Welcome | Login | Resume | Session | Logout | Refresh | Tokens | Ping | Pong | Done
    | Error | GoingAway | Subscribe | Subscribed | Unsubscribe | Publish | Published | Message
    | Resync | DocumentCreate | DocumentOpen | DocumentList | DocumentClose | DocumentUpdate
    | DocumentDelete | Document | DocumentOpened | DocumentListed | History | Operations | Submit | Ack | Event
    | ConflictList | Conflicts | ConflictResolve | ConflictResolved | LockAcquire | LockRelease | Lock
)  # fmt: skip

BODIES: dict[Kind, type[Body]] = {body.kind: body for body in Body.__args__}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message goes: the service (*mod*), its handler (*seq*) and its instance (*obj*)."""

    mod: int = 0
    seq: int = 0
    obj: int = 0


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on any transport.

    *id*: chosen by the asker, comes back on every reply, 0 when no reply is wanted or on a push.
    *index*: 0, or a number that grows with every envelope of this connection (anti-replay).
    *channel*, *offset*, *epoch*: of a push. *payload*: opaque bytes of *data_version*.
    *flags*: bit 0 is "payload is compressed". *trace*: a W3C ``traceparent``.
    """

    body: Body
    id: int = 0
    channel: str = ""
    offset: int = 0
    epoch: str = ""
    payload: bytes = b""
    index: int = 0
    route: Route | None = None
    data_version: int = 0
    flags: int = 0
    trace: str = ""

    @property
    def kind(self) -> Kind:
        """What this envelope is."""
        return self.body.kind


def document_channel(document: str) -> str:
    """Return the name of the channel of *document*."""
    return DOCUMENT_PREFIX + document


def document_of(channel: str) -> str | None:
    """Return the document whose channel this is, or None for any other channel."""
    return channel[len(DOCUMENT_PREFIX) :] if channel.startswith(DOCUMENT_PREFIX) else None
