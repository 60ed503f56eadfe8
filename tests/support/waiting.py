"""Wait for a state of something that offers no event to wait for."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Let the loop turn until *condition* holds.

    Raises:
        TimeoutError: it did not within *timeout_s*.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - counters of the code under test have no event
            await asyncio.sleep(0.001)
