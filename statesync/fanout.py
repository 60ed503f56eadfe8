"""Who watches a document, and how much each has not read yet. Sans-IO.

Each subscriber has an `Outlet`: a bounded queue. One that overflows loses its operations from the
queue, not from the document: it is `lagging`, and its owner reads what it missed from the log,
starting at ``version``, until `caught_up`. Other events are coalesced so that at most one of a kind
about the same thing waits. Publishing costs the same whether a subscriber reads or not.
"""

from collections import deque

from statesync.api import Event, EventType, StateSyncError

_OPPOSITE = {
    EventType.USER_JOINED: EventType.USER_LEFT,
    EventType.LOCK_ACQUIRED: EventType.LOCK_RELEASED,
}
_FAMILY = {closing: opening for opening, closing in _OPPOSITE.items()}


class Outlet:
    """The unread events of one subscriber."""

    def __init__(self, version: int, limit: int, user_id: str) -> None:
        """Start lagging at *version*: whatever the log has after it comes first."""
        self.version = version
        """The newest operation handed out, or skipped by a resync."""
        self.user_id = user_id
        self.lagging = True
        self.dropped = 0
        """Events other than operations that were lost to the bound."""
        self.overflows = 0
        self.error: StateSyncError | None = None
        """Why the stream ends, once what is queued has been read."""
        self._limit = limit
        self._events: deque[Event] = deque()
        self._operations = 0

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event) -> bool:
        """Queue an event; return whether the owner has something new to do."""
        if event.type is EventType.OPERATION_APPLIED:
            if self.lagging:
                return True
            if self._operations >= self._limit:
                self._events = deque(
                    e for e in self._events if e.type is not EventType.OPERATION_APPLIED
                )
                self._operations = 0
                self.lagging = True
                self.overflows += 1
                return True
            self._operations += 1
        else:
            self._coalesce(event)
        self._events.append(event)
        return True

    def pop(self) -> Event | None:
        """Return the next event, None if there is none or the log must be read first."""
        if not self._events:
            return None
        if self.lagging and self._operations:
            return None
        event = self._events.popleft()
        if event.type is EventType.OPERATION_APPLIED:
            self._operations -= 1
            self.version = event.version
        return event

    def caught_up(self, version: int) -> None:
        """Take operations from the queue again: the log was read up to *version*."""
        self.version = version
        self.lagging = False

    def _coalesce(self, event: Event) -> None:
        key = _key(event)
        if key is not None:
            kept = [e for e in self._events if _key(e) != key]
            if len(kept) != len(self._events):
                self._events = deque(kept)
        others = len(self._events) - self._operations
        if others >= self._limit:
            for index, waiting in enumerate(self._events):
                if waiting.type is not EventType.OPERATION_APPLIED:
                    del self._events[index]
                    self.dropped += 1
                    break


class Fanout:
    """All outlets of one document."""

    def __init__(self, version: int) -> None:
        """Start with *version* as the newest operation published."""
        self.version = version
        self._outlets: set[Outlet] = set()
        self._users: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._outlets)

    @property
    def users(self) -> tuple[str, ...]:
        """Who watches, in order of name."""
        return tuple(sorted(self._users))

    def outlets(self) -> tuple[Outlet, ...]:
        """Return the outlets now open."""
        return tuple(self._outlets)

    def add(self, outlet: Outlet) -> bool:
        """Add an outlet; return whether its user was not here before."""
        self._outlets.add(outlet)
        count = self._users.get(outlet.user_id, 0)
        self._users[outlet.user_id] = count + 1
        return count == 0

    def remove(self, outlet: Outlet) -> bool:
        """Remove an outlet; return whether its user is gone with it."""
        if outlet not in self._outlets:
            return False
        self._outlets.discard(outlet)
        left = self._users[outlet.user_id] - 1
        if left:
            self._users[outlet.user_id] = left
            return False
        del self._users[outlet.user_id]
        return True

    def publish(self, event: Event) -> list[Outlet]:
        """Queue an event for everyone; return whom to wake."""
        if event.type is EventType.OPERATION_APPLIED:
            self.version = event.version
        return [outlet for outlet in self._outlets if outlet.push(event)]


def _key(event: Event) -> tuple[EventType, object] | None:
    """Return what an event is about, None if each one counts."""
    kind = _FAMILY.get(event.type, event.type)
    if kind is EventType.USER_JOINED:
        return kind, event.user_id
    if kind is EventType.LOCK_ACQUIRED and event.lock is not None:
        return kind, event.lock.target
    if kind is EventType.DOCUMENT_UPDATED:
        return kind, None
    return None
