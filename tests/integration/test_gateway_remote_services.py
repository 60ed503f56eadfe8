"""The gateway with its services behind gRPC: nobody at the doors can tell."""

import socket
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from gateway import messages as m
from gateway.errors import Code
from session.rpc.server import serve_sessions
from session.service import LocalSessionService
from session.stores.memory import MemoryStore as SessionMemory
from statesync.rpc.server import serve_documents
from statesync.service import LocalStateSyncService
from statesync.stores.memory import MemoryStore as StateMemory
from statesync.strategies import STRATEGIES
from svckit.clock import SystemClock
from tests.support.gateways import Refusal, Speaker, running

pytestmark = pytest.mark.integration


async def test_two_clients_edit_through_remote_services(tmp_path: Path) -> None:
    sessions = LocalSessionService(SessionMemory(""), SystemClock(), uuid7)
    documents = LocalStateSyncService(StateMemory(""), SystemClock(), uuid7, STRATEGIES)
    await sessions.start()
    await documents.start()
    session_server = await serve_sessions(sessions)
    document_server = await serve_documents(documents)
    places = {
        "session": f"grpc://127.0.0.1:{session_server.port}",
        "statesync": f"grpc://127.0.0.1:{document_server.port}",
    }
    async with running(tmp_path, services=places) as gateway:
        alice, bob = await Speaker.logged_in(gateway), await Speaker.logged_in(gateway, "bob")
        assert bob.session is not None
        body = m.DocumentCreate("n", "canvas", editors=(bob.session.user,))
        created = await alice.ask(body, m.Document)
        assert created.info is not None
        document = created.info.document
        await bob.ask(m.DocumentOpen(document), m.DocumentOpened)
        ack = await alice.ask(m.Submit(document, "update", "a", 1, ("k",), value=1), m.Ack)
        assert ack.version == 1
        event = await bob.event(m.EventType.OPERATION_APPLIED)
        assert event.operation is not None
        assert (event.operation.value, event.operation.target) == (1, ("k",))
        with pytest.raises(Refusal) as caught:
            await bob.ask(m.Submit(document, "update", "b", 5, ("k",), value=2), m.Ack)
        assert caught.value.body.code == Code.SEQUENCE_GAP
        assert caught.value.body.detail["expected"] == "1"
        await alice.cut()
        await bob.cut()
    await document_server.close(0)
    await session_server.close(0)
    await documents.close()
    await sessions.close()


async def test_a_service_that_is_away_is_said_to_be_and_then_left_alone(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"grpc://127.0.0.1:{unused.getsockname()[1]}"
        places = {"statesync": nowhere}
        bounds = {"request_timeout_s": 0.5}
        async with running(tmp_path, services=places, client=bounds) as gateway:
            client = await Speaker.logged_in(gateway)
            messages = []
            for _ in range(6):
                with pytest.raises(Refusal) as caught:
                    await client.ask(m.DocumentList(), m.DocumentListed)
                assert caught.value.body.retry
                messages.append(caught.value.body.message)
            assert "is failing; try again shortly" in messages[-1]
            assert await client.ask(m.Ping(), m.Pong)
            await client.cut()
