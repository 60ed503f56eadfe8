"""The locks of one document: leases with fencing tokens. Pure; time is an argument.

Time here is monotonic, so that setting the wall clock neither ends a lock nor gives it twice. A
token is a number that only grows; a write that carries one is refused unless that very lock is
still held. At most `MAX_LOCKS` are held on one document.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from statesync.api import Actor, Lock, Locked, Operation, Path, StaleLock, TooMany
from statesync.tree import overlaps, show

MAX_LOCKS = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """A lock and the monotonic moment at which it ends."""

    lock: Lock
    ends_ns: int


class LockTable:
    """Who holds what."""

    def __init__(self, held: Iterable[Held] = (), last_token: int = 0) -> None:
        """Start with *held*; the next token is one above *last_token*."""
        self._held: dict[int, Held] = {h.lock.fencing_token: h for h in held}
        self.last_token = last_token

    def __len__(self) -> int:
        return len(self._held)

    def current(self, now_ns: int) -> tuple[Lock, ...]:
        """Return the locks still held."""
        return tuple(h.lock for h in self._held.values() if h.ends_ns > now_ns)

    def expired(self, now_ns: int) -> list[Lock]:
        """Forget and return the locks that ended."""
        over = [h.lock for h in self._held.values() if h.ends_ns <= now_ns]
        for lock in over:
            del self._held[lock.fencing_token]
        return over

    def plan(
        self, actor: Actor, doc_id: str, target: Path, *, ttl_ns: int, now_ns: int, wall_ns: int
    ) -> Held:
        """Return the lock that *actor* would get, new or renewed; changes nothing.

        Raises `Locked` or `TooMany`. `take` makes it hold.
        """
        for held in self._held.values():
            if held.ends_ns <= now_ns or not overlaps(held.lock.target, target):
                continue
            if not _is_holder(held.lock, actor) or held.lock.target != target:
                raise _locked(held.lock)
            return Held(replace(held.lock, expires_at_ns=wall_ns + ttl_ns), now_ns + ttl_ns)
        if len(self._held) >= MAX_LOCKS:
            raise TooMany(f"the document has {MAX_LOCKS} locks, which is the bound")
        lock = Lock(
            doc_id=doc_id,
            target=target,
            user_id=actor.user_id,
            session_id=actor.session_id,
            fencing_token=self.last_token + 1,
            acquired_at_ns=wall_ns,
            expires_at_ns=wall_ns + ttl_ns,
        )
        return Held(lock, now_ns + ttl_ns)

    def take(self, held: Held) -> None:
        """Let a planned lock hold."""
        self._held[held.lock.fencing_token] = held
        self.last_token = max(self.last_token, held.lock.fencing_token)

    def find(self, actor: Actor, token: int, now_ns: int) -> Lock:
        """Return the lock with this token if *actor* (or an admin) may end it."""
        held = self._held.get(token)
        if held is None or held.ends_ns <= now_ns:
            raise StaleLock(f"no lock is held with the fencing token {token}")
        if not actor.is_admin and not _is_holder(held.lock, actor):
            raise _locked(held.lock)
        return held.lock

    def release(self, token: int) -> None:
        """Forget a lock."""
        self._held.pop(token, None)

    def admit(self, operation: Operation, actor: Actor, now_ns: int) -> None:
        """Raise `Locked` or `StaleLock` unless *actor* may write there under these locks."""
        token = operation.fencing_token
        if token:
            held = self._held.get(token)
            if held is None or held.ends_ns <= now_ns:
                raise StaleLock(f"no lock is held with the fencing token {token}: acquire it again")
            if not _is_holder(held.lock, actor):
                raise StaleLock(f"the fencing token {token} is another's")
        for held in self._held.values():
            lock = held.lock
            if lock.fencing_token == token or held.ends_ns <= now_ns:
                continue
            if overlaps(lock.target, operation.target):
                raise _locked(lock)


def _is_holder(lock: Lock, actor: Actor) -> bool:
    return lock.user_id == actor.user_id and lock.session_id == actor.session_id


def _locked(lock: Lock) -> Locked:
    return Locked(
        f"{show(lock.target)} is locked by {lock.user_id}; a write of its holder must carry the "
        "fencing token",
        detail={"user_id": lock.user_id},
    )
