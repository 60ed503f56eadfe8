import asyncio

import pytest

from gateway.messages import DocumentCreate, Envelope, Error, Event, Resync, Snapshot, Submit
from gateway.sdk import (
    ClientConfig,
    DocumentClosed,
    EditRefused,
    Happening,
    InvalidCall,
    RequestTimeout,
    TooManyPending,
)
from statesync.strategies.text import TextContent
from tests.support.fake_gateway import FakeGateway
from tests.support.sdk_clients import make_client, until


async def test_an_edit_shows_at_once_and_becomes_durable() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        edit = document.insert(0, "hello")
        assert (document.text, document.status) == ("hello", "saving")
        ack = await edit.durable()
        assert (ack.version, ack.durability, edit.version) == (1, "D2", 1)
        await document.synced()
        assert document.status == "saved"
        assert gateway.documents["notes"].text == "hello"


async def test_accepted_comes_before_durable() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        edit = document.insert(0, "x")
        await edit.accepted()
        await edit.durable()
        assert edit.is_accepted


async def test_two_clients_converge() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as one, make_client(gateway) as two:
        left = await one.create_document("notes", content="middle")
        right = await two.open_document("notes")
        left.insert(0, "< ")
        right.insert(6, " >")
        await asyncio.gather(left.synced(), right.synced())
        await until(lambda: left.version == right.version == 2)
        assert left.text == right.text == gateway.documents["notes"].text == "< middle >"


async def test_edits_made_offline_are_sent_after_the_reconnect() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.go_down()
        await until(lambda: document.status == "offline")
        for number in range(5):
            document.insert(len(document.text), str(number))
        gateway.is_down = False
        await document.synced(5)
        assert gateway.documents["notes"].text == "01234"


async def test_answers_that_were_lost_do_not_apply_an_edit_twice() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.holds_answers = gateway.drops_events = True
        edits = [document.insert(0, "x") for _ in range(3)]
        await until(lambda: gateway.documents["notes"].version == 3)
        gateway.holds_answers = gateway.drops_events = False
        gateway.cut_all()
        await document.synced(5)
        assert [edit.version for edit in edits] == [1, 2, 3]
        assert gateway.documents["notes"].version == 3
        assert document.text == "xxx"


async def test_unanswered_edits_are_sent_again_under_the_same_sequence() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.swallow_submits = True
        document.insert(0, "b")
        document.insert(0, "a")
        await until(lambda: len(gateway.submitted) == 2)
        gateway.swallow_submits = False
        gateway.cut_all()
        await document.synced(5)
        assert gateway.submitted == [(client.client_id, n) for n in (1, 2, 1, 2)]
        assert document.edits_resent == 2
        assert gateway.documents["notes"].text == "ab"


async def test_what_others_wrote_meanwhile_is_recovered_without_a_snapshot() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        events = document.events()
        gateway.go_down()
        await until(lambda: document.status == "offline")
        other = TextContent()
        for number in range(1, 4):
            gateway.write("notes", other.edit(0, 0, str(number)), "other", number)
        gateway.is_down = False
        await until(lambda: document.version == 3)
        assert document.text == "321"
        seen = [await anext(events) for _ in range(5)]
        assert [e.operation.key for e in seen if e.operation] == [("other", n) for n in (1, 2, 3)]


async def test_an_operation_that_comes_twice_is_applied_once() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.write("notes", TextContent().edit(0, 0, "x"), "other", 1)
        operation = gateway.documents["notes"].operations[0]
        gateway.tell_all(Envelope(Event("operation_applied", "notes", 1, operation=operation)))
        await until(lambda: document.duplicates_suppressed == 1)
        assert (document.text, document.version) == ("x", 1)


async def test_a_gap_in_the_log_is_fetched() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        other = TextContent()
        gateway.drops_events = True
        gateway.write("notes", other.edit(0, 0, "a"), "other", 1)
        gateway.drops_events = False
        gateway.write("notes", other.edit(1, 0, "b"), "other", 2)
        await until(lambda: document.version == 2)
        assert document.text == "ab"


async def test_dropped_pushes_are_fetched_when_the_gateway_says_so() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.drops_events = True
        gateway.write("notes", TextContent().edit(0, 0, "a"), "other", 1)
        gateway.tell_all(Envelope(Resync("doc:notes")))
        await until(lambda: document.text == "a")


async def test_a_compacted_log_brings_a_snapshot_and_keeps_edits_under_way() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        events = document.events()
        gateway.go_down()
        await until(lambda: document.status == "offline")
        document.insert(0, "mine")
        gateway.write("notes", TextContent().edit(0, 0, "theirs "), "other", 1)
        log = gateway.documents["notes"]
        log.epoch, log.first_kept = "e2", 1
        gateway.is_down = False
        await document.synced(5)
        await until(lambda: document.version == 2)
        assert document.text == log.text
        assert sorted(document.text) == sorted("minetheirs ")
        kinds = []
        while Happening.RESYNC not in kinds:
            kinds.append((await anext(events)).type)


async def test_a_pushed_snapshot_replaces_the_copy() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        content = TextContent()
        content.edit(0, 0, "fresh")
        event = Event("resync", "notes", 9, snapshot=Snapshot(9, update=content.encode()))
        gateway.tell_all(Envelope(event))
        await until(lambda: document.version == 9)
        assert document.text == "fresh"


async def test_a_refused_edit_is_taken_back_and_said() -> None:
    gateway = FakeGateway()
    gateway.refuse = lambda submit: (
        Error("forbidden", "you may only read") if submit.client_seq == 2 else None
    )
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        document.insert(0, "kept")
        refused = document.insert(4, " lost")
        later = document.insert(9, " also")
        with pytest.raises(EditRefused, match="you may only read"):
            await refused.durable()
        with pytest.raises(EditRefused):
            await later.durable()
        with pytest.raises(EditRefused):
            await document.synced(5)
        assert document.text == "kept"
        gateway.refuse = lambda submit: None
        document.insert(4, "!")
        await document.synced(5)
        assert gateway.documents["notes"].text == "kept!"


async def test_a_refusal_that_may_pass_is_tried_again() -> None:
    gateway = FakeGateway()
    refusals = [Error("unavailable", "busy", retry=True, retry_after_ms=1)]
    gateway.refuse = lambda submit: refusals.pop() if refusals else None
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        for letter in "abc":
            document.insert(len(document.text), letter)
        await document.synced(5)
        assert gateway.documents["notes"].text == "abc"


async def test_a_clock_that_is_ahead_is_corrected_and_the_edit_stamped_again() -> None:
    gateway = FakeGateway()
    stamps: list[int] = []

    def refuse(submit: Submit) -> Error | None:
        assert submit.stamp is not None
        stamps.append(submit.stamp.wall_ms)
        if len(stamps) == 1:
            return Error("stamp_ahead", "your clock is ahead", server_time_ms=1_000)
        return None

    gateway.refuse = refuse
    async with make_client(gateway) as client:
        document = await client.create_document("board", "whiteboard", content={})
        document.apply("create", ["box"], {"x": 1})
        await document.synced(5)
        assert stamps[0] > 2_000 > stamps[1] >= 1_000


async def test_editing_is_bounded_and_room_is_awaited() -> None:
    gateway = FakeGateway()
    gateway.holds_answers = gateway.drops_events = True
    async with make_client(gateway, ClientConfig(max_pending=2)) as client:
        document = await client.create_document("notes")
        document.insert(0, "a")
        document.insert(0, "b")
        with pytest.raises(TooManyPending, match="room"):
            document.insert(0, "c")
        waiting = asyncio.create_task(document.room())
        await until(lambda: gateway.documents["notes"].version == 2)
        assert not waiting.done()
        gateway.release()
        await asyncio.wait_for(waiting, 5)
        document.insert(0, "c")
        assert document.text == "cba"


async def test_no_more_than_the_window_is_under_way() -> None:
    gateway = FakeGateway()
    gateway.holds_answers = gateway.drops_events = True
    async with make_client(gateway, ClientConfig(window_operations=3)) as client:
        document = await client.create_document("notes")
        for _ in range(10):
            document.insert(0, "x")
        await until(lambda: len(gateway.submitted) == 3)
        gateway.drops_events = False
        gateway.release()
        await document.synced(5)
        assert gateway.documents["notes"].version == 10


async def test_a_holding_document_applies_exactly_up_to_what_is_asked() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes", hold=True)
        other = TextContent()
        for number in range(1, 5):
            gateway.write("notes", other.edit(0, 0, str(number)), "other", number)
        await document.apply_until(key=("other", 2), timeout_s=5)
        assert (document.text, document.version) == ("21", 2)
        await until(lambda: document.received_version == 4)
        assert [item.key for item in document.held] == [("other", 3), ("other", 4)]
        await document.apply_until(version=3)
        assert document.text == "321"
        await document.apply_until(key=("other", 1))
        assert document.text == "321"
        document.apply_held()
        assert document.text == "4321"


async def test_a_holding_document_keeps_its_own_edits_and_waits_for_others() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes", hold=True)
        document.insert(0, "me")
        waiting = asyncio.create_task(document.apply_until(key=("other", 1)))
        await document.synced(5)
        assert not waiting.done()
        gateway.write("notes", TextContent().edit(0, 0, "you"), "other", 1)
        await asyncio.wait_for(waiting, 5)
        assert sorted(document.text) == sorted("meyou")
        assert document.version == 2


async def test_held_operations_are_bounded_and_the_rest_is_fetched_later() -> None:
    gateway = FakeGateway()
    async with make_client(gateway, ClientConfig(max_held=4)) as client:
        document = await client.create_document("notes", hold=True)
        other = TextContent()
        for number in range(1, 21):
            gateway.write("notes", other.edit(number - 1, 0, "x"), "other", number)
        await until(lambda: document.received_version == 4)
        for number in range(1, 21):
            await document.apply_until(version=number, timeout_s=5)
            assert len(document.held) <= 4
        assert document.text == "x" * 20


async def test_held_operations_survive_a_reconnect() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes", hold=True)
        other = TextContent()
        gateway.write("notes", other.edit(0, 0, "a"), "other", 1)
        await until(lambda: document.received_version == 1)
        gateway.cut_all()
        gateway.write("notes", other.edit(1, 0, "b"), "other", 2)
        await document.apply_until(key=("other", 2), timeout_s=5)
        assert document.text == "ab"


async def test_waiting_for_what_never_comes_ends_in_words() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes", hold=True)
        with pytest.raises(RequestTimeout, match="did not arrive"):
            await document.apply_until(version=1, timeout_s=0.01)


async def test_apply_until_is_for_holding_documents() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        with pytest.raises(InvalidCall, match="hold=True"):
            await document.apply_until(version=1)


async def test_text_and_structure_each_have_their_own_verbs() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        text = await client.create_document("notes")
        board = await client.create_document("board", "whiteboard", content={})
        with pytest.raises(InvalidCall, match="use insert"):
            text.apply("update", ["a"], 1)
        with pytest.raises(InvalidCall, match="use apply"):
            board.insert(0, "x")
        with pytest.raises(InvalidCall, match="use one of"):
            board.apply("explode", ["a"], 1)
        with pytest.raises(InvalidCall, match="not a string"):
            board.apply("update", "a", 1)


async def test_a_structured_document_converges() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as one, make_client(gateway) as two:
        left = await one.create_document("board", "whiteboard", content={"n": 0})
        right = await two.open_document("board")
        left.apply("create", ["a"], {"x": 1})
        right.apply("update", ["n"], 7)
        assert left.content == {"n": 0, "a": {"x": 1}}
        await asyncio.gather(left.synced(), right.synced())
        await until(lambda: left.version == right.version == 2)
        assert left.content == right.content == {"n": 7, "a": {"x": 1}}


async def test_a_closed_document_says_so_and_its_sequence_goes_on_when_reopened() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        events = document.events()
        document.insert(0, "a")
        await document.synced(5)
        await document.close()
        with pytest.raises(DocumentClosed, match="open it again"):
            document.insert(0, "b")
        assert [event async for event in events]
        again = await client.open_document("notes")
        again.insert(1, "b")
        await again.synced(5)
        assert gateway.documents["notes"].text == "ab"


async def test_a_document_that_is_gone_after_a_restart_fails_in_words() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        gateway.go_down()
        await until(lambda: document.status == "offline")
        del gateway.documents["notes"]
        gateway.is_down = False
        await client.online()
        with pytest.raises(Exception, match="no document"):
            await document.synced(5)


async def test_an_event_reader_that_is_slow_is_told() -> None:
    gateway = FakeGateway()
    async with make_client(gateway, ClientConfig(max_events=3)) as client:
        document = await client.create_document("notes")
        events = document.events()
        other = TextContent()
        for number in range(1, 10):
            gateway.write("notes", other.edit(0, 0, "x"), "other", number)
        await until(lambda: document.version == 9)
        kinds = [(await anext(events)).type for _ in range(4)]
        assert kinds[0] == Happening.LAGGED
        assert kinds[1:] == [Happening.OPERATION_APPLIED] * 3


async def test_an_event_reader_that_went_away_is_forgotten() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        events = document.events()
        assert len(document.follower.feeds) == 1
        del events
        assert len(document.follower.feeds) == 0


async def test_a_document_opened_twice_at_once_is_one_handle_that_misses_nothing() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.add_text("notes")
        one, two = await asyncio.gather(
            client.open_document("notes"), client.open_document("notes")
        )
        assert one is two
        gateway.drops_events = True
        gateway.write("notes", TextContent().edit(0, 0, "a"), "other", 1)
        one.follower.note_version(1)
        await until(lambda: one.text == "a")


async def test_a_document_is_created_once_though_the_answer_was_lost() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.doors[0].is_mute = True
        creating = asyncio.create_task(client.create_document("notes"))
        await until(lambda: "notes" in gateway.documents)
        gateway.cut_all()
        document = await asyncio.wait_for(creating, 5)
        created = [item.body for item in gateway.seen if isinstance(item.body, DocumentCreate)]
        assert len(created) == 2
        assert created[0].document == created[1].document != ""
        assert document.text == ""
