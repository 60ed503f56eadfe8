"""Operations that arrive from the gateway: in order, once each, held if asked. Sans-IO.

A document's log counts its versions without gaps. What was seen is dropped, what comes after a gap
is not taken (the document then asks for the operations since `received`).
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.messages import Operation


@dataclass(frozen=True, slots=True)
class RemoteOperation:
    """One operation of the log: who made it, as which of theirs, and its place.

    *is_own* marks this client's own edits, which the log echoes.
    """

    client_id: str
    client_seq: int
    version: int
    user: str = ""
    is_own: bool = False
    operation: Operation = field(repr=False, default=Operation("-", "-"))

    @property
    def key(self) -> tuple[str, int]:
        """(client_id, client_seq), which no other operation of the document has."""
        return self.client_id, self.client_seq


_MAX_AUTHORS = 10_000


class Taken(Enum):
    """What became of an arrival."""

    KEPT = auto()
    SEEN = auto()
    GAP = auto()
    FULL = auto()


class Inbox:
    """The tail of a document's log that has arrived and is not applied yet."""

    def __init__(self, version: int, max_held: int) -> None:
        self.received = version
        self.applied = version
        self._max_held = max_held
        self._held: deque[RemoteOperation] = deque()
        self._authors: OrderedDict[str, int] = OrderedDict()
        self._authors_applied: OrderedDict[str, int] = OrderedDict()
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, item: RemoteOperation) -> Taken:
        """Keep *item* if it is the next of the log and there is room."""
        if item.version <= self.received:
            self.duplicates += 1
            return Taken.SEEN
        if item.version != self.received + 1:
            return Taken.GAP
        if len(self._held) >= self._max_held:
            return Taken.FULL
        self.received = item.version
        self._held.append(item)
        _note(self._authors, item)
        return Taken.KEPT

    def release(self) -> RemoteOperation | None:
        """Return the next operation to apply, or None."""
        if not self._held:
            return None
        item = self._held.popleft()
        self.applied = item.version
        _note(self._authors_applied, item)
        return item

    def reset(self, version: int) -> None:
        """Start anew after *version*; what was held is part of a snapshot."""
        self._held.clear()
        self.received = self.applied = version

    def has_received(self, key: tuple[str, int]) -> bool:
        """Whether the operation named *key* arrived (of the last 10,000 authors)."""
        return self._authors.get(key[0], 0) >= key[1]

    def has_applied(self, key: tuple[str, int]) -> bool:
        """Whether the operation named *key* was released (of the last 10,000 authors)."""
        return self._authors_applied.get(key[0], 0) >= key[1]

    def held(self) -> tuple[RemoteOperation, ...]:
        """Return what waits to be applied, in order."""
        return tuple(self._held)

    @property
    def is_half_empty(self) -> bool:
        """Whether it makes sense to ask for more after it was full."""
        return len(self._held) * 2 <= self._max_held


def _note(authors: OrderedDict[str, int], item: RemoteOperation) -> None:
    authors[item.client_id] = item.client_seq
    authors.move_to_end(item.client_id)
    if len(authors) > _MAX_AUTHORS:
        authors.popitem(last=False)
