"""All rules of sessions, over a store, a clock and an id factory. Knows no wire and no plug-in.

What expires is decided by the monotonic clock. Each live session has one deadline: the nearer of
its time-out and the moment it becomes idle; an ended one has the moment its record is dropped.
`sweep` moves on what is due, and every call looks first, so that a late sweep changes nothing.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from session.api import (
    AlreadyLoggedIn,
    CreatedSession,
    DuplicateLogin,
    Heartbeat,
    InvalidArgument,
    NewSession,
    ServiceUnavailable,
    Session,
    SessionChange,
    SessionExpired,
    SessionFilter,
    SessionNotFound,
    SessionPage,
    SessionState,
    TokenRejected,
    TooManySessions,
    VersionMismatch,
)
from session.config import SessionConfig
from session.deadlines import Deadlines
from session.state import Trigger, advance, trigger_for
from session.store import Record, SessionStore
from svckit.clock import Clock

_MAX_TEXT = 256
_MAX_PAGE = 1000
_MAX_COUNTER = 2**64 - 1
_SWEEP_AT_ONCE = 1000
_ATTEMPTS = 8


def random_token() -> str:
    """Return 32 random bytes in URL-safe base 64."""
    return secrets.token_urlsafe(32)


class LocalSessionService:
    """The session service in this process; satisfies `session.api.SessionService`."""

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        ids: Callable[[], UUID],
        config: SessionConfig | None = None,
        *,
        tokens: Callable[[], str] = random_token,
    ) -> None:
        """Use *ids* (a UUIDv7 factory, so that ids are in order of creation) and *tokens*."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._config = config or SessionConfig()
        self._tokens = tokens
        self._due = Deadlines()
        self._expires: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        """Sessions created so far, and ended by state."""

    async def start(self) -> None:
        """Open the store and take up the sessions in it with what is left of their time."""
        await self._store.open()
        wall_ns, now_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        for record in await self._store.all():
            session = record.session
            if session.state.is_final:
                self._due.set(session.id, now_ns + _ns(self._config.retain_s))
                continue
            # The wall clock may have been set meanwhile: never more than a whole time-out.
            left_ns = min(max(session.expires_at_ns - wall_ns, 0), _ns(session.timeout_s))
            self._watch(session, now_ns, now_ns + left_ns)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def run(self) -> None:
        """Sweep for ever; for the process's supervisor."""
        while True:
            await self.sweep()
            await asyncio.sleep(1.0)

    def gauges(self) -> dict[str, float]:
        """Return what this process holds now, for its metrics."""
        return {"live": len(self._expires), "records": len(self._due)}

    async def sweep(self) -> int:
        """Expire, idle and drop what is due; return how many records moved."""
        moved = 0
        while due := self._due.pop_due(self._clock.monotonic_ns(), _SWEEP_AT_ONCE):
            for session_id in due:
                record = await self._store.get(session_id)
                if record is None:
                    self._expires.pop(session_id, None)
                elif record.session.state.is_final:
                    await self._store.remove(session_id)
                else:
                    await self._move_on(record)
                moved += 1
        return moved

    async def create(self, new: NewSession) -> CreatedSession:
        """Create a session."""
        timeout_s = self._check_new(new)
        await self._admit(new.user_id)
        token = self._tokens()
        wall_ns, now_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        session = Session(
            id=str(self._ids()),
            user_id=new.user_id,
            state=SessionState.CONNECTING,
            created_at_ns=wall_ns,
            last_active_at_ns=wall_ns,
            expires_at_ns=wall_ns + _ns(timeout_s),
            timeout_s=timeout_s,
            connection_id=new.connection_id,
            client_ip=new.client_ip,
            client_port=new.client_port,
            server_addr=new.server_addr,
            metadata=dict(new.metadata),
        )
        self._watch(session, now_ns, now_ns + _ns(timeout_s))
        if not await self._store.insert(Record(session, _hash(token))):
            self._forget(session.id)
            raise InvalidArgument(
                f"connection {new.connection_id!r} has a live session already: resume or delete it"
            )
        self.counts["created"] += 1
        return CreatedSession(session, token)

    async def get(self, session_id: str) -> Session:
        """Return a live session."""
        return (await self._live(_id(session_id))).session

    async def get_by_connection(self, connection_id: str) -> Session:
        """Return the live session attached to a connection."""
        _text("connection_id", connection_id, required=True)
        record = await self._store.get_by_connection(connection_id)
        if record is None:
            raise SessionNotFound(f"no live session is attached to connection {connection_id!r}")
        return (await self._checked(record)).session

    async def verify(self, session_id: str, token: str) -> Session:
        """Return the live session if *token* is its token."""
        record = await self._live(_id(session_id))
        if not hmac.compare_digest(_hash(token), record.token_hash):
            raise TokenRejected("the token is not this session's")
        return record.session

    async def update(
        self, session_id: str, change: SessionChange, *, expected_version: int | None = None
    ) -> Session:
        """Change a live session."""
        session_id = _id(session_id)
        for _ in range(_ATTEMPTS):
            record = await self._live(session_id)
            before = record.session
            if expected_version is not None and before.version != expected_version:
                raise VersionMismatch(
                    f"the session is at version {before.version}, not {expected_version}",
                    detail={"version": str(before.version)},
                )
            after = self._changed(before, change)
            if await self._store.put(
                replace(record, session=after), expected_version=before.version
            ):
                self._rewatch(after)
                return after
        raise ServiceUnavailable("the session is changing too fast; try again")

    async def delete(self, session_id: str, reason: str = "") -> Session:
        """Close a session for good."""
        session_id = _id(session_id)
        _text("reason", reason)
        for _ in range(_ATTEMPTS):
            record = await self._found(session_id)
            if record.session.state.is_final:
                return record.session
            closed = await self._end(record, Trigger.CLOSE, reason)
            if closed is not None:
                return closed
        raise ServiceUnavailable("the session is changing too fast; try again")

    async def list(
        self, where: SessionFilter | None = None, *, after: str = "", limit: int = 100
    ) -> SessionPage:
        """Return one page of sessions."""
        if not 1 <= limit <= _MAX_PAGE:
            raise InvalidArgument(f"limit must be 1 to {_MAX_PAGE}, not {limit}")
        after = _id(after, "after") if after else ""
        await self.sweep()
        records, total = await self._store.page(where or SessionFilter(), after, limit)
        full = len(records) == limit
        return SessionPage(
            tuple(r.session for r in records), total, records[-1].session.id if full else ""
        )

    async def heartbeat(self, session_id: str) -> Heartbeat:
        """Extend a session by its time-out."""
        session_id = _id(session_id)
        for _ in range(_ATTEMPTS):
            record = await self._live(session_id)
            before = record.session
            state = advance(before.state, Trigger.ACTIVATE)
            wall_ns = self._clock.wall_ns()
            # The version stays unless the state moves: a heartbeat must not fail an update.
            after = replace(
                before,
                state=state,
                version=before.version + (state is not before.state),
                last_active_at_ns=wall_ns,
                expires_at_ns=wall_ns + _ns(before.timeout_s),
            )
            if await self._store.put(
                replace(record, session=after), expected_version=before.version, durable=False
            ):
                now_ns = self._clock.monotonic_ns()
                self._watch(after, now_ns, now_ns + _ns(after.timeout_s))
                return Heartbeat(wall_ns, after.timeout_s)
        raise ServiceUnavailable("the session is changing too fast; try again")

    # Below: how the rules are kept.

    async def _found(self, session_id: str) -> Record:
        record = await self._store.get(session_id)
        if record is None:
            raise SessionNotFound(f"no session has the id {session_id}")
        return record

    async def _live(self, session_id: str) -> Record:
        return await self._checked(await self._found(session_id))

    async def _checked(self, record: Record) -> Record:
        session = record.session
        expires_ns = self._expires.get(session.id)
        if session.state.is_final:
            raise SessionExpired(f"session {session.id} is {session.state}: create another")
        if expires_ns is not None and expires_ns <= self._clock.monotonic_ns():
            await self._end(record, Trigger.TIME_OUT, "")
            raise SessionExpired(f"session {session.id} is expired: create another")
        return record

    async def _move_on(self, record: Record) -> None:
        session = record.session
        now_ns = self._clock.monotonic_ns()
        expires_ns = self._expires.get(session.id, now_ns)
        if expires_ns <= now_ns:
            ended = await self._end(record, Trigger.TIME_OUT, "")
            if ended is None:
                self._due.set(session.id, now_ns)
            return
        if session.state is SessionState.ACTIVE:
            resting = replace(
                session,
                state=advance(session.state, Trigger.REST),
                version=session.version + 1,
            )
            await self._store.put(
                replace(record, session=resting), expected_version=session.version, durable=False
            )
        self._due.set(session.id, expires_ns)

    async def _end(self, record: Record, trigger: Trigger, reason: str) -> Session | None:
        """End a session; None if it changed meanwhile."""
        before = record.session
        metadata = dict(before.metadata)
        if reason:
            metadata["close_reason"] = reason
        after = replace(
            before,
            state=advance(before.state, trigger),
            version=before.version + 1,
            metadata=metadata,
        )
        if not await self._store.put(
            replace(record, session=after), expected_version=before.version
        ):
            return None
        self.counts[after.state] += 1
        self._expires.pop(before.id, None)
        self._due.set(before.id, self._clock.monotonic_ns() + _ns(self._config.retain_s))
        return after

    async def _admit(self, user_id: str) -> None:
        if await self._store.live_count() >= self._config.max_sessions:
            await self.sweep()
            if await self._store.live_count() >= self._config.max_sessions:
                raise TooManySessions(f"the service holds its {self._config.max_sessions} sessions")
        others = [r for r in await self._store.of_user(user_id) if not await self._lapsed(r)]
        if others and self._config.duplicate_login is DuplicateLogin.REFUSE:
            raise AlreadyLoggedIn(f"user {user_id!r} has a live session: end it first")
        if self._config.duplicate_login is DuplicateLogin.REPLACE:
            for record in others:
                await self._end(record, Trigger.CLOSE, "replaced by another login")
        elif len(others) >= self._config.max_sessions_per_user:
            raise TooManySessions(
                f"user {user_id!r} has {len(others)} live sessions, which is the bound"
            )

    async def _lapsed(self, record: Record) -> bool:
        try:
            await self._checked(record)
        except SessionExpired:
            return True
        return False

    def _watch(self, session: Session, now_ns: int, expires_ns: int) -> None:
        self._expires[session.id] = expires_ns
        idle_ns = expires_ns
        if session.state is SessionState.ACTIVE:
            idle_ns = now_ns + _ns(self._config.idle_after_s)
        self._due.set(session.id, min(expires_ns, idle_ns))

    def _rewatch(self, session: Session) -> None:
        """Follow a change of state that leaves the time-out as it was."""
        expires_ns = self._expires.get(session.id)
        if session.state.is_final:
            self.counts[session.state] += 1
            self._expires.pop(session.id, None)
            self._due.set(session.id, self._clock.monotonic_ns() + _ns(self._config.retain_s))
        elif expires_ns is not None:
            self._watch(session, self._clock.monotonic_ns(), expires_ns)

    def _forget(self, session_id: str) -> None:
        self._expires.pop(session_id, None)
        self._due.discard(session_id)

    def _changed(self, before: Session, change: SessionChange) -> Session:
        state = before.state
        if change.state is not None:
            state = advance(state, trigger_for(change.state))
        metadata = dict(before.metadata)
        if change.metadata is not None:
            metadata.update(change.metadata)
            metadata = {key: value for key, value in metadata.items() if value != ""}
            self._check_metadata(metadata)
        if change.connection_id is not None:
            _text("connection_id", change.connection_id)
        if change.client_ip is not None:
            _text("client_ip", change.client_ip)
        if change.server_addr is not None:
            _text("server_addr", change.server_addr)
        if change.client_port is not None:
            _port(change.client_port)
        if change.stats is not None:
            for name in type(change.stats).__dataclass_fields__:
                if not 0 <= getattr(change.stats, name) <= _MAX_COUNTER:
                    raise InvalidArgument(f"stats.{name} must be 0 to 2^64 - 1")
        return replace(
            before,
            state=state,
            version=before.version + 1,
            metadata=metadata,
            connection_id=_or(change.connection_id, before.connection_id),
            client_ip=_or(change.client_ip, before.client_ip),
            client_port=before.client_port if change.client_port is None else change.client_port,
            server_addr=_or(change.server_addr, before.server_addr),
            stats=before.stats if change.stats is None else change.stats,
        )

    def _check_new(self, new: NewSession) -> float:
        _text("user_id", new.user_id, required=True)
        _text("connection_id", new.connection_id)
        _text("client_ip", new.client_ip)
        _text("server_addr", new.server_addr)
        _port(new.client_port)
        self._check_metadata(new.metadata)
        timeout_s = new.timeout_s or self._config.timeout_s
        if not 0 < timeout_s <= self._config.max_timeout_s:
            raise InvalidArgument(
                f"timeout_s must be above 0 and at most {self._config.max_timeout_s:g}, "
                f"not {timeout_s:g}"
            )
        return timeout_s

    def _check_metadata(self, metadata: Mapping[str, str]) -> None:
        if len(metadata) > self._config.max_metadata_entries:
            raise InvalidArgument(
                f"metadata has {len(metadata)} entries, at most "
                f"{self._config.max_metadata_entries} are allowed"
            )
        size = sum(
            len(_utf8("a metadata key", k)) + len(_utf8("a metadata value", v))
            for k, v in metadata.items()
        )
        if size > self._config.max_metadata_bytes:
            raise InvalidArgument(
                f"metadata has {size} bytes, at most {self._config.max_metadata_bytes} are allowed"
            )


def _or(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _hash(token: str) -> bytes:
    # The token has 256 random bits, so a slow hash would add nothing.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _id(text: str, name: str = "session_id") -> str:
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise InvalidArgument(f"{name} must be a UUID, not {text!r:.80}") from None


def _text(name: str, value: str, *, required: bool = False) -> None:
    if required and not value:
        raise InvalidArgument(f"{name} is missing")
    if len(value) > _MAX_TEXT:
        raise InvalidArgument(f"{name} has {len(value)} characters, at most {_MAX_TEXT}")
    _utf8(name, value)


def _utf8(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{name} has half a surrogate pair: send whole characters") from None


def _port(port: int) -> None:
    if not 0 <= port <= 65_535:
        raise InvalidArgument(f"client_port must be 0 to 65535, not {port}")
