"""What others may depend on: the session service, its values and its errors.

Knows no store, no clock and no wire. `LocalSessionService` and `GrpcSessionClient` both satisfy
`SessionService`, and one contract suite runs on both. To keep them equal: arguments and results are
plain frozen values, errors carry codes that survive the wire, and no method takes a callback. A
caller's deadline is `asyncio.timeout()`: a cancelled call is cancelled at the other end as well.

All times named ``*_at_ns`` are nanoseconds since the Unix epoch and are for people and logs; what
expires is decided by the service's monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from session.errors import ERRORS as ERRORS
from session.errors import AlreadyLoggedIn as AlreadyLoggedIn
from session.errors import ErrorCode as ErrorCode
from session.errors import IllegalTransition as IllegalTransition
from session.errors import InvalidArgument as InvalidArgument
from session.errors import ServiceUnavailable as ServiceUnavailable
from session.errors import SessionError as SessionError
from session.errors import SessionExpired as SessionExpired
from session.errors import SessionNotFound as SessionNotFound
from session.errors import TokenRejected as TokenRejected
from session.errors import TooManySessions as TooManySessions
from session.errors import VersionMismatch as VersionMismatch


class SessionState(StrEnum):
    """Where a session is in its life; `session.state` owns the moves between these."""

    CONNECTING = "connecting"
    ACTIVE = "active"
    IDLE = "idle"
    DISCONNECTING = "disconnecting"
    CLOSED = "closed"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in (SessionState.CLOSED, SessionState.EXPIRED)


class DuplicateLogin(StrEnum):
    """What happens when a user who has a live session creates another."""

    ALLOW = "allow"
    REFUSE = "refuse"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Counters of the connection behind a session; all are totals since it was created."""

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    retransmissions: int = 0
    current_rtt_ms: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """One client's session as it stood when it was read.

    ``version`` grows by one with every write and is what an optimistic update names.
    """

    id: str
    user_id: str
    state: SessionState
    created_at_ns: int
    last_active_at_ns: int
    expires_at_ns: int
    timeout_s: float
    version: int = 1
    connection_id: str = ""
    client_ip: str = ""
    client_port: int = 0
    server_addr: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    stats: SessionStats = field(default_factory=SessionStats)


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller says about a session to be created; ``timeout_s`` 0 asks for the default."""

    user_id: str
    connection_id: str = ""
    client_ip: str = ""
    client_port: int = 0
    server_addr: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CreatedSession:
    """A new session with its token, which is given here once and kept nowhere in clear."""

    session: Session
    token: str


@dataclass(frozen=True, slots=True)
class SessionChange:
    """Fields to change; None leaves a field as it is.

    ``metadata`` is merged key by key; a value of "" removes its key. ``connection_id`` moves the
    session to another connection (a reconnect), "" detaches it.
    """

    state: SessionState | None = None
    connection_id: str | None = None
    client_ip: str | None = None
    client_port: int | None = None
    server_addr: str | None = None
    metadata: Mapping[str, str] | None = None
    stats: SessionStats | None = None


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list; None matches all. Final sessions are listed only by their state."""

    user_id: str | None = None
    state: SessionState | None = None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page in order of id (which is order of creation); ``next_after`` "" marks the last."""

    sessions: tuple[Session, ...]
    total: int
    next_after: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to a heartbeat: the server's time and how long the session has left."""

    server_time_ns: int
    remaining_s: float


class SessionService(Protocol):
    """Creates, finds, changes and ends sessions.

    Every method may raise `SessionError`. An expired session answers `SessionExpired` while its
    record is retained and `SessionNotFound` afterwards.
    """

    async def create(self, new: NewSession) -> CreatedSession:
        """Create a session in state CONNECTING and return it with its token."""
        ...

    async def get(self, session_id: str) -> Session:
        """Return a live session."""
        ...

    async def get_by_connection(self, connection_id: str) -> Session:
        """Return the live session attached to a connection."""
        ...

    async def verify(self, session_id: str, token: str) -> Session:
        """Return the live session if *token* is its token, else raise `TokenRejected`."""
        ...

    async def update(
        self, session_id: str, change: SessionChange, *, expected_version: int | None = None
    ) -> Session:
        """Change a live session; `VersionMismatch` if it is not at *expected_version*."""
        ...

    async def delete(self, session_id: str, reason: str = "") -> Session:
        """Close a session for good and return its last record; closing twice is no error."""
        ...

    async def list(
        self, where: SessionFilter | None = None, *, after: str = "", limit: int = 100
    ) -> SessionPage:
        """Return up to *limit* sessions whose id comes after *after*."""
        ...

    async def heartbeat(self, session_id: str) -> Heartbeat:
        """Extend a session by its time-out; CONNECTING and IDLE become ACTIVE."""
        ...
