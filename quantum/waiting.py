"""Tasks that wait for the same thing, each with a future of its own.

Knows nothing of what they wait for: whoever is woken looks again.
"""

import asyncio


class Waiters:
    """Waited for by any number of tasks; `wake` lets all of them go on.

    A future each, and none shared behind a shield: that would cost another turn of the loop, and
    one waiter may be cancelled without the others noticing all the same.
    """

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: list[asyncio.Future[None]] | None = None

    def future(self) -> "asyncio.Future[None]":
        """Return what one task awaits, before it gives anybody reason to wake it."""
        future = self._loop.create_future()
        futures = self._futures
        if futures is None:
            self._futures = [future]
        else:
            # Those that were cancelled: no more of them stay than there are others.
            while futures and futures[-1].done():
                futures.pop()
            futures.append(future)
        return future

    def wake(self) -> None:
        """Let every task that waits go on; nothing happens when there is none."""
        futures = self._futures
        if futures is not None:
            self._futures = None
            for future in futures:
                if not future.done():
                    future.set_result(None)
