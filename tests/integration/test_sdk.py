"""The client kit against a real gateway process, on every transport."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from gateway.demo.impaired import ImpairedWay
from gateway.demo.process import GatewayProcess
from gateway.sdk import (
    AuthenticationFailed,
    ConnectFailed,
    Document,
    EditRefused,
    RequestRefused,
    connect,
)
from quantum.testing.network import Impairment
from tests.support.sdk_clients import until
from tests.support.sdk_gateway import PASSWORD, QUICK, TRANSPORTS, dial

pytestmark = pytest.mark.integration


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path / "data") as process:
        yield process


def scribble(document: Document, rng: Random, count: int) -> None:
    for _ in range(count):
        text = document.text
        at = rng.randint(0, len(text))
        if text and rng.random() < 0.3:
            document.delete(min(at, len(text) - 1), 1)
        else:
            document.insert(at, rng.choice(["a", "\u00e9", "\U0001f600", "xyz ", "\n"]))


async def same_version(*documents: Document) -> None:
    await asyncio.gather(*(document.synced(20) for document in documents))
    newest = max(document.version for document in documents)
    async with asyncio.timeout(20):
        await asyncio.gather(*(document.reached(newest) for document in documents))


@pytest.mark.parametrize("first", TRANSPORTS)
@pytest.mark.parametrize("second", TRANSPORTS)
async def test_two_clients_converge(gateway: GatewayProcess, first: str, second: str) -> None:
    async with dial(gateway, first) as one, dial(gateway, second, "bob") as two:
        left = await one.create_document("notes", editors=[two.user])
        right = await two.open_document(left.id)
        rng = Random(7)
        for _ in range(10):
            scribble(left, rng, 10)
            scribble(right, rng, 10)
            await asyncio.sleep(0)
        await same_version(left, right)
        async with dial(gateway, "websocket") as witness:
            server = await witness.open_document(left.id)
            assert left.text == right.text == server.text
            assert len(await witness.whole_history(left.id)) == 200


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_killed_gateway_keeps_every_acknowledged_edit_and_applies_none_twice(
    gateway: GatewayProcess, transport: str
) -> None:
    async with dial(gateway, transport) as client:
        document = await client.create_document("notes")
        edits = []
        rng = Random(3)
        for _ in range(3):
            edits += [document.insert(rng.randint(0, len(document.text)), "x") for _ in range(60)]
            await edits[-rng.randint(1, 50)].durable()
            acknowledged = {edit.client_seq: edit.version for edit in edits if edit.is_durable}
            await gateway.kill()
            edits.append(document.insert(0, "offline "))
            await gateway.start()
            log = await client.whole_history(document.id)
            kept = {item.client_seq: item.version for item in log}
            assert acknowledged.items() <= kept.items()
        await document.synced(20)
        log = await client.whole_history(document.id)
        assert [item.client_seq for item in log] == list(range(1, len(edits) + 1))
        assert [edit.version for edit in edits] == list(range(1, len(edits) + 1))
        assert client.resumptions >= 1
        async with dial(gateway, "websocket") as witness:
            assert (await witness.open_document(document.id)).text == document.text


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_pulled_cable_is_noticed_and_what_was_missed_is_recovered(
    gateway: GatewayProcess, transport: str
) -> None:
    impairment = Impairment(delay_ns=2_000_000, loss=0.02)
    async with (
        ImpairedWay(gateway, transport, impairment, 1) as way,
        connect(way.url, pin=gateway.pin, login=("alice", PASSWORD), config=QUICK) as client,
        dial(gateway, "websocket", "bob") as other,
    ):
        document = await client.create_document("notes", editors=[other.user])
        theirs = await other.open_document(document.id)
        way.cut()
        document.insert(0, "mine ")
        theirs.insert(0, "theirs ")
        await theirs.synced(20)
        await until(lambda: document.status == "offline")
        way.restore()
        await same_version(document, theirs)
        assert document.text == theirs.text
        assert client.reconnects >= 1


async def test_a_stopped_gateway_is_left_in_order_and_found_again(gateway: GatewayProcess) -> None:
    async with dial(gateway, "websocket") as client:
        document = await client.create_document("notes")
        document.insert(0, "before ")
        assert await gateway.stop() == 0
        document.insert(0, "between ")
        await gateway.start()
        await document.synced(20)
        log = await client.whole_history(document.id)
        assert [item.client_seq for item in log] == [1, 2]


async def test_a_structured_document_converges_through_conflicts(gateway: GatewayProcess) -> None:
    async with dial(gateway, "websocket") as one, dial(gateway, "websocket", "bob") as two:
        left = await one.create_document(
            "board", "whiteboard", content={"a": {"x": 0}}, editors=[two.user]
        )
        right = await two.open_document(left.id)
        for number in range(5):
            left.apply("move", ["a"], {"x": number})
            right.apply("move", ["a"], {"x": 100 + number})
            right.apply("update", [f"b{number}"], number)
        await same_version(left, right)
        assert left.content == right.content
        lock = await left.lock(["a"], ttl_s=30)
        assert lock.fence > 0
        right.apply("move", ["a"], {"x": -1})
        with pytest.raises(EditRefused, match="lock"):
            await right.synced(20)
        left.apply("move", ["a"], {"x": 5})
        await left.synced(20)
        await left.unlock(["a"])
        await same_version(left, right)
        assert left.content == right.content
        assert left.content["a"]["x"] == 5


async def test_a_viewer_reads_and_is_told_that_edits_are_refused(gateway: GatewayProcess) -> None:
    async with dial(gateway, "websocket") as one, dial(gateway, "websocket", "bob") as two:
        document = await one.create_document("notes", content="read me", viewers=[two.user])
        copy = await two.open_document(document.id)
        copy.insert(0, "NO ")
        with pytest.raises(EditRefused):
            await copy.synced(20)
        assert copy.text == "read me"
        document.insert(0, "please ")
        await same_version(document, copy)
        assert copy.text == "please read me"


async def test_wrong_input_at_the_kit_gives_one_clear_sentence(gateway: GatewayProcess) -> None:
    port = gateway.port("websocket")
    with pytest.raises(AuthenticationFailed) as wrong:
        await dial(gateway, "websocket", login=("alice", "guess"))
    assert "password" in wrong.value.reason
    with pytest.raises(AuthenticationFailed):
        await dial(gateway, "websocket", login=None, token="not.a.token")
    with pytest.raises(ConnectFailed, match="HTTP 40"):
        await connect(f"ws://127.0.0.1:{port}/nothing", login=("alice", PASSWORD))
    async with dial(gateway, "websocket") as client, dial(gateway, "websocket", "bob") as other:
        with pytest.raises(RequestRefused, match="id"):
            await client.open_document("not-a-document")
        with pytest.raises(RequestRefused, match="type"):
            await client.create_document("x", "novel")
        hidden = await client.create_document("hidden")
        with pytest.raises(RequestRefused) as refused:
            await other.open_document(hidden.id)
        assert refused.value.code == "forbidden"
        assert client.reconnects == other.reconnects == 0


async def test_nobody_listening_gives_one_clear_sentence() -> None:
    with pytest.raises(ConnectFailed, match=r"cannot reach the gateway at ws://127\.0\.0\.1:9/ws"):
        await connect("ws://127.0.0.1:9/ws", login=("a", "b"))


async def test_a_token_provider_is_asked_for_each_login(gateway: GatewayProcess) -> None:
    async with dial(gateway, "websocket") as client:
        channel = await client.subscribe("news")
        await client.publish("news", {"n": 1}, payload=b"\x00\xff")
        publication = await anext(channel)
        assert (publication.value, publication.payload) == ({"n": 1}, b"\x00\xff")
