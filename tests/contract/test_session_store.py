"""What every session store does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from session.api import ServiceUnavailable, Session, SessionFilter, SessionState
from session.store import Record, SessionStore
from session.stores import STORES


def record(number: int, **changes: object) -> Record:
    session = Session(
        id=f"01890000-0000-7000-8000-{number:012d}",
        user_id="anna",
        state=SessionState.ACTIVE,
        created_at_ns=1,
        last_active_at_ns=2,
        expires_at_ns=3,
        timeout_s=4.5,
        connection_id=f"c-{number}",
        metadata={"k": "ü"},
    )
    return Record(replace(session, **changes), bytes([number]) * 32)  # type: ignore[arg-type]


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    opened = STORES.load(request.param)(str(tmp_path / "sessions.db"))
    await opened.open()
    yield opened
    await opened.close()


async def test_a_record_is_found_three_ways(store: SessionStore) -> None:
    kept = record(1)
    assert await store.insert(kept)
    assert await store.get(kept.session.id) == kept
    assert await store.get_by_connection("c-1") == kept
    assert await store.of_user("anna") == [kept]
    assert await store.all() == [kept]
    assert await store.live_count() == 1
    assert await store.get("no") is None
    assert await store.get_by_connection("no") is None
    assert await store.of_user("no") == []


async def test_an_id_or_connection_that_is_taken_is_refused(store: SessionStore) -> None:
    await store.insert(record(1))
    assert not await store.insert(record(1, connection_id="other"))
    assert not await store.insert(record(2, connection_id="c-1"))
    assert await store.insert(record(2, connection_id=""))
    assert await store.insert(record(3, connection_id=""))
    assert await store.live_count() == 3


async def test_a_write_from_another_version_changes_nothing(store: SessionStore) -> None:
    await store.insert(record(1))
    second = record(1, version=2, connection_id="c-9")
    assert await store.put(second, expected_version=1)
    assert not await store.put(record(1, version=3), expected_version=1)
    assert not await store.put(record(2), expected_version=1)
    assert await store.get(second.session.id) == second
    assert await store.get_by_connection("c-1") is None
    assert await store.get_by_connection("c-9") == second


async def test_a_final_record_leaves_the_indexes(store: SessionStore) -> None:
    await store.insert(record(1))
    closed = record(1, version=2, state=SessionState.CLOSED)
    await store.put(closed, expected_version=1)
    assert await store.get(closed.session.id) == closed
    assert await store.get_by_connection("c-1") is None
    assert await store.of_user("anna") == []
    assert await store.live_count() == 0
    assert await store.insert(record(2, connection_id="c-1"))


async def test_a_connection_belongs_to_whom_it_moved_last(store: SessionStore) -> None:
    await store.insert(record(1))
    await store.insert(record(2))
    taken = record(2, version=2, connection_id="c-1")
    await store.put(taken, expected_version=1)
    await store.put(record(1, version=2, state=SessionState.CLOSED), expected_version=1)
    assert await store.get_by_connection("c-1") == taken


async def test_pages_are_in_order_with_the_total(store: SessionStore) -> None:
    for number in (3, 1, 4, 2):
        await store.insert(record(number))
    await store.insert(record(5, state=SessionState.CLOSED))
    await store.insert(record(6, user_id="ben"))
    page, total = await store.page(SessionFilter(user_id="anna"), "", 3)
    assert ([r.session.id[-1] for r in page], total) == (["1", "2", "3"], 4)
    rest, _ = await store.page(SessionFilter(), page[-1].session.id, 3)
    assert [r.session.id[-1] for r in rest] == ["4", "6"]
    ended, _ = await store.page(SessionFilter(state=SessionState.CLOSED), "", 3)
    assert [r.session.id[-1] for r in ended] == ["5"]


async def test_a_removed_record_is_gone(store: SessionStore) -> None:
    await store.insert(record(1))
    await store.remove(record(1).session.id)
    await store.remove(record(1).session.id)
    assert await store.all() == []
    assert await store.insert(record(2, connection_id="c-1"))


async def test_sqlite_keeps_everything_across_processes(tmp_path: Path) -> None:
    kind, path = STORES.load("sqlite"), str(tmp_path / "deep" / "sessions.db")
    first = kind(path)
    await first.open()
    for number in range(1, 5):
        await first.insert(record(number))
    changed = record(2, version=2, connection_id="moved")
    await first.put(changed, expected_version=1)
    beaten = record(3, last_active_at_ns=99)
    await first.put(beaten, expected_version=1, durable=False)
    await first.remove(record(4).session.id)
    await first.close()
    with pytest.raises(ServiceUnavailable, match="closed"):
        await first.insert(record(9))
    second = kind(path)
    await second.open()
    found = {r.session.id: r for r in await second.all()}
    assert found == {r.session.id: r for r in (record(1), changed, beaten)}
    assert await second.get_by_connection("moved") == changed
    await second.close()


async def test_sqlite_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    kind = STORES.load("sqlite")
    with pytest.raises(ValueError, match="location"):
        kind("")
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"this is not a database, it is a text file of some length" * 10)
    with pytest.raises(ServiceUnavailable, match="rubbish"):
        await kind(str(rubbish)).open()
    with pytest.raises(ServiceUnavailable, match="cannot open"):
        await kind(str(tmp_path)).open()
