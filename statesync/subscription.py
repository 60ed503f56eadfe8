"""A subscription in this process: an outlet with something to wait on, and the log behind it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from statesync.api import Actor, Event, EventType, Operation, Snapshot
from statesync.fanout import Fanout, Outlet

PAGE = 256

ReadLog = Callable[[int], Awaitable[Sequence[Operation]]]
ReadAll = Callable[[], Awaitable[Snapshot]]


class LocalSubscription:
    """Events of one document for one subscriber; see `statesync.api.Subscription`."""

    def __init__(
        self,
        subscription_id: str,
        doc_id: str,
        actor: Actor,
        outlet: Outlet,
        fanout: Fanout,
        *,
        read_log: ReadLog,
        read_all: ReadAll,
        on_close: Callable[["LocalSubscription"], None],
    ) -> None:
        """Read what *outlet* missed by *read_log* (a page after a version), or *read_all*."""
        self.id = subscription_id
        self.version = outlet.version
        self.outlet = outlet
        self.actor = actor
        self.doc_id = doc_id
        self._fanout = fanout
        self._read_log = read_log
        self._read_all = read_all
        self._on_close = on_close
        self._missed: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._is_closed = False

    def wake(self) -> None:
        """Let a waiting reader look again."""
        self._wake.set()

    def __aiter__(self) -> "LocalSubscription":
        return self

    async def __anext__(self) -> Event:
        """Return the next event; ends when closed, raises when access was lost."""
        while True:
            if self._is_closed:
                raise StopAsyncIteration
            if self._missed:
                return self._missed.popleft()
            if self.outlet.error is not None:
                error = self.outlet.error
                await self.aclose()
                raise error
            if self.outlet.lagging and await self._catch_up():
                continue
            event = self.outlet.pop()
            if event is not None:
                return event
            self._wake.clear()
            if not self.outlet.lagging or self.outlet.version == self._fanout.version:
                await self._wake.wait()

    async def __aenter__(self) -> "LocalSubscription":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop; a waiting iteration ends."""
        if not self._is_closed:
            self._is_closed = True
            self._wake.set()
            self._on_close(self)

    async def _catch_up(self) -> bool:
        """Read the next page of the log; return whether there is something to hand out."""
        outlet = self.outlet
        if outlet.version == self._fanout.version:
            outlet.caught_up(outlet.version)
            return False
        page: Sequence[Operation] = ()
        if outlet.version < self._fanout.version:
            page = await self._read_log(outlet.version)
        if not page or page[0].version != outlet.version + 1:
            # The log was compacted, or the subscriber comes from a log that is no more.
            snapshot = await self._read_all()
            outlet.version = snapshot.version
            self._missed.append(
                Event(EventType.RESYNC, self.doc_id, snapshot.version, snapshot=snapshot)
            )
            return True
        self._missed.extend(
            Event(
                EventType.OPERATION_APPLIED,
                self.doc_id,
                operation.version,
                user_id=operation.user_id,
                operation=operation,
            )
            for operation in page
        )
        outlet.version = page[-1].version
        return True
