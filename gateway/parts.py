"""What bodies are made of: the kinds' names, and the values that several bodies hold.

See `gateway.messages`, which offers all of it, for the rules.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

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
