"""What only the service in process can be asked."""

import pytest

from session.api import NewSession, Session, SessionExpired
from session.config import SessionConfig
from session.service import LocalSessionService
from session.stores.memory import MemoryStore
from tests.support.clocks import CountingIds, ManualClock

CONFIG = SessionConfig(timeout_s=100, idle_after_s=30, retain_s=50)


async def test_the_store_never_sees_the_token() -> None:
    store = MemoryStore()
    service = LocalSessionService(store, ManualClock(), CountingIds(), CONFIG)
    await service.start()
    created = await service.create(NewSession("anna"))
    (record,) = await store.all()
    assert created.token not in repr(record)
    assert len(record.token_hash) == 32


async def test_a_restart_gives_what_was_left_and_never_more() -> None:
    store, clock = MemoryStore(), ManualClock()
    first = LocalSessionService(store, clock, CountingIds(), CONFIG)
    await first.start()
    kept = (await first.create(NewSession("anna"))).session
    clock.advance(60)
    second = LocalSessionService(store, clock, CountingIds(100), CONFIG)
    await second.start()
    clock.advance(39)
    await second.get(kept.id)
    clock.advance(2)
    with pytest.raises(SessionExpired):
        await second.get(kept.id)

    fresh = (await second.create(NewSession("ben"))).session
    clock.set_wall(-3600)  # while the process is away: the store's times now lie in the future
    third = LocalSessionService(store, clock, CountingIds(200), CONFIG)
    await third.start()
    clock.advance(101)
    with pytest.raises(SessionExpired):
        await third.get(fresh.id)


async def test_tables_are_empty_when_all_sessions_are_over() -> None:
    store, clock = MemoryStore(), ManualClock()
    service = LocalSessionService(store, clock, CountingIds(), CONFIG)
    await service.start()
    made: list[Session] = [
        (await service.create(NewSession(f"u{n}", f"c{n}"))).session for n in range(50)
    ]
    for session in made[::2]:
        await service.heartbeat(session.id)
    for session in made[::5]:
        await service.delete(session.id)
    clock.advance(101)
    await service.sweep()
    assert await store.live_count() == 0
    clock.advance(51)
    await service.sweep()
    assert await store.all() == []
    assert (len(service._due), len(service._expires)) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0},
        {"idle_after_s": -1},
        {"timeout_s": 10, "max_timeout_s": 5},
        {"max_sessions": 0},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="session"):
        SessionConfig(**wrong)  # type: ignore[arg-type]
