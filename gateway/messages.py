"""What travels between a client and the gateway: the envelope, its kinds and their bodies.

One envelope serves every transport and both codecs. This module knows no codec, no transport, no
clock and no service: it is plain immutable data, so that a client may import it and nothing else.

Rules for editing it:

* A body is a frozen dataclass with a ``kind``. Its fields are ``str``, ``int``, ``float``,
  ``bool``, ``bytes``, ``Json``, ``dict[str, str]``, a tuple of ``str`` or ``int``, another part,
  or a tuple of parts; `gateway.codec` derives both codecs from them. The protobuf message has the
  same name and fields.
* A field without a default is required and may not be empty or 0. Every other default is its type's
  zero, since protobuf cannot tell a zero from an absent field. Integers are 0 .. 2**63 - 1.
* Names (document types, operation types, event types, error codes) are strings in both codecs, so
  that a new one needs no new schema. Times are milliseconds since the Unix epoch: ``*_ms``.
"""

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from gateway.document_bodies import Ack as Ack
from gateway.document_bodies import ConflictList as ConflictList
from gateway.document_bodies import ConflictResolve as ConflictResolve
from gateway.document_bodies import ConflictResolved as ConflictResolved
from gateway.document_bodies import Conflicts as Conflicts
from gateway.document_bodies import Document as Document
from gateway.document_bodies import DocumentClose as DocumentClose
from gateway.document_bodies import DocumentCreate as DocumentCreate
from gateway.document_bodies import DocumentDelete as DocumentDelete
from gateway.document_bodies import DocumentList as DocumentList
from gateway.document_bodies import DocumentListed as DocumentListed
from gateway.document_bodies import DocumentOpen as DocumentOpen
from gateway.document_bodies import DocumentOpened as DocumentOpened
from gateway.document_bodies import DocumentUpdate as DocumentUpdate
from gateway.document_bodies import Event as Event
from gateway.document_bodies import History as History
from gateway.document_bodies import Lock as Lock
from gateway.document_bodies import LockAcquire as LockAcquire
from gateway.document_bodies import LockRelease as LockRelease
from gateway.document_bodies import Operations as Operations
from gateway.document_bodies import Submit as Submit
from gateway.parts import Change as Change
from gateway.parts import Conflict as Conflict
from gateway.parts import DocumentInfo as DocumentInfo
from gateway.parts import EventType as EventType
from gateway.parts import Json as Json
from gateway.parts import Kind as Kind
from gateway.parts import LockInfo as LockInfo
from gateway.parts import Loss as Loss
from gateway.parts import Operation as Operation
from gateway.parts import Position as Position
from gateway.parts import Recovered as Recovered
from gateway.parts import Snapshot as Snapshot
from gateway.parts import Stage as Stage
from gateway.parts import Stamp as Stamp

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20
DOCUMENT_PREFIX = "doc:"


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

    *retry* says whether the same request may succeed later, *retry_after_ms* when to try; *detail*
    holds what is needed to mend it (``expected`` of a sequence gap, ``server_wall_ms`` of a stamp).
    """

    kind: ClassVar[Kind] = Kind.ERROR
    code: str
    message: str = ""
    retry: bool = False
    retry_after_ms: int = 0
    server_time_ms: int = 0
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoingAway:
    """This gateway is stopping: connect again (elsewhere, or after *reconnect_ms*) and resume."""

    kind: ClassVar[Kind] = Kind.GOING_AWAY
    reason: str = ""
    reconnect_ms: int = 0


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
    """Send *value*, or the envelope's payload, to everybody who listens to *channel*.

    For a listener that is behind and coalesces, a newer publication with the same *key* replaces
    this one (a cursor's position, a sensor's reading).
    """

    kind: ClassVar[Kind] = Kind.PUBLISH
    channel: str
    value: Json = None
    key: str = ""


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


Body: TypeAlias = (
    Hello | Welcome | Login | Resume | Session | Logout | Refresh | Tokens | Ping | Pong |
    Done | Error | GoingAway | Subscribe | Subscribed | Unsubscribe | Publish | Published |
    Message | Resync | DocumentCreate | DocumentOpen | DocumentList | DocumentClose |
    DocumentUpdate | DocumentDelete | Document | DocumentOpened | DocumentListed | History |
    Operations | Submit | Ack | Event | ConflictList | Conflicts | ConflictResolve |
    ConflictResolved | LockAcquire | LockRelease | Lock
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
