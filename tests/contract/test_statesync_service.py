"""What a state service does, in process or behind gRPC, in memory or on disk."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from statesync.api import (
    Acknowledgement,
    Actor,
    AlreadyExists,
    AlreadyResolved,
    BaseAhead,
    ConflictNotFound,
    DocumentChange,
    DocumentFilter,
    DocumentNotFound,
    DocumentState,
    DocumentType,
    Durability,
    Event,
    EventType,
    InvalidArgument,
    InvalidOperation,
    Keep,
    Locked,
    LogCompacted,
    NewDocument,
    NotWritable,
    OperationStatus,
    OperationType,
    PermissionDenied,
    Permissions,
    Resolution,
    RevisionMismatch,
    SequenceGap,
    SequenceReused,
    StaleLock,
    StampAhead,
    StateSyncError,
    Subscription,
    TooLarge,
    TooMany,
)
from statesync.config import StateSyncConfig
from statesync.strategies.text import TextContent, plain_text
from tests.support.services import (
    ADMIN,
    ANNA,
    BEN,
    EVE,
    NOW_MS,
    Documents,
    Editor,
    documents,
)

FORMS = ["local-memory", "local-sqlite", "grpc-memory"]
UNKNOWN = "01890000-0000-7000-8000-000000000000"
CONFIG = StateSyncConfig(
    snapshot_every=10,
    history=8,
    max_base_lag=40,
    max_operation_bytes=2000,
    max_document_bytes=10_000,
    max_batch=50,
    max_subscribers=5,
    subscriber_queue=4,
    max_open_documents=3,
)
UPDATE, CREATE, DELETE = OperationType.UPDATE, OperationType.CREATE, OperationType.DELETE


@pytest.fixture(params=FORMS)
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Documents]:
    async with documents(request.param, tmp_path, CONFIG) as opened:
        yield opened


async def content(door: Documents, doc_id: str) -> object:
    return (await door.service.get_document(ANNA, doc_id)).content


async def take(stream: Subscription, count: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(count)]


# Documents.


async def test_a_document_is_created_read_and_listed(door: Documents) -> None:
    made = await door.service.create_document(
        ANNA,
        NewDocument(
            "plan",
            DocumentType.CANVAS,
            {"shapes": {"a": {"x": 1}}},
            permissions=Permissions(viewers=frozenset({"ben"})),
            description="ours",
            tags=("red", "blue"),
            properties={"k": "v"},
        ),
    )
    assert (made.version, made.revision, made.state) == (0, 1, DocumentState.ACTIVE)
    assert made.permissions.owner == "anna"
    assert made.strategy == "last_writer_wins"
    snapshot = await door.service.get_document(BEN, made.id)
    assert snapshot.document == made
    assert snapshot.content == {"shapes": {"a": {"x": 1}}}
    assert snapshot.text is None
    assert (await door.service.list_documents(BEN)).documents == (made,)
    assert (await door.service.list_documents(EVE)).total == 0
    assert (await door.service.list_documents(ADMIN)).total == 1


async def test_pages_of_documents_are_in_order_and_filtered(door: Documents) -> None:
    made = [await door.create() for _ in range(5)]
    sheet = await door.create(kind=DocumentType.SHEET)
    first = await door.service.list_documents(ANNA, limit=4)
    second = await door.service.list_documents(ANNA, after=first.next_after, limit=4)
    assert [d.id for d in first.documents + second.documents] == sorted(
        d.id for d in [*made, sheet]
    )
    assert (first.total, second.next_after) == (6, "")
    found = await door.service.list_documents(ANNA, DocumentFilter(type=DocumentType.SHEET))
    assert found.documents == (sheet,)
    assert (await door.service.list_documents(ANNA, DocumentFilter(created_by="ben"))).total == 0


async def test_creating_again_under_the_same_id_answers_the_first(door: Documents) -> None:
    new = NewDocument("a", DocumentType.SHEET, document_id=UNKNOWN)
    first = await door.service.create_document(ANNA, new)
    assert first.id == UNKNOWN
    assert await door.service.create_document(ANNA, new) == first
    with pytest.raises(AlreadyExists):
        await door.service.create_document(BEN, new)


async def test_settings_change_by_revision_and_by_the_owner_alone(door: Documents) -> None:
    made = await door.create()
    changed = await door.service.update_document(
        ANNA, made.id, DocumentChange(name="new", tags=("x",)), expected_revision=1
    )
    assert (changed.name, changed.tags, changed.revision) == ("new", ("x",), 2)
    with pytest.raises(RevisionMismatch) as refused:
        await door.service.update_document(
            ANNA, made.id, DocumentChange(name="newer"), expected_revision=1
        )
    assert refused.value.detail == {"revision": "2"}
    with pytest.raises(PermissionDenied):
        await door.service.update_document(BEN, made.id, DocumentChange(name="mine"))
    assert (await door.service.get_document(ANNA, made.id)).document.name == "new"


async def test_an_archived_document_is_read_and_not_written(door: Documents) -> None:
    made = await door.create()
    ben = Editor(made, "b1")
    first = ben.put("k", value=1)
    await door.service.apply(BEN, first)
    archive = DocumentChange(state=DocumentState.ARCHIVED)
    await door.service.update_document(ANNA, made.id, archive)
    with pytest.raises(NotWritable):
        await door.service.apply(BEN, ben.put("k", value=2))
    with pytest.raises(NotWritable):
        await door.service.acquire_lock(BEN, made.id)
    assert (await door.service.apply(BEN, first)).duplicate
    assert await content(door, made.id) == {"k": 1}
    await door.service.update_document(ANNA, made.id, DocumentChange(state=DocumentState.ACTIVE))
    ben.seq = 1
    await door.service.apply(BEN, ben.put("k", value=3))


async def test_a_deleted_document_is_gone_for_all_but_its_owner(door: Documents) -> None:
    made = await door.create(public=True)
    with pytest.raises(PermissionDenied):
        await door.service.delete_document(BEN, made.id)
    gone = await door.service.delete_document(ANNA, made.id)
    assert gone.state is DocumentState.DELETED
    assert (await door.service.delete_document(ANNA, made.id)).revision == gone.revision
    with pytest.raises(PermissionDenied):
        await door.service.get_document(BEN, made.id)
    with pytest.raises(NotWritable):
        await door.service.apply(ANNA, Editor(made, "a1").put("k", value=1))
    assert (await door.service.list_documents(ANNA)).total == 0
    deleted = DocumentFilter(state=DocumentState.DELETED)
    assert (await door.service.list_documents(ANNA, deleted)).total == 1
    assert (await door.service.list_documents(BEN, deleted)).total == 0


async def test_permissions_stop_reads_writes_locks_and_subscriptions(door: Documents) -> None:
    made = await door.create({"k": 0}, editors=("ben",), viewers=("vic",))
    viewer = Actor("vic")
    await door.service.get_document(viewer, made.id)
    for actor in (viewer, EVE):
        with pytest.raises(PermissionDenied):
            await door.service.apply(actor, Editor(made, "x").put("k", value=1))
        with pytest.raises(PermissionDenied):
            await door.service.acquire_lock(actor, made.id)
    with pytest.raises(PermissionDenied):
        await door.service.get_document(EVE, made.id)
    with pytest.raises(PermissionDenied):
        await door.service.subscribe(EVE, made.id)
    with pytest.raises(PermissionDenied):
        await door.service.operations_since(EVE, made.id, 0)
    with pytest.raises(PermissionDenied):
        await door.service.locks(EVE, made.id)
    with pytest.raises(PermissionDenied):
        await door.service.conflicts(EVE, made.id)
    assert await content(door, made.id) == {"k": 0}


# Operations.


async def test_every_kind_of_operation_does_what_it_says(door: Documents) -> None:
    made = await door.create({"shapes": {}})
    anna = Editor(made, "a1")
    shape = ("shapes", "s1")
    steps = [
        anna.edit(CREATE, shape, {"kind": "box", "x": 0, "y": 0}),
        anna.edit(OperationType.MOVE, shape, {"x": 5, "y": 7.5}, base=1),
        anna.edit(OperationType.RESIZE, shape, {"width": 10}, base=2),
        anna.edit(OperationType.STYLE, shape, {"fill": "red", "line": 2}, base=3),
        anna.edit(OperationType.STYLE, shape, {"line": None}, base=4),
        anna.put(*shape, "note", value=["any", {"json": None}], base=5),
        anna.edit(CREATE, ("shapes", "s2"), 1, base=6),
        anna.edit(DELETE, ("shapes", "s2"), base=7),
    ]
    for version, step in enumerate(steps, 1):
        answer = await door.service.apply(ANNA, step)
        assert (answer.version, answer.status) == (version, OperationStatus.APPLIED)
        assert not answer.duplicate
    assert await content(door, made.id) == {
        "shapes": {
            "s1": {
                "kind": "box",
                "x": 5,
                "y": 7.5,
                "width": 10,
                "style": {"fill": "red"},
                "note": ["any", {"json": None}],
            }
        }
    }
    await door.service.apply(ANNA, anna.put(value={"fresh": True}, base=8))
    assert await content(door, made.id) == {"fresh": True}


@pytest.mark.parametrize(
    ("kind", "target", "payload", "says"),
    [
        (CREATE, ("here",), 1, "exists already"),
        (CREATE, (), {}, "needs a target"),
        (UPDATE, (), 5, "replaced by an object"),
        (UPDATE, ("here", "below"), 5, "not an object"),
        (DELETE, ("nowhere",), None, "does not exist"),
        (DELETE, ("here",), 1, "no payload"),
        (OperationType.MOVE, ("nowhere",), {"x": 1}, "does not exist"),
        (OperationType.MOVE, ("here",), {"x": 1}, "not an object"),
        (OperationType.MOVE, ("box",), {"width": 1}, "knows x, y, z"),
        (OperationType.MOVE, ("box",), {"x": "1"}, "must be a number"),
        (OperationType.MOVE, ("box",), {"x": True}, "must be a number"),
        (OperationType.MOVE, ("box",), {}, "at least one key"),
        (OperationType.RESIZE, ("box",), {"x": 1}, "knows height, width"),
        (OperationType.STYLE, ("box",), [1], "must be an object"),
        (OperationType.TEXT, (), b"\0\0", "text documents"),
        (UPDATE, ("box",), b"raw", "text documents"),
    ],
)
async def test_an_operation_that_does_not_fit_is_refused_and_uses_no_sequence(
    door: Documents, kind: OperationType, target: tuple[str, ...], payload: object, says: str
) -> None:
    made = await door.create({"here": 0, "box": {}})
    anna = Editor(made, "a1")
    with pytest.raises(InvalidOperation, match=says) as refused:
        await door.service.apply(ANNA, anna.edit(kind, target, payload))  # type: ignore[arg-type]
    assert "\n" not in refused.value.reason
    anna.seq = 0
    assert (await door.service.apply(ANNA, anna.put("here", value=1))).version == 1


async def test_sending_again_answers_the_first_outcome(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    sent = [anna.put("k", value=n, base=n) for n in range(30)]
    first = [await door.service.apply(ANNA, operation) for operation in sent]
    for operation, answer in zip(sent, first, strict=True):
        again = await door.service.apply(ANNA, operation)
        assert again == replace(answer, duplicate=True)
    restamped = replace(sent[3], stamp=replace(sent[3].stamp, counter=9))
    assert (await door.service.apply(ANNA, restamped)).version == 4
    assert (await door.service.get_document(ANNA, made.id)).version == 30


async def test_the_same_sequence_with_other_content_is_an_error(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    await door.service.apply(ANNA, anna.put("k", value=1))
    for other in (anna.put("k", value=True), anna.put("j", value=1), anna.edit(DELETE, ("k",))):
        with pytest.raises(SequenceReused):
            await door.service.apply(ANNA, replace(other, client_seq=1))
    assert await content(door, made.id) == {"k": 1}


async def test_a_gap_in_the_sequence_is_refused_with_what_is_expected(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    skipped = anna.put("k", value=1)
    with pytest.raises(SequenceGap) as refused:
        await door.service.apply(ANNA, anna.put("k", value=2))
    assert refused.value.detail == {"expected": "1"}
    await door.service.apply(ANNA, skipped)


async def test_a_client_id_belongs_to_its_user(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "shared")
    await door.service.apply(ANNA, anna.put("k", value=1))
    with pytest.raises(PermissionDenied, match="belongs to another"):
        await door.service.apply(BEN, anna.put("k", value=2))


async def test_operations_together_keep_their_order_and_fail_one_by_one(door: Documents) -> None:
    made = await door.create()
    anna, ben = Editor(made, "a1"), Editor(made, "a2")
    batch = [
        anna.put("a", value=1),
        ben.put("b", value=1),
        anna.edit(DELETE, ("nowhere",)),
        anna.put("c", value=1),
        ben.put("d", value=1),
    ]
    outcomes = await door.service.apply_many(ANNA, batch)
    kinds = [o.version if isinstance(o, Acknowledgement) else type(o) for o in outcomes]
    assert kinds == [1, 2, InvalidOperation, SequenceGap, 3]
    assert await content(door, made.id) == {"a": 1, "b": 1, "d": 1}
    with pytest.raises(InvalidArgument, match="at most 50"):
        await door.service.apply_many(ANNA, [batch[0]] * 51)


async def test_operations_sent_at_once_are_all_applied_in_order(door: Documents) -> None:
    made = await door.create()
    editors = [Editor(made, f"c{n}") for n in range(5)]
    sent = [editor.put(editor.client_id, value=n) for n in range(8) for editor in editors]
    answers = await asyncio.gather(*(door.service.apply(ANNA, o) for o in sent))
    assert sorted(a.version for a in answers) == list(range(1, 41))
    for editor in editors:
        mine = [a.version for a in answers if a.client_id == editor.client_id]
        assert mine == sorted(mine)
    assert await content(door, made.id) == {f"c{n}": 7 for n in range(5)}


async def test_the_log_is_read_in_order_from_memory_and_from_the_store(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    for n in range(25):
        await door.service.apply(ANNA, anna.put("k", value=n, base=n))
    page = await door.service.operations_since(ANNA, made.id, 3, limit=10)
    assert [o.version for o in page.operations] == list(range(4, 14))
    assert (page.version, page.epoch) == (25, made.epoch)
    newest = await door.service.operations_since(ANNA, made.id, 20)
    assert [o.payload for o in newest.operations] == [20, 21, 22, 23, 24]
    assert all(o.user_id == "anna" and o.session_id == "s-anna" for o in newest.operations)
    assert (await door.service.operations_since(ANNA, made.id, 25)).operations == ()
    assert (await door.service.operations_since(ANNA, made.id, 99)).operations == ()


async def test_a_document_is_read_as_it_was_at_any_version(door: Documents) -> None:
    made = await door.create({"k": -1})
    anna = Editor(made, "a1")
    for n in range(35):
        await door.service.apply(ANNA, anna.put("k", value=n, base=n))
    for version in (0, 1, 9, 10, 11, 34, 35):
        past = await door.service.get_document(ANNA, made.id, at_version=version)
        assert (past.version, past.content) == (version, {"k": version - 1})
    with pytest.raises(InvalidArgument, match="at_version"):
        await door.service.get_document(ANNA, made.id, at_version=36)


async def test_an_acknowledgement_names_its_durability(tmp_path: Path) -> None:
    for form, level in (("grpc-memory", Durability.D0), ("grpc-sqlite", Durability.D2)):
        async with documents(form, tmp_path, CONFIG) as door:
            made = await door.create()
            answer = await door.service.apply(ANNA, Editor(made, "a1").put("k", value=1))
            assert (answer.durability, answer.epoch) == (level, made.epoch)


async def test_a_store_that_gives_less_than_configured_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="D1 is configured, this store gives D0"):
        async with documents("local-memory", tmp_path, replace(CONFIG, durability=Durability.D1)):
            pass


# Conflicts.


async def test_edits_of_different_places_do_not_conflict(door: Documents) -> None:
    made = await door.create({"s": {"x": 0, "y": 0}})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.edit(OperationType.MOVE, ("s",), {"x": 1}))
    answer = await door.service.apply(BEN, ben.edit(OperationType.STYLE, ("s",), {"fill": "red"}))
    assert answer.status is OperationStatus.APPLIED
    assert await content(door, made.id) == {"s": {"x": 1, "y": 0, "style": {"fill": "red"}}}
    assert await door.service.conflicts(ANNA, made.id) == ()


@pytest.mark.parametrize(("ben_ms", "stands", "lost"), [(5, "ben", "anna"), (-5, "anna", "ben")])
async def test_the_later_stamp_stands_and_the_loser_is_recorded(
    door: Documents, ben_ms: int, stands: str, lost: str
) -> None:
    made = await door.create({"title": "old"})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.put("title", value="anna"))
    answer = await door.service.apply(BEN, ben.put("title", value="ben", at_ms=ben_ms))
    assert (answer.version, answer.status) == (2, OperationStatus.RESOLVED)
    assert await content(door, made.id) == {"title": stands}
    (conflict,) = await door.service.conflicts(ANNA, made.id)
    assert conflict.id == answer.conflict_id
    assert (conflict.against, conflict.is_pending) == ((1,), False)
    (loss,) = conflict.lost
    assert (loss.path, loss.value, loss.user_id) == (("title",), lost, lost)
    assert await door.service.conflicts(ANNA, made.id, pending_only=True) == ()
    with pytest.raises(AlreadyResolved):
        await door.service.resolve_conflict(ANNA, made.id, conflict.id, Resolution(Keep.INCOMING))


async def test_a_deletion_and_an_edit_beneath_it_conflict(door: Documents) -> None:
    made = await door.create({"s": {"x": 0}})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.edit(DELETE, ("s",)))
    late = await door.service.apply(BEN, ben.edit(OperationType.MOVE, ("s",), {"x": 9}, at_ms=-5))
    assert late.effect == ()
    assert await content(door, made.id) == {}
    back = await door.service.apply(BEN, ben.edit(OperationType.MOVE, ("s",), {"x": 8}, at_ms=5))
    assert back.status is OperationStatus.RESOLVED
    assert await content(door, made.id) == {"s": {"x": 8}}
    assert [c.lost[0].removed for c in await door.service.conflicts(ANNA, made.id)] == [
        True,
        False,
    ]


async def test_a_base_older_than_memory_still_finds_its_conflict(door: Documents) -> None:
    made = await door.create({"title": "old"})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.put("title", value="anna"))
    for n in range(25):
        await door.service.apply(ANNA, anna.put("n", value=n, base=n + 1))
    answer = await door.service.apply(BEN, ben.put("title", value="ben", at_ms=5))
    assert answer.status is OperationStatus.RESOLVED
    (conflict,) = await door.service.conflicts(ANNA, made.id)
    assert conflict.against == (1,)
    quiet = await door.service.apply(BEN, ben.put("other", value=1))
    assert quiet.status is OperationStatus.APPLIED
    for n in range(20):
        await door.service.apply(ANNA, anna.put("n", value=n, base=28 + n))
    with pytest.raises(LogCompacted, match="behind"):
        await door.service.apply(BEN, ben.put("title", value="too late"))


async def test_the_merge_strategy_keeps_both_sides(door: Documents) -> None:
    made = await door.create({"card": {"title": "old", "size": 1}}, strategy="merge")
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.put("card", value={"title": "new", "size": 1}))
    clean = await door.service.apply(
        BEN, ben.put("card", value={"title": "old", "size": 2, "tag": "x"})
    )
    assert clean.status is OperationStatus.RESOLVED
    assert await content(door, made.id) == {"card": {"title": "new", "size": 2, "tag": "x"}}
    assert await door.service.conflicts(ANNA, made.id) == ()
    torn = await door.service.apply(BEN, ben.put("card", "title", value="ben", at_ms=9))
    assert await content(door, made.id) == {"card": {"title": "ben", "size": 2, "tag": "x"}}
    (conflict,) = await door.service.conflicts(ANNA, made.id)
    assert conflict.id == torn.conflict_id
    assert [(x.path, x.value) for x in conflict.lost] == [(("card", "title"), "new")]


@pytest.mark.parametrize(
    ("resolution", "stands"),
    [
        (Resolution(Keep.CURRENT), "anna"),
        (Resolution(Keep.INCOMING), "ben"),
        (Resolution(Keep.VALUE, "both"), "both"),
    ],
)
async def test_a_manual_conflict_waits_for_a_person(
    door: Documents, resolution: Resolution, stands: str
) -> None:
    made = await door.create({"title": "old"}, strategy="manual")
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    await door.service.apply(ANNA, anna.put("title", value="anna"))
    sent = ben.put("title", value="ben")
    answer = await door.service.apply(BEN, sent)
    assert (answer.status, answer.effect) == (OperationStatus.CONFLICT, ())
    assert await content(door, made.id) == {"title": "anna"}
    assert (await door.service.apply(BEN, sent)).conflict_id == answer.conflict_id
    (waiting,) = await door.service.conflicts(ANNA, made.id, pending_only=True)
    assert (waiting.id, waiting.incoming.payload) == (answer.conflict_id, "ben")
    with pytest.raises(ConflictNotFound):
        await door.service.resolve_conflict(ANNA, made.id, UNKNOWN, resolution)
    with pytest.raises(PermissionDenied):
        await door.service.resolve_conflict(EVE, made.id, waiting.id, resolution)
    done = await door.service.resolve_conflict(ANNA, made.id, waiting.id, resolution)
    assert (done.is_pending, done.resolved_by, done.resolved_version) == (False, "anna", 3)
    assert await content(door, made.id) == {"title": stands}
    with pytest.raises(AlreadyResolved):
        await door.service.resolve_conflict(ANNA, made.id, waiting.id, resolution)
    assert await door.service.conflicts(ANNA, made.id) == (done,)
    stats = await door.service.statistics()
    assert (stats.total_conflicts, stats.resolved_conflicts) == (1, 1)


async def test_a_stamp_too_far_ahead_is_refused_with_the_servers_time(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    early = anna.put("k", value=1, at_ms=501)
    with pytest.raises(StampAhead) as refused:
        await door.service.apply(ANNA, early)
    assert refused.value.detail == {"server_wall_ms": str(NOW_MS)}
    restamped = replace(early, stamp=replace(early.stamp, wall_ms=NOW_MS + 500))
    assert (await door.service.apply(ANNA, restamped)).version == 1


async def test_a_base_that_was_never_reached_is_refused(door: Documents) -> None:
    made = await door.create()
    with pytest.raises(BaseAhead) as refused:
        await door.service.apply(ANNA, Editor(made, "a1").put("k", value=1, base=1))
    assert refused.value.detail == {"version": "0"}


# Text.


async def test_concurrent_text_converges_without_conflict(door: Documents) -> None:
    made = await door.create("Boб😀 ", kind=DocumentType.TEXT)
    assert made.strategy == "text"
    start = await door.service.get_document(ANNA, made.id)
    assert start.text == "Boб😀 "
    assert isinstance(start.content, bytes)
    anna, ben = TextContent(start.content), TextContent(start.content)
    anna_ops, ben_ops = Editor(made, "a1"), Editor(made, "b1")
    for text in ("one ", "two "):
        update = anna.edit(5, 0, text)
        await door.service.apply(ANNA, anna_ops.edit(OperationType.TEXT, (), update))
    await door.service.apply(BEN, ben_ops.edit(OperationType.TEXT, (), ben.edit(3, 1, "€")))
    log = await door.service.operations_since(ANNA, made.id, 0)
    for replica, own in ((anna, "a1"), (ben, "b1")):
        for operation in log.operations:
            if operation.client_id != own:
                assert isinstance(operation.payload, bytes)
                replica.apply(operation.payload)
    end = await door.service.get_document(ANNA, made.id)
    assert anna.text() == ben.text() == end.text == "Boб€ two one "
    assert isinstance(end.content, bytes)
    assert plain_text(end.content) == end.text
    assert await door.service.conflicts(ANNA, made.id) == ()


async def test_a_text_update_that_is_broken_or_unfounded_is_refused(door: Documents) -> None:
    made = await door.create("abc", kind=DocumentType.TEXT)
    start = await door.service.get_document(ANNA, made.id)
    assert isinstance(start.content, bytes)
    replica = TextContent(start.content)
    first, second = replica.edit(0, 0, "x"), replica.edit(1, 0, "y")
    anna = Editor(made, "a1")
    for wrong in (b"", b"\xff" * 20, second, first[:-1], first + b"\0"):
        anna.seq = 0
        with pytest.raises(InvalidOperation):
            await door.service.apply(ANNA, anna.edit(OperationType.TEXT, (), wrong))
    anna.seq = 0
    with pytest.raises(InvalidOperation, match="Yjs update"):
        await door.service.apply(ANNA, anna.put("k", value=1))
    anna.seq = 0
    await door.service.apply(ANNA, anna.edit(OperationType.TEXT, (), first))
    await door.service.apply(ANNA, anna.edit(OperationType.TEXT, (), second))
    assert (await door.service.get_document(ANNA, made.id)).text == "xyabc"


async def test_a_forged_update_that_spoils_its_replica_costs_nobody_anything(
    door: Documents,
) -> None:
    made = await door.create(kind=DocumentType.TEXT)
    author, anna, eve = TextContent(client_id=7), Editor(made, "a1"), Editor(made, "b1")
    for text in ("hello world", "xx", "zz"):
        update = author.edit(0, 0, text)
        await door.service.apply(ANNA, anna.edit(OperationType.TEXT, (), update))
    # Well-formed: an insertion whose parent is a letter.
    forged = bytes([1, 1, 7, 15, 7, 7, 7, 8, 1, 1, 7, 1, 2, 6])
    good = anna.edit(OperationType.TEXT, (), author.edit(0, 0, "still "))
    refused, _ = await asyncio.gather(
        door.service.apply(BEN, eve.edit(OperationType.TEXT, (), forged)),
        door.service.apply(ANNA, good),
        return_exceptions=True,
    )
    assert isinstance(refused, InvalidOperation), refused
    await door.service.apply(ANNA, good)
    assert (await door.service.get_document(ANNA, made.id)).text == "still zzxxhello world"


async def test_text_survives_its_snapshots(door: Documents) -> None:
    made = await door.create(kind=DocumentType.TEXT)
    replica, anna = TextContent(), Editor(made, "a1")
    for n in range(25):
        update = replica.edit(n, 0, chr(97 + n))
        await door.service.apply(ANNA, anna.edit(OperationType.TEXT, (), update))
    past = await door.service.get_document(ANNA, made.id, at_version=13)
    assert past.text == "abcdefghijklm"


# Locks.


async def test_a_lock_keeps_others_out_until_it_is_released(door: Documents) -> None:
    made = await door.create({"s": {"x": 0}, "t": 0})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    lock = await door.service.acquire_lock(ANNA, made.id, target=("s",))
    assert lock.fencing_token == 1
    assert await door.service.locks(BEN, made.id) == (lock,)
    with pytest.raises(Locked) as refused:
        await door.service.apply(BEN, ben.put("s", "x", value=1))
    assert refused.value.detail == {"user_id": "anna"}
    for overlapping in (("s",), ("s", "x"), ()):
        with pytest.raises(Locked):
            await door.service.acquire_lock(BEN, made.id, target=overlapping)
    ben.seq = 0
    await door.service.apply(BEN, ben.put("t", value=1))
    await door.service.apply(ANNA, anna.put("s", "x", value=2, token=1))
    with pytest.raises(Locked):
        await door.service.release_lock(BEN, made.id, lock.fencing_token)
    await door.service.release_lock(ANNA, made.id, lock.fencing_token)
    with pytest.raises(StaleLock):
        await door.service.release_lock(ANNA, made.id, lock.fencing_token)
    await door.service.apply(BEN, ben.put("s", "x", value=3, base=2))
    assert (await door.service.acquire_lock(BEN, made.id)).fencing_token == 2


async def test_a_stale_lock_is_refused(door: Documents) -> None:
    made = await door.create({"s": 0})
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    old = await door.service.acquire_lock(ANNA, made.id, ttl_s=10)
    door.clock.advance(11)
    new = await door.service.acquire_lock(BEN, made.id, ttl_s=10)
    assert new.fencing_token == old.fencing_token + 1
    with pytest.raises(StaleLock):
        await door.service.apply(ANNA, anna.put("s", value=1, token=old.fencing_token))
    anna.seq = 0
    with pytest.raises(StaleLock):
        await door.service.apply(ANNA, anna.put("s", value=1, token=new.fencing_token))
    await door.service.apply(BEN, ben.put("s", value=2, token=new.fencing_token))
    assert await content(door, made.id) == {"s": 2}


async def test_a_lock_is_renewed_under_its_token(door: Documents) -> None:
    made = await door.create()
    first = await door.service.acquire_lock(ANNA, made.id, ttl_s=10)
    door.clock.advance(9)
    again = await door.service.acquire_lock(ANNA, made.id, ttl_s=10)
    assert again.fencing_token == first.fencing_token
    assert again.expires_at_ns > first.expires_at_ns
    door.clock.advance(9)
    assert len(await door.service.locks(ANNA, made.id)) == 1
    other_device = replace(ANNA, session_id="s-anna-2")
    with pytest.raises(Locked):
        await door.service.acquire_lock(other_device, made.id)


async def test_a_wall_clock_that_is_set_gives_no_lock_twice(door: Documents) -> None:
    made = await door.create()
    await door.service.acquire_lock(ANNA, made.id, ttl_s=10)
    for jump in (3600, -7200):
        door.clock.set_wall(jump)
        with pytest.raises(Locked):
            await door.service.acquire_lock(BEN, made.id)
    door.clock.advance(11)
    await door.service.acquire_lock(BEN, made.id)


# Watching.


async def test_a_subscriber_sees_every_operation_once_and_in_order(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    async with await door.service.subscribe(BEN, made.id) as stream:
        assert stream.version == 0
        for n in range(3):
            await door.service.apply(ANNA, anna.put("k", value=n, base=n))
        events = await take(stream, 3)
    assert [e.type for e in events] == [EventType.OPERATION_APPLIED] * 3
    assert [e.version for e in events] == [1, 2, 3]
    assert [e.operation.payload for e in events if e.operation] == [0, 1, 2]
    assert all(e.user_id == "anna" for e in events)


async def test_a_subscriber_that_is_slow_misses_nothing(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    async with await door.service.subscribe(BEN, made.id) as stream:
        for n in range(60):
            await door.service.apply(ANNA, anna.put("k", value=n, base=n))
        events = await take(stream, 60)
        assert [e.version for e in events] == list(range(1, 61))
        await door.service.apply(ANNA, anna.put("k", value=60, base=60))
        assert [e.version for e in await take(stream, 1)] == [61]


async def test_a_subscriber_resumes_where_it_was(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    for n in range(30):
        await door.service.apply(ANNA, anna.put("k", value=n, base=n))
    async with await door.service.subscribe(BEN, made.id, from_version=12) as stream:
        await door.service.apply(ANNA, anna.put("k", value=30, base=30))
        assert [e.version for e in await take(stream, 19)] == list(range(13, 32))


async def test_a_subscriber_from_the_future_is_told_to_start_over(door: Documents) -> None:
    made = await door.create({"k": 1})
    async with await door.service.subscribe(BEN, made.id, from_version=7) as stream:
        (event,) = await take(stream, 1)
        assert event.type is EventType.RESYNC
        assert event.snapshot is not None
        assert (event.snapshot.version, event.snapshot.content) == (0, {"k": 1})
        await door.service.apply(ANNA, Editor(made, "a1").put("k", value=2))
        assert [e.version for e in await take(stream, 1)] == [1]


async def test_presence_is_told_to_those_who_are_there(door: Documents) -> None:
    made = await door.create(viewers=("vic",))
    async with await door.service.subscribe(ANNA, made.id) as stream:
        ben = await door.service.subscribe(BEN, made.id)
        twice = await door.service.subscribe(BEN, made.id)
        (joined,) = await take(stream, 1)
        assert (joined.type, joined.user_id) == (EventType.USER_JOINED, "ben")
        snapshot = await door.service.get_document(ANNA, made.id)
        assert snapshot.document.active_users == ("anna", "ben")
        assert (await door.service.statistics()).active_subscribers == 3
        await ben.aclose()
        await twice.aclose()
        (left,) = await take(stream, 1)
        assert (left.type, left.user_id) == (EventType.USER_LEFT, "ben")


async def test_settings_locks_and_conflicts_are_told(door: Documents) -> None:
    made = await door.create({"t": 0}, strategy="manual")
    anna, ben = Editor(made, "a1"), Editor(made, "b1")
    async with await door.service.subscribe(BEN, made.id) as stream:
        await door.service.update_document(ANNA, made.id, DocumentChange(name="new"))
        (updated,) = await take(stream, 1)
        assert updated.type is EventType.DOCUMENT_UPDATED
        assert updated.document is not None
        assert (updated.document.name, updated.document.revision) == ("new", 2)
        lock = await door.service.acquire_lock(ANNA, made.id, target=("u",), ttl_s=5)
        (acquired,) = await take(stream, 1)
        assert (acquired.type, acquired.lock) == (EventType.LOCK_ACQUIRED, lock)
        door.clock.advance(6)
        await door.local.sweep()
        (released,) = await take(stream, 1)
        assert (released.type, released.lock) == (EventType.LOCK_RELEASED, lock)
        await door.service.apply(ANNA, anna.put("t", value=1))
        waiting = await door.service.apply(BEN, ben.put("t", value=2))
        await door.service.resolve_conflict(
            ANNA, made.id, waiting.conflict_id, Resolution(Keep.INCOMING)
        )
        events = await take(stream, 5)
    assert [e.type for e in events] == [
        EventType.OPERATION_APPLIED,
        EventType.OPERATION_APPLIED,
        EventType.CONFLICT_DETECTED,
        EventType.OPERATION_APPLIED,
        EventType.CONFLICT_RESOLVED,
    ]
    assert events[2].conflict is not None
    assert events[2].conflict.id == waiting.conflict_id


async def test_who_loses_access_loses_the_subscription(door: Documents) -> None:
    made = await door.create()
    async with await door.service.subscribe(BEN, made.id) as stream:
        await door.service.update_document(
            ANNA, made.id, DocumentChange(permissions=Permissions("anna"))
        )
        with pytest.raises(PermissionDenied):
            await take(stream, 2)
    with pytest.raises(PermissionDenied):
        await door.service.subscribe(BEN, made.id)


async def test_a_closed_subscription_ends_its_reader(door: Documents) -> None:
    made = await door.create()
    stream = await door.service.subscribe(ANNA, made.id)
    reader = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    await stream.aclose()
    assert await reader is None
    assert await anext(stream, None) is None


async def test_subscribers_are_bounded(door: Documents) -> None:
    made = await door.create()
    streams = [await door.service.subscribe(ANNA, made.id) for _ in range(5)]
    with pytest.raises(TooMany):
        await door.service.subscribe(BEN, made.id)
    for stream in streams:
        await stream.aclose()


# Doors.


async def test_unknown_and_malformed_ids_are_told_apart(door: Documents) -> None:
    with pytest.raises(DocumentNotFound):
        await door.service.get_document(ANNA, UNKNOWN)
    with pytest.raises(InvalidArgument, match="must be a UUID"):
        await door.service.get_document(ANNA, "nonsense")
    with pytest.raises(InvalidArgument, match="must be a UUID"):
        await door.service.subscribe(ANNA, "")
    with pytest.raises(InvalidArgument, match="user_id is missing"):
        await door.service.create_document(Actor(""), NewDocument("a", DocumentType.SHEET))
    made = await door.create()
    upper = await door.service.apply(
        ANNA, replace(Editor(made, "a1").put("k", value=1), doc_id=made.id.upper())
    )
    assert upper.doc_id == made.id


@pytest.mark.parametrize(
    ("new", "error", "says"),
    [
        (NewDocument("", DocumentType.SHEET), InvalidArgument, "name is missing"),
        (NewDocument("a", DocumentType.SHEET, [1]), InvalidArgument, "starts from an object"),
        (NewDocument("a", DocumentType.SHEET, strategy="no"), InvalidArgument, "known: last_"),
        (NewDocument("a", DocumentType.SHEET, strategy="text"), InvalidArgument, "does not fit"),
        (NewDocument("a", DocumentType.TEXT, strategy="merge"), InvalidArgument, "does not fit"),
        (NewDocument("a", DocumentType.TEXT, 5), InvalidOperation, "starts from a string"),
        (NewDocument("a", DocumentType.TEXT, b"no"), InvalidOperation, "not a Yjs update"),
        (NewDocument("a", DocumentType.SHEET, {"k": "v" * 10_000}), TooLarge, "at most 10000"),
        (NewDocument("a", DocumentType.SHEET, document_id="x"), InvalidArgument, "UUID"),
        (NewDocument("a", DocumentType.SHEET, tags=("t",) * 65), InvalidArgument, "at most 64"),
    ],
)
async def test_a_wrong_new_document_is_refused_in_one_sentence(
    door: Documents, new: NewDocument, error: type[StateSyncError], says: str
) -> None:
    with pytest.raises(error, match=says) as refused:
        await door.service.create_document(ANNA, new)
    assert "\n" not in refused.value.reason
    assert (await door.service.list_documents(ADMIN)).total == 0


async def test_sizes_and_depths_are_bounded(door: Documents) -> None:
    made = await door.create()
    anna = Editor(made, "a1")
    with pytest.raises(TooLarge, match="at most 2000"):
        await door.service.apply(ANNA, anna.put("k", value="v" * 2000))
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    anna.seq = 0
    with pytest.raises(InvalidOperation, match="nested deeper"):
        await door.service.apply(ANNA, anna.put("k", value=deep))  # type: ignore[arg-type]
    anna.seq = 0
    with pytest.raises(InvalidArgument, match="33 keys"):
        await door.service.apply(ANNA, anna.put(*(["k"] * 33), value=1))
    anna.seq = 0
    for n in range(5):
        await door.service.apply(ANNA, anna.put(f"k{n}", value="v" * 1900, base=n))
    with pytest.raises(TooLarge, match="exceed its 10000"):
        await door.service.apply(ANNA, anna.put("k5", value="v" * 1900, base=5))
    anna.seq = 5
    await door.service.apply(ANNA, anna.edit(DELETE, ("k0",), base=5))
    await door.service.apply(ANNA, anna.put("k5", value="v" * 1900, base=6))


async def test_more_documents_than_fit_are_closed_and_opened_again(door: Documents) -> None:
    made = [await door.create({"n": n}) for n in range(6)]
    editors = [Editor(document, "a1") for document in made]
    for step in range(3):
        for editor in editors:
            await door.service.apply(ANNA, editor.put("s", value=step, base=step))
    for n, document in enumerate(made):
        assert await content(door, document.id) == {"n": n, "s": 2}
    stats = await door.service.statistics()
    assert (stats.total_documents, stats.total_operations) == (6, 18)
