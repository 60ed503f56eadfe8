"""Every test of this folder runs on asyncio's own loop and on uvloop, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

ASYNCIO_ONLY = pytest.mark.asyncio(loop_factories=["asyncio"])


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # What was cancelled, or has just ended, is still listed until the loop comes to it.
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asyncio.all_tasks() - before - {asyncio.current_task()}
