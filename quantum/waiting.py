"""Tasks that wait for the same thing, each with a future of its own.

Knows nothing of what they wait for: whoever is woken looks again.
"""

import asyncio
from collections.abc import Generator
from typing import Any


class Waiters:
    """Awaited by any number of tasks; `wake` lets all of them go on.

    A future each, and none shared behind a shield: that would cost another turn of the loop, and
    one waiter may be cancelled without the others noticing all the same.
    """

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: list[asyncio.Future[None]] | None = None

    def __await__(self) -> Generator[Any, None, None]:
        future = self._loop.create_future()
        if self._futures is None:
            self._futures = [future]
        else:
            self._futures.append(future)
        try:
            yield from future
        except BaseException:
            if self._futures is not None and future in self._futures:
                self._futures.remove(future)
            raise

    def wake(self) -> None:
        """Let every task that waits go on; nothing happens when there is none."""
        futures = self._futures
        if futures is not None:
            self._futures = None
            for future in futures:
                if not future.done():
                    future.set_result(None)
