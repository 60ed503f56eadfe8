"""What happens to a document or channel, as the program reads it: bounded streams of values."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from gateway.messages import Event, Json
from gateway.sdk.errors import SdkError
from gateway.sdk.inbox import RemoteOperation

T = TypeVar("T")


class Happening(StrEnum):
    """What a `DocumentEvent` tells, beside the gateway's own event types."""

    OPERATION_ARRIVED = "operation_arrived"
    """A holding document received a remote operation and keeps it unapplied."""
    OPERATION_APPLIED = "operation_applied"
    """A remote operation changed this copy."""
    STATUS = "status"
    """The document went offline, is saving, or is saved."""
    EDIT_REFUSED = "edit_refused"
    """The gateway refused an edit for good; *error* says why."""
    RESYNC = "resync"
    """Operations were skipped for a snapshot: read the document anew."""
    LAGGED = "lagged"
    """This iterator was not read fast enough: older events are gone, read the document anew."""


@dataclass(frozen=True, slots=True)
class DocumentEvent:
    """One event; *type* is a `Happening` or an event type of the gateway."""

    type: str
    version: int = 0
    user: str = ""
    operation: RemoteOperation | None = None
    status: str = ""
    error: SdkError | None = None
    detail: Event | None = None
    """The gateway's event, for locks, conflicts and who came and went."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of a channel. *missed* counts those before it that could not be kept for you."""

    channel: str
    value: Json = None
    payload: bytes = b""
    offset: int = 0
    sender: str = ""
    missed: int = 0


class Feed(Generic[T]):
    """One reader's queue of bounded length: when full, the oldest goes and is counted.

    With *lagged* the reader gets that value where items are missing.
    """

    def __init__(self, limit: int, lagged: T | None = None) -> None:
        self._lagged = lagged
        self._items: deque[T] = deque()
        self._limit = limit
        self._ready = asyncio.Event()
        self._end: SdkError | None = None
        self._is_closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Add *item*, at the cost of the oldest."""
        if self._is_closed:
            return
        if len(self._items) >= self._limit:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._ready.set()

    def close(self, error: SdkError | None = None) -> None:
        """End the stream; what is queued can still be read, then *error* is raised."""
        self._is_closed = True
        self._end = error
        self._ready.set()

    def take_dropped(self) -> int:
        """Return how many were dropped since last asked."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    async def __anext__(self) -> T:
        """Return the next item; ends when closed."""
        while not self._items:
            if self._is_closed:
                if self._end is not None:
                    raise self._end
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        if self._lagged is not None and self.take_dropped():
            return self._lagged
        return self._items.popleft()

    def __aiter__(self) -> AsyncIterator[T]:
        return self
