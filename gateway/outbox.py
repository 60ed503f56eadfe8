"""What waits to be sent to one client: a bounded queue and what to do when it is full. Sans-IO.

Replies are never dropped. Pushes are, by policy, and a channel that lost one is remembered until
the client has been told. It knows no codec and no transport: items are bytes that clients share.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    """What happens to a client whose queue is full when a push comes."""

    DISCONNECT = "disconnect"
    """It is closed, with a code that invites it to reconnect and resume."""
    DROP_OLDEST = "drop_oldest"
    """Its oldest push goes, and it is told that the channel has a gap."""
    COALESCE = "coalesce"
    """A newer push replaces an unsent one with the same key; else the oldest goes."""


@dataclass(frozen=True, slots=True)
class Item:
    """Encoded bytes; *channel* is empty for a reply. *key*: what a newer item replaces."""

    data: bytes
    channel: str = ""
    key: str = ""


class Outbox:
    """One client's queue, bounded in messages and in bytes."""

    def __init__(self, max_messages: int = 1024, max_bytes: int = 4 << 20) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._pushes: deque[int] = deque()
        self._keys: dict[tuple[str, str], int] = {}
        self._serial = 0
        self._lossy: dict[str, None] = {}
        self.queued_bytes = 0
        self.dropped = 0
        self.coalesced = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_busy(self) -> bool:
        """Whether it is more than half full: the moment to stop taking requests."""
        return len(self._items) * 2 > self._max_messages or self.queued_bytes * 2 > self._max_bytes

    def put(self, item: Item, policy: Policy = Policy.DISCONNECT) -> bool:
        """Queue *item*; False, and nothing queued, if the client must be disconnected."""
        if policy is Policy.COALESCE and item.key:
            self._replace(item)
        while not self._has_room(len(item.data)):
            if not item.channel or policy is Policy.DISCONNECT or not self._drop_oldest():
                return False
        self._serial += 1
        self._items[self._serial] = item
        self.queued_bytes += len(item.data)
        if item.channel:
            self._pushes.append(self._serial)
            if item.key:
                self._keys[item.channel, item.key] = self._serial
        return True

    def take(self, max_bytes: int) -> list[bytes]:
        """Return what is next in order: at least one item, if there is one, and then no more than
        *max_bytes*.
        """
        taken: list[bytes] = []
        size = 0
        while self._items:
            serial, item = next(iter(self._items.items()))
            if taken and size + len(item.data) > max_bytes:
                break
            self._remove(serial)
            size += len(item.data)
            taken.append(item.data)
        while self._pushes and self._pushes[0] not in self._items:
            self._pushes.popleft()
        return taken

    def take_lossy(self) -> list[str]:
        """Return the channels that lost a push since the last call."""
        lossy = list(self._lossy)
        self._lossy.clear()
        return lossy

    def clear(self) -> None:
        """Forget everything: the client is gone."""
        self._items.clear()
        self._pushes.clear()
        self._keys.clear()
        self._lossy.clear()
        self.queued_bytes = 0

    def _has_room(self, size: int) -> bool:
        if not self._items:
            return True  # a single message above the bound still goes out
        is_short = len(self._items) < self._max_messages
        return is_short and self.queued_bytes + size <= self._max_bytes

    def _replace(self, item: Item) -> None:
        serial = self._keys.get((item.channel, item.key))
        if serial is not None:
            self._remove(serial)
            self.coalesced += 1

    def _drop_oldest(self) -> bool:
        while self._pushes:
            serial = self._pushes.popleft()
            item = self._items.get(serial)
            if item is not None:
                self._remove(serial)
                self._lossy[item.channel] = None
                self.dropped += 1
                return True
        return False

    def _remove(self, serial: int) -> None:
        item = self._items.pop(serial)
        self.queued_bytes -= len(item.data)
        if item.key and self._keys.get((item.channel, item.key)) == serial:
            del self._keys[item.channel, item.key]
