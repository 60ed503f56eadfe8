"""What every state store does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from statesync.api import (
    Change,
    Conflict,
    Document,
    DocumentFilter,
    DocumentState,
    DocumentType,
    Durability,
    Lock,
    Loss,
    Operation,
    OperationStatus,
    OperationType,
    Permissions,
    ServiceUnavailable,
    Stamp,
)
from statesync.store import Append, ClientMark, StateStore, StoredSnapshot, Totals
from statesync.stores import STORES

DOC = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"
DOCUMENT = Document(
    id=DOC,
    name="plän",
    type=DocumentType.SHEET,
    state=DocumentState.ACTIVE,
    strategy="merge",
    version=0,
    revision=1,
    epoch="e",
    permissions=Permissions("anna", frozenset({"ben"}), frozenset({"vic"})),
    created_by="anna",
    created_at_ns=1,
    updated_by="anna",
    updated_at_ns=2,
    description="d",
    tags=("t",),
    properties={"k": "v"},
)


def operation(version: int, **changes: object) -> Operation:
    made = Operation(
        doc_id=DOC,
        client_id="a1",
        client_seq=version,
        type=OperationType.UPDATE,
        target=("k", "\u00fc/"),
        payload={"n": [version, None, 1.5, "\ud800"]},
        base_version=version - 1,
        stamp=Stamp(5, 6, "a1"),
        id=f"op-{version}",
        version=version,
        status=OperationStatus.APPLIED,
        user_id="anna",
        session_id="s",
        applied_at_ns=7,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def add(store: StateStore, made: Operation, conflict: Conflict | None = None) -> None:
    kept = store.append(Append(made, conflict))
    if kept is not None:
        await kept


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    opened = STORES.load(request.param)(str(tmp_path / "documents.db"))
    await opened.open()
    assert await opened.create(DOCUMENT, {"k": {}})
    yield opened
    await opened.close()


async def test_a_document_is_loaded_as_it_was_created(store: StateStore) -> None:
    loaded = await store.load(DOC)
    assert loaded is not None
    assert loaded.document == DOCUMENT
    assert loaded.snapshot == StoredSnapshot(0, {"k": {}})
    assert (loaded.operations, loaded.locks, loaded.last_token) == ((), (), 0)
    assert await store.load(OTHER) is None
    assert await store.document(OTHER) is None
    assert not await store.create(replace(DOCUMENT, name="again"), {})
    assert await store.document(DOC) == DOCUMENT


async def test_bytes_are_kept_as_bytes(store: StateStore) -> None:
    text = replace(DOCUMENT, id=OTHER, type=DocumentType.TEXT)
    await store.create(text, b"\0\xff")
    raw = operation(1, doc_id=OTHER, payload=b"\1\2\0", type=OperationType.TEXT, target=())
    await add(store, raw)
    loaded = await store.load(OTHER)
    assert loaded is not None
    assert loaded.snapshot.content == b"\0\xff"
    assert loaded.operations == (raw,)


async def test_operations_come_back_as_they_went(store: StateStore) -> None:
    effect = (Change(("k",), [1, {"a": None}]), Change(("j",), removed=True))
    sent = [
        operation(1),
        operation(2, effect=effect, status=OperationStatus.RESOLVED, client_id="b1", client_seq=1),
        operation(3, effect=(), status=OperationStatus.CONFLICT, client_seq=2, payload=None),
    ]
    for made in sent:
        await add(store, made)
    assert await store.operations(DOC, 0, 10) == sent
    assert await store.operations(DOC, 1, 1) == sent[1:2]
    assert await store.operations(DOC, 3, 10) == []
    assert await store.operation(DOC, "b1", 1) == sent[1]
    assert await store.operation(DOC, "b1", 2) is None
    assert await store.mark(DOC, "a1") == ClientMark("anna", 2)
    assert await store.mark(DOC, "zz") is None
    document = await store.document(DOC)
    assert document is not None
    assert document.version == 3


async def test_only_the_next_operation_is_kept(store: StateStore) -> None:
    await add(store, operation(1))
    for wrong in (
        operation(1, client_seq=2),
        operation(3),
        operation(2, client_seq=1),
        operation(1, doc_id=OTHER),
    ):
        with pytest.raises(ServiceUnavailable):
            await add(store, wrong)
    await add(store, operation(2))
    assert await store.operations(DOC, 0, 10) == [operation(1), operation(2)]
    assert await store.mark(DOC, "a1") == ClientMark("anna", 2)


async def test_writes_given_at_once_are_kept_in_order(store: StateStore) -> None:
    await store.create(replace(DOCUMENT, id=OTHER), {})
    waiting = []
    for version in range(1, 101):
        for doc in (DOC, OTHER):
            kept = store.append(Append(operation(version, doc_id=doc)))
            if kept is not None:
                waiting.append(kept)
    await asyncio.gather(*waiting)
    for doc in (DOC, OTHER):
        found = await store.operations(doc, 0, 200)
        assert [o.version for o in found] == list(range(1, 101))


async def test_a_refused_log_does_not_take_another_with_it(store: StateStore) -> None:
    await store.create(replace(DOCUMENT, id=OTHER), {})
    entries = [operation(1, doc_id=OTHER), operation(2), operation(3), operation(2, doc_id=OTHER)]
    failed = []
    for made in entries:
        try:
            await add(store, made)
        except ServiceUnavailable:
            failed.append(made)
    assert failed == entries[1:3]
    assert len(await store.operations(OTHER, 0, 10)) == 2
    assert await store.operations(DOC, 0, 10) == []


async def test_a_write_under_a_lost_lock_is_refused(store: StateStore) -> None:
    lock = Lock(DOC, ("k",), "anna", "s", 7, 1, 2)
    await store.save_lock(lock)
    await add(store, operation(1, fencing_token=7))
    loaded = await store.load(DOC)
    assert loaded is not None
    assert (loaded.locks, loaded.last_token) == ((lock,), 7)
    renewed = replace(lock, expires_at_ns=9)
    await store.save_lock(renewed)
    await store.drop_locks(DOC, [7, 8])
    with pytest.raises(ServiceUnavailable):
        await add(store, operation(2, fencing_token=7))
    loaded = await store.load(DOC)
    assert loaded is not None
    assert (loaded.locks, loaded.last_token) == ((), 7)
    await add(store, operation(2))


async def test_settings_are_replaced_by_revision_and_leave_the_version(store: StateStore) -> None:
    await add(store, operation(1))
    changed = replace(DOCUMENT, name="new", revision=2, state=DocumentState.ARCHIVED)
    assert await store.update(changed, 1)
    assert not await store.update(replace(changed, name="late"), 1)
    assert not await store.update(replace(changed, id=OTHER), 1)
    assert await store.document(DOC) == replace(changed, version=1)


async def test_documents_are_listed_to_those_who_may_read(store: StateStore) -> None:
    deleted = replace(DOCUMENT, id=OTHER, state=DocumentState.DELETED)
    public = replace(DOCUMENT, id=DOC[:-1] + "3", permissions=Permissions("zoe", public=True))
    await store.create(deleted, {})
    await store.create(public, {})

    async def seen(reader: str | None, where: DocumentFilter) -> list[str]:
        page, total = await store.documents(where, reader, "", 10)
        assert total == len(page)
        return [d.id[-1] for d in page]

    everything, gone = DocumentFilter(), DocumentFilter(state=DocumentState.DELETED)
    assert await seen(None, everything) == ["1", "3"]
    for reader, open_ones, deleted_ones in (
        ("anna", ["1", "3"], ["2"]),
        ("ben", ["1", "3"], []),
        ("vic", ["1", "3"], []),
        ("eve", ["3"], []),
        ("zoe", ["3"], []),
    ):
        assert await seen(reader, everything) == open_ones
        assert await seen(reader, gone) == deleted_ones
    lone = replace(DOCUMENT, permissions=Permissions("anna"), revision=2)
    assert await store.update(lone, 1)
    assert await seen("ben", everything) == ["3"]
    page, total = await store.documents(everything, None, "", 1)
    assert ([d.id for d in page], total) == ([DOC], 2)
    page, total = await store.documents(everything, None, DOC, 1)
    assert ([d.id for d in page], total) == ([public.id], 2)
    assert await seen("anna", DocumentFilter(type=DocumentType.TEXT)) == []
    assert await seen("anna", DocumentFilter(created_by="anna")) == ["1", "3"]


async def test_a_conflict_is_kept_with_its_operation_and_replaced_by_its_id(
    store: StateStore,
) -> None:
    lost = (Loss(("k",), {"a": 1}, False, "ben", 1), Loss(("j",), None, True, "ben", 1))
    first = Conflict("c-1", DOC, operation(1, payload=b"raw"), (0,), "manual", lost, 5)
    second = Conflict("c-2", DOC, operation(2), (1,), "merge", (), 5, 6, "merge", 2)
    await add(store, operation(1), first)
    await add(store, operation(2), second)
    assert await store.conflicts(DOC, False, 10) == [second, first]
    assert await store.conflicts(DOC, False, 1) == [second]
    assert await store.conflicts(DOC, True, 10) == [first]
    assert await store.conflict(DOC, "c-1") == first
    assert await store.conflict(OTHER, "c-1") is None
    assert await store.conflict_of(DOC, "op-2") == second
    assert await store.conflict_of(DOC, "op-9") is None
    done = replace(first, resolved_at_ns=8, resolved_by="anna", resolved_version=3)
    await add(store, operation(3), done)
    assert await store.conflict(DOC, "c-1") == done
    assert await store.conflicts(DOC, True, 10) == []


async def test_opening_starts_from_the_newest_snapshot(store: StateStore) -> None:
    for version in range(1, 21):
        await add(store, operation(version))
        if version % 2 == 0:
            await store.save_snapshot(DOC, StoredSnapshot(version, {"at": version}))
    await store.save_snapshot(DOC, StoredSnapshot(21, {"never": "written"}))
    await add(store, operation(21))
    loaded = await store.load(DOC)
    assert loaded is not None
    assert loaded.snapshot == StoredSnapshot(20, {"at": 20})
    assert [o.version for o in loaded.operations] == [21]
    assert await store.snapshot_at(DOC, 19) == StoredSnapshot(18, {"at": 18})
    assert await store.snapshot_at(DOC, 3) == StoredSnapshot(0, {"k": {}})
    assert await store.snapshot_at(OTHER, 3) is None


async def test_totals_count_everything(store: StateStore) -> None:
    await store.create(replace(DOCUMENT, id=OTHER, state=DocumentState.ARCHIVED), {})
    await store.create(replace(DOCUMENT, id=DOC[:-1] + "3", state=DocumentState.DELETED), {})
    await add(store, operation(1), Conflict("c-1", DOC, operation(1), (), "manual", (), 5))
    await add(store, operation(2), Conflict("c-2", DOC, operation(2), (), "merge", (), 5, 6))
    await store.save_lock(Lock(DOC, (), "anna", "s", 1, 1, 2))
    assert await store.totals() == Totals(2, 1, 1, 2, 2, 1, 1)


async def test_what_a_caller_changes_later_is_not_what_was_kept(store: StateStore) -> None:
    content = {"list": [1]}
    await store.create(replace(DOCUMENT, id=OTHER), content)  # type: ignore[arg-type]
    content["list"].append(2)
    loaded = await store.load(OTHER)
    assert loaded is not None
    assert loaded.snapshot.content == {"list": [1]}


async def test_sqlite_keeps_everything_across_processes(tmp_path: Path) -> None:
    kind, path = STORES.load("sqlite"), str(tmp_path / "deep" / "documents.db")
    first = kind(path)
    assert first.durability is Durability.D2
    await first.open()
    await first.create(DOCUMENT, {"k": 1})
    pending = [first.append(Append(operation(version))) for version in range(1, 50)]
    await first.close()
    assert all(kept is not None and kept.done() for kept in pending)
    with pytest.raises(ServiceUnavailable, match="closed"):
        first.append(Append(operation(50)))
    second = kind(path)
    await second.open()
    loaded = await second.load(DOC)
    assert loaded is not None
    assert loaded.document == replace(DOCUMENT, version=49)
    assert len(loaded.operations) == 49
    await second.close()


async def test_sqlite_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    kind = STORES.load("sqlite")
    with pytest.raises(ValueError, match="location"):
        kind("")
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"this is not a database, it is a text file of some length" * 10)
    for wrong in (rubbish, tmp_path):
        with pytest.raises(ServiceUnavailable, match="cannot open"):
            await kind(str(wrong)).open()
