"""A store that fails acknowledges nothing, says so, and goes on when it can."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from statesync.api import Acknowledgement, EventType, ServiceUnavailable
from statesync.config import StateSyncConfig
from statesync.stores.sqlite import SqliteStore
from tests.support.services import ANNA, BEN, Documents, Editor, documents


def store_of(door: Documents) -> SqliteStore:
    store = door.local._store
    assert isinstance(store, SqliteStore)
    return store


async def set_page_limit(store: SqliteStore, pages: int) -> None:
    """Let SQLite itself report a full disk: the same error, from the same call."""
    loop = asyncio.get_running_loop()

    def limit() -> None:
        assert store._writer is not None
        store._writer.execute(f"PRAGMA max_page_count={pages}")

    await loop.run_in_executor(store._writes, limit)


@pytest.mark.integration
async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    async with documents("local-sqlite", tmp_path, StateSyncConfig()) as door:
        made = await door.create()
        anna = Editor(made, "a1")
        stream = await door.service.subscribe(BEN, made.id)
        await door.service.apply(ANNA, anna.put("before", value=1))
        await set_page_limit(store_of(door), 1)
        sent = [anna.put("k", str(n), value="x" * 5000, base=1 + n) for n in range(10)]
        outcomes = await asyncio.gather(
            *(door.service.apply(ANNA, o) for o in sent), return_exceptions=True
        )
        assert all(isinstance(o, ServiceUnavailable) for o in outcomes), outcomes
        assert "full" in str(outcomes[0])
        # The file is opened afresh, with its space back; what was refused was not kept.
        snapshot = await door.service.get_document(ANNA, made.id)
        assert (snapshot.version, snapshot.content) == (1, {"before": 1})
        again = await door.service.apply_many(ANNA, sent)
        assert [o.version for o in again if isinstance(o, Acknowledgement)] == list(range(2, 12))
        assert not any(o.duplicate for o in again if isinstance(o, Acknowledgement))
        events = [await anext(stream) for _ in range(11)]
        assert [e.version for e in events] == list(range(1, 12))
        assert {e.type for e in events} == {EventType.OPERATION_APPLIED}
        await stream.aclose()


@pytest.mark.integration
async def test_a_log_that_another_process_wrote_is_opened_again(tmp_path: Path) -> None:
    async with documents("local-sqlite", tmp_path, StateSyncConfig()) as door:
        made = await door.create()
        anna = Editor(made, "a1")
        await door.service.apply(ANNA, anna.put("k", value=1))
        with sqlite3.connect(tmp_path / "documents.db") as intruder:
            intruder.execute(
                "INSERT INTO operations SELECT doc_id, 2, 'other', 1, 'x', type, target, json, raw,"
                " base_version, wall_ms, counter, node, 0, status, effect, user_id, session_id,"
                " applied_at_ns FROM operations"
            )
            intruder.execute("UPDATE documents SET version = 2")
        intruder.close()
        second = anna.put("k", value=2, base=1)
        with pytest.raises(ServiceUnavailable, match="moved on"):
            await door.service.apply(ANNA, second)
        answer = await door.service.apply(ANNA, second)
        assert answer.version == 3


@pytest.mark.integration
async def test_a_caller_that_gives_up_takes_nobody_with_it(tmp_path: Path) -> None:
    async with documents("local-sqlite", tmp_path, StateSyncConfig()) as door:
        made = await door.create()
        anna, ben = Editor(made, "a1"), Editor(made, "b1")
        await door.service.apply(ANNA, anna.put("k", value=0))
        impatient = asyncio.create_task(door.service.apply(ANNA, anna.put("a", value=1)))
        patient = asyncio.create_task(door.service.apply(BEN, ben.put("b", value=1)))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).version >= 2
        await asyncio.gather(impatient, return_exceptions=True)
        await door.service.apply(BEN, ben.put("b", value=2))
        log = await door.service.operations_since(ANNA, made.id, 0)
        assert [o.version for o in log.operations] == list(range(1, len(log.operations) + 1))
