"""A heap of deadlines in which moving one later costs nothing. Pure; time is an argument.

Heartbeats move deadlines later all the time, so an entry in the heap may be too early: it is
corrected when it comes up. At most one live entry per key, plus those that were moved earlier.
"""

import heapq


class Deadlines:
    """When each key falls due."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._entry: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def set(self, key: str, at_ns: int) -> None:
        """Let *key* fall due at *at_ns*."""
        self._due[key] = at_ns
        entry = self._entry.get(key)
        if entry is None or at_ns < entry:
            self._entry[key] = at_ns
            heapq.heappush(self._heap, (at_ns, key))

    def discard(self, key: str) -> None:
        """Forget *key*."""
        self._due.pop(key, None)

    def due_at(self, key: str) -> int | None:
        """Return when *key* falls due, None if it is unknown."""
        return self._due.get(key)

    def next_due(self) -> int | None:
        """Return a time before which nothing is due, None if nothing ever is."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ns: int, limit: int) -> list[str]:
        """Remove and return up to *limit* keys that are due."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now_ns and len(due) < limit:
            entry_ns, key = heapq.heappop(self._heap)
            if self._entry.get(key) != entry_ns:
                continue
            del self._entry[key]
            at_ns = self._due.get(key)
            if at_ns is None:
                continue
            if at_ns <= now_ns:
                del self._due[key]
                due.append(key)
            else:
                self._entry[key] = at_ns
                heapq.heappush(self._heap, (at_ns, key))
        return due
