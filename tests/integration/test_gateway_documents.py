"""Documents at the gateway: two clients, one document, whatever happens to their connections."""

from pathlib import Path
from typing import Any

import pycrdt
import pytest

from gateway import messages as m
from gateway.app import Gateway
from gateway.errors import Code
from tests.support.gateways import Refusal, Speaker, running

pytestmark = pytest.mark.integration


class Writer:
    """A user's replica of a text document, by plain pycrdt."""

    def __init__(self, speaker: Speaker, client: str) -> None:
        self.speaker = speaker
        self.client = client
        self.seq = 0
        self.version = 0
        self.epoch = ""
        self.document = ""
        self.doc = pycrdt.Doc()
        self.text = self.doc.get("text", type=pycrdt.Text)

    async def open(self, document: str, *, recover: bool = False) -> m.DocumentOpened:
        self.document = document
        asked = m.DocumentOpen(document, recover, self.version, self.epoch)
        opened = await self.speaker.ask(asked, m.DocumentOpened)
        if opened.snapshot is not None and opened.snapshot.update:
            self.doc.apply_update(opened.snapshot.update)
        self.version, self.epoch = opened.version, opened.epoch
        return opened

    def insert(self, place: int, words: str) -> m.Submit:
        """Edit the replica; returns what to submit."""
        before = self.doc.get_state()
        self.text.insert(place, words)
        self.seq += 1
        return m.Submit(
            self.document,
            "text",
            self.client,
            self.seq,
            update=self.doc.get_update(before),
            base_version=self.version,
        )

    async def follow(self, version: int) -> None:
        """Apply events until the replica is at *version*."""
        while self.version < version:
            envelope = await self.speaker.push(lambda e: isinstance(e.body, m.Event))
            event = envelope.body
            assert isinstance(event, m.Event)
            if event.operation is None:
                continue
            assert event.operation.version == self.version + 1 == envelope.offset
            assert envelope.epoch == self.epoch
            self.version = event.operation.version
            self.doc.apply_update(event.operation.update)


async def create(speaker: Speaker, **fields: Any) -> str:
    body = m.DocumentCreate(**{"name": "notes", "type": "text", **fields})
    created = await speaker.ask(body, m.Document)
    assert created.info is not None
    return created.info.document


async def shared(gateway: Gateway, **fields: Any) -> tuple[Writer, Writer, str]:
    alice = Writer(await Speaker.logged_in(gateway, "alice", "quantum", "protobuf"), "a")
    bob = Writer(await Speaker.logged_in(gateway, "bob", "http", "json"), "b")
    assert bob.speaker.session is not None
    document = await create(alice.speaker, editors=(bob.speaker.session.user,), **fields)
    return alice, bob, document


async def test_two_clients_on_two_transports_converge(tmp_path: Path) -> None:
    async with running(tmp_path, services={"store": "sqlite"}) as gateway:
        alice, bob, document = await shared(gateway)
        await alice.open(document)
        await bob.open(document)
        total = 0
        for n in range(20):
            for writer in (alice, bob):
                await writer.speaker.post(writer.insert(0, f"{writer.client}{n} "))
                total += 1
        await alice.follow(total)
        await bob.follow(total)
        assert str(alice.text) == str(bob.text)
        assert sorted(str(alice.text).split()) == sorted(f"{w}{n}" for w in "ab" for n in range(20))
        await alice.speaker.cut()
        await bob.speaker.cut()


async def test_an_operation_is_acknowledged_with_what_it_survives(tmp_path: Path) -> None:
    async with running(tmp_path, services={"store": "sqlite"}) as gateway:
        alice = Writer(await Speaker.logged_in(gateway), "a")
        await alice.open(await create(alice.speaker))
        submit = alice.insert(0, "hello")
        asked = await alice.speaker.post(
            m.Submit(submit.document, "text", "a", 1, update=submit.update, accepted=True)
        )
        accepted = await alice.speaker.reply(asked, m.Ack)
        durable = await alice.speaker.reply(asked, m.Ack)
        assert (accepted.stage, accepted.version) == (m.Stage.ACCEPTED, 0)
        assert (durable.stage, durable.version, durable.durability) == (m.Stage.DURABLE, 1, "D2")
        assert durable.epoch == alice.epoch
        again = await alice.speaker.ask(submit, m.Ack)
        assert (again.version, again.duplicate) == (1, True)
        await alice.speaker.cut()


async def test_a_pipeline_of_edits_is_applied_in_order_and_in_few_batches(tmp_path: Path) -> None:
    async with running(tmp_path, services={"store": "sqlite"}) as gateway:
        alice = Writer(await Speaker.logged_in(gateway, codec="protobuf"), "a")
        await alice.open(await create(alice.speaker))
        ids = [await alice.speaker.post(alice.insert(n, "x")) for n in range(1000)]
        acks = [await alice.speaker.reply(asked, m.Ack) for asked in ids]
        assert [ack.version for ack in acks] == list(range(1, 1001))
        assert gateway._document_handlers.batches < 200
        await alice.speaker.cut()


async def test_a_mistake_in_a_pipeline_is_told_and_mended(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice = Writer(await Speaker.logged_in(gateway), "a")
        document = await create(alice.speaker)
        await alice.open(document)
        first, skipped, third = (alice.insert(0, word) for word in "abc")
        await alice.speaker.ask(first, m.Ack)
        with pytest.raises(Refusal) as caught:
            await alice.speaker.ask(third, m.Ack)
        assert caught.value.body.code == Code.SEQUENCE_GAP
        assert caught.value.body.detail["expected"] == "2"
        for body in (skipped, third):
            await alice.speaker.ask(body, m.Ack)
        other = m.Submit(document, "text", "a", 3, update=first.update)
        with pytest.raises(Refusal) as caught:
            await alice.speaker.ask(other, m.Ack)
        assert caught.value.body.code == Code.SEQUENCE_REUSED
        await alice.speaker.cut()


async def test_a_client_that_was_away_gets_exactly_what_it_missed(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice, bob, document = await shared(gateway)
        await alice.open(document)
        await bob.open(document)
        await alice.speaker.ask(alice.insert(0, "one "), m.Ack)
        await bob.follow(1)
        await bob.speaker.cut()
        for word in ("two ", "three "):
            await alice.speaker.ask(alice.insert(0, word), m.Ack)
        session = bob.speaker.session
        assert session is not None
        bob.speaker = await Speaker.to(gateway)
        position = m.Position(m.document_channel(document), bob.version, bob.epoch)
        resume = m.Resume(session.session, session.session_token, (position,))
        resumed = await bob.speaker.ask(resume, m.Session)
        assert [c.recovered for c in resumed.channels] == [True]
        await bob.follow(3)
        assert str(bob.text) == str(alice.text) == "three two one "
        await alice.speaker.cut()
        await bob.speaker.cut()


async def test_opening_with_a_position_brings_no_content_but_events(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice, bob, document = await shared(gateway)
        await alice.open(document)
        await bob.open(document)
        await bob.speaker.ask(m.DocumentClose(document), m.Done)
        await alice.speaker.ask(alice.insert(0, "one "), m.Ack)
        opened = await bob.open(document, recover=True)
        assert opened.recovered
        assert opened.snapshot is None
        await bob.follow(1)
        assert str(bob.text) == "one "
        bob.epoch = "another log"
        opened = await bob.open(document, recover=True)
        assert not opened.recovered
        assert opened.snapshot is not None
        await alice.speaker.cut()
        await bob.speaker.cut()


async def test_structured_edits_of_the_same_place_make_a_conflict_that_a_person_settles(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as gateway:
        alice, bob, document = await shared(
            gateway, type="canvas", strategy="manual", value={"a": {"x": 1}}
        )
        for writer in (alice, bob):
            writer.document = document
            await writer.speaker.ask(m.DocumentOpen(document), m.DocumentOpened)
        first = m.Submit(document, "update", "a", 1, ("a", "x"), value=2)
        second = m.Submit(document, "update", "b", 1, ("a", "x"), value=3)
        await alice.speaker.ask(first, m.Ack)
        ack = await bob.speaker.ask(second, m.Ack)
        assert ack.status == "conflict"
        assert ack.conflict
        detected = await alice.speaker.event(m.EventType.CONFLICT_DETECTED)
        assert detected.conflict is not None
        assert detected.conflict.conflict == ack.conflict
        listed = await bob.speaker.ask(m.ConflictList(document, pending=True), m.Conflicts)
        assert [c.conflict for c in listed.conflicts] == [ack.conflict]
        settle = m.ConflictResolve(document, ack.conflict, "incoming")
        await alice.speaker.ask(settle, m.ConflictResolved)
        opened = await bob.speaker.ask(m.DocumentOpen(document, quiet=True), m.DocumentOpened)
        assert opened.snapshot is not None
        assert opened.snapshot.value == {"a": {"x": 3}}
        await alice.speaker.cut()
        await bob.speaker.cut()


async def test_a_lock_keeps_others_out_until_it_is_given_back(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice, bob, document = await shared(gateway, type="canvas")
        await bob.speaker.ask(m.DocumentOpen(document), m.DocumentOpened)
        granted = await alice.speaker.ask(m.LockAcquire(document), m.Lock)
        assert granted.lock is not None
        acquired = await bob.speaker.event(m.EventType.LOCK_ACQUIRED)
        assert acquired.lock == granted.lock
        edit = m.Submit(document, "update", "b", 1, ("k",), value=1)
        with pytest.raises(Refusal) as caught:
            await bob.speaker.ask(edit, m.Ack)
        assert caught.value.body.code == Code.LOCKED
        await alice.speaker.ask(m.LockRelease(document, granted.lock.fence), m.Done)
        assert (await bob.speaker.ask(edit, m.Ack)).version == 1
        await alice.speaker.cut()
        await bob.speaker.cut()


async def test_a_stranger_can_neither_read_nor_write_nor_watch(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice = await Speaker.logged_in(gateway)
        bob = await Speaker.logged_in(gateway, "bob")
        document = await create(alice)
        for body in (
            m.DocumentOpen(document),
            m.DocumentOpen(document, quiet=True),
            m.Subscribe(m.document_channel(document)),
            m.Submit(document, "text", "b", 1, update=b"\x00\x00"),
            m.History(document),
            m.LockAcquire(document),
            m.DocumentDelete(document),
            m.DocumentUpdate(document, {"name": "mine"}),
            m.ConflictList(document),
        ):
            with pytest.raises(Refusal) as caught:
                await bob.ask(body, m.Done)
            assert caught.value.body.code == Code.FORBIDDEN, body
        listed = await bob.ask(m.DocumentList(), m.DocumentListed)
        assert listed.documents == ()
        await alice.cut()
        await bob.cut()


async def test_a_watcher_whose_permission_is_taken_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice, bob, document = await shared(gateway)
        await bob.open(document)
        assert alice.speaker.session is not None
        change = {"permissions": {"owner": alice.speaker.session.user, "editors": []}}
        await alice.speaker.ask(m.DocumentUpdate(document, change), m.Document)
        notice = await bob.speaker.push(lambda e: isinstance(e.body, m.Resync))
        assert notice.channel == m.document_channel(document)
        await alice.open(document)
        await alice.speaker.ask(alice.insert(0, "secret"), m.Ack)
        await bob.speaker.ask(m.Ping(), m.Pong)
        assert not [e for e in bob.speaker.pushes if isinstance(e.body, m.Event)]
        await alice.speaker.cut()
        await bob.speaker.cut()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (m.DocumentOpen("nonsense"), Code.INVALID),
        (m.DocumentOpen("01890a5d-ac96-774b-bcce-b302099a8057"), Code.NOT_FOUND),
        (m.DocumentCreate("n", "novel"), Code.INVALID),
        (m.DocumentCreate("n", "text", strategy="coin toss"), Code.INVALID),
        (m.DocumentCreate("n" * 5000, "text"), Code.INVALID),
        (m.DocumentList(type="novel"), Code.INVALID),
        (m.DocumentList(state="lost"), Code.INVALID),
        (m.Submit("nonsense", "text", "a", 1), Code.INVALID),
        (m.Submit("nonsense", "juggle", "a", 1), Code.INVALID),
        (m.ConflictResolve("d", "c", "both"), Code.INVALID),
        (m.DocumentUpdate("d", {"colour": "red"}), Code.INVALID),
        (m.DocumentUpdate("d", {"tags": [1]}), Code.INVALID),
        (m.DocumentUpdate("d", {"permissions": {"editors": "all"}}), Code.INVALID),
        (m.DocumentUpdate("d", 7), Code.INVALID),
        (m.LockRelease("nonsense", 1), Code.INVALID),
    ],
)
async def test_a_wrong_document_request_gets_one_sentence(
    tmp_path: Path, body: m.Body, code: Code
) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        with pytest.raises(Refusal) as caught:
            await client.ask(body, m.Done)
        assert caught.value.body.code == code
        assert len(caught.value.body.message) > 10
        assert "\n" not in caught.value.body.message
        assert await client.ask(m.Ping(), m.Pong)
        await client.cut()


async def test_damaged_text_updates_are_refused_and_change_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice = Writer(await Speaker.logged_in(gateway), "a")
        document = await create(alice.speaker)
        await alice.open(document)
        for update in (b"", b"\x00", b"\xff" * 40, bytes(300)):
            with pytest.raises(Refusal):
                await alice.speaker.ask(m.Submit(document, "text", "a", 1, update=update), m.Ack)
        assert (await alice.speaker.ask(alice.insert(0, "fine"), m.Ack)).version == 1
        assert gateway.router.failures == 0
        await alice.speaker.cut()
