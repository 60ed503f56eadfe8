"""Tasks that wait for the same thing."""

import asyncio

import pytest

from quantum.waiting import Waiters


async def _until_waiting(count: int) -> tuple[Waiters, list[asyncio.Task[None]]]:
    waiters = Waiters(asyncio.get_running_loop())

    async def wait() -> None:
        await waiters.future()

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    # Each task runs up to its wait in the next turn of the loop.
    await asyncio.sleep(0)
    return waiters, tasks


async def test_all_who_wait_are_woken_at_once() -> None:
    waiters, tasks = await _until_waiting(3)
    waiters.wake()
    await asyncio.sleep(0)
    assert all(task.done() for task in tasks)


async def test_a_cancelled_waiter_leaves_the_others_waiting() -> None:
    waiters, tasks = await _until_waiting(2)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert not tasks[1].done()
    waiters.wake()
    await tasks[1]


async def test_waiters_that_are_cancelled_again_and_again_take_no_room() -> None:
    waiters = Waiters(asyncio.get_running_loop())
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiters.future()
    assert waiters._futures is not None
    assert len(waiters._futures) == 1


async def test_who_waits_again_in_the_turn_of_the_wake_is_not_woken_by_it() -> None:
    waiters, tasks = await _until_waiting(1)
    waiters.wake()
    await tasks[0]

    async def wait() -> None:
        await waiters.future()

    again = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not again.done()
    waiters.wake()
    await again


async def test_a_wake_between_asking_and_waiting_is_not_lost() -> None:
    waiters = Waiters(asyncio.get_running_loop())
    future = waiters.future()
    waiters.wake()
    await future


async def test_a_waiter_cancelled_in_the_turn_of_its_wake_is_cancelled() -> None:
    waiters, tasks = await _until_waiting(1)
    waiters.wake()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
