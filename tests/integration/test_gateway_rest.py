"""The HTTP API over a real socket: shapes, status codes, permissions."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from gateway import messages as m
from gateway.app import DEV_PASSWORD, Gateway
from tests.support import web
from tests.support.gateways import Speaker, running

pytestmark = pytest.mark.integration


class User:
    """Somebody with a token."""

    def __init__(self, gateway: Gateway, token: str, login: dict[str, Any]) -> None:
        assert gateway.web is not None
        self.port = gateway.web.port
        self.token = token
        self.login = login

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Send a request; returns the data, or the whole answer of a refusal."""
        answer = await web.request(self.port, method, f"/api/v1{path}", body, token=self.token)
        assert answer.status == status, answer.json
        if status != 200:
            assert len(answer.json["message"]) > 10
            return answer.json
        assert answer.json["code"] == 0
        assert answer.json["request_id"]
        return answer.json["data"]


async def sign_in(gateway: Gateway, name: str = "alice") -> User:
    nobody = User(gateway, "", {})
    login = await nobody.ask("POST", "/auth/login", {"username": name, "password": DEV_PASSWORD})
    return User(gateway, login["token"], login)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as found:
        yield found
        assert found.router.failures == 0


async def test_a_login_says_who_one_is_and_can_be_refreshed(gateway: Gateway) -> None:
    alice = await sign_in(gateway)
    assert alice.login["expires_in"] == 300
    me = await alice.ask("GET", "/auth/me")
    assert (me["user_id"], me["username"]) == (alice.login["user_id"], "alice")
    assert me["session_id"]
    fresh = await alice.ask(
        "POST", "/auth/refresh", {"refresh_token": alice.login["refresh_token"]}
    )
    assert (await User(gateway, fresh["token"], {}).ask("GET", "/auth/me"))["username"] == "alice"
    await alice.ask("POST", "/auth/logout", {})
    await alice.ask("POST", "/auth/refresh", {"refresh_token": fresh["refresh_token"]}, status=401)


async def test_a_session_lives_and_ends(gateway: Gateway) -> None:
    alice, bob = await sign_in(gateway), await sign_in(gateway, "bob")
    created = await alice.ask("POST", "/session", {"metadata": {"device": "phone"}})
    session_id = created["session"]["session_id"]
    assert created["token"]
    found = await alice.ask("GET", f"/session?session_id={session_id}")
    assert found["metadata"] == {"device": "phone"}
    beat = await alice.ask("POST", "/session/heartbeat", {"session_id": session_id})
    assert beat["success"]
    assert beat["remaining_seconds"] > 0
    assert (await alice.ask("GET", "/sessions"))["total"] == 1
    assert (await bob.ask("GET", "/sessions"))["total"] == 0
    await bob.ask("GET", f"/session?session_id={session_id}", status=403)
    await bob.ask("DELETE", f"/session?session_id={session_id}", status=403)
    assert await alice.ask("DELETE", f"/session?session_id={session_id}") == {"success": True}
    await alice.ask("POST", "/session/heartbeat", {"session_id": session_id}, status=410)


async def test_a_document_is_written_here_and_read_by_a_socket(gateway: Gateway) -> None:
    alice = await sign_in(gateway)
    created = await alice.ask(
        "POST", "/document", {"name": "n", "type": "text", "value": "hello", "tags": ["a"]}
    )
    doc_id = created["doc_id"]
    found = await alice.ask("GET", f"/document?doc_id={doc_id}")
    assert found["text"] == "hello"
    doc = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    doc.apply_update(b64decode(found["content"]["update"]))
    before = doc.get_state()
    text += " world"
    speaker = await Speaker.logged_in(gateway)
    await speaker.ask(m.DocumentOpen(doc_id), m.DocumentOpened)
    operation = {
        "doc_id": doc_id,
        "type": "text",
        "client_id": "curl",
        "client_seq": 1,
        "data": b64encode(doc.get_update(before)).decode(),
    }
    done = await alice.ask("POST", "/document/operation", operation)
    assert (done["version"], done["durability"], done["duplicate"]) == (1, "D0", False)
    assert (await alice.ask("POST", "/document/operation", operation))["duplicate"]
    event = await speaker.event(m.EventType.OPERATION_APPLIED)
    assert event.version == 1
    assert (await alice.ask("GET", f"/document?doc_id={doc_id}"))["text"] == "hello world"
    assert (await alice.ask("GET", f"/document?doc_id={doc_id}&version=0"))["text"] == "hello"
    listed = await alice.ask("GET", f"/document/operations?doc_id={doc_id}&since=0")
    assert [op["version"] for op in listed["operations"]] == [1]
    await speaker.cut()


async def test_conflicts_are_listed_and_settled(gateway: Gateway) -> None:
    alice = await sign_in(gateway)
    fields = {"name": "c", "type": "canvas", "strategy": "manual", "value": {"k": 0}}
    doc_id = (await alice.ask("POST", "/document", fields))["doc_id"]
    for client, value in (("a", 1), ("b", 2)):
        operation = {"doc_id": doc_id, "type": "update", "target": ["k"], "value": value}
        await alice.ask(
            "POST", "/document/operation", {**operation, "client_id": client, "client_seq": 1}
        )
    [conflict] = (await alice.ask("GET", f"/document/conflicts?doc_id={doc_id}&pending=1"))[
        "conflicts"
    ]
    choice = {"doc_id": doc_id, "conflict_id": conflict["conflict"], "keep": "value", "value": 9}
    assert (await alice.ask("POST", "/document/conflicts", choice))["resolved_ms"] > 0
    await alice.ask("POST", "/document/conflicts", choice, status=409)
    found = await alice.ask("GET", f"/document?doc_id={doc_id}")
    assert found["content"]["value"] == {"k": 9}


async def test_locks_are_taken_shown_and_given_back(gateway: Gateway) -> None:
    alice, bob = await sign_in(gateway), await sign_in(gateway, "bob")
    fields = {"name": "c", "type": "canvas", "editors": [bob.login["user_id"]]}
    doc_id = (await alice.ask("POST", "/document", fields))["doc_id"]
    lock = (await alice.ask("POST", "/document/lock", {"doc_id": doc_id, "ttl_seconds": 5}))["lock"]
    shown = await bob.ask("GET", f"/document/lock?doc_id={doc_id}")
    assert [item["fence"] for item in shown["locks"]] == [lock["fence"]]
    await bob.ask("POST", "/document/lock", {"doc_id": doc_id}, status=409)
    held = {"doc_id": doc_id, "fence": lock["fence"]}
    await bob.ask("DELETE", "/document/lock", held, status=409)
    await alice.ask("DELETE", "/document/lock", held)
    await bob.ask("POST", "/document/lock", {"doc_id": doc_id})


async def test_a_document_is_changed_and_deleted_by_its_owner_alone(gateway: Gateway) -> None:
    alice, bob = await sign_in(gateway), await sign_in(gateway, "bob")
    created = await alice.ask("POST", "/document", {"name": "n", "type": "sheet", "public": True})
    doc_id = created["doc_id"]
    change = {"doc_id": doc_id, "change": {"name": "renamed"}}
    await bob.ask("PATCH", "/document", change, status=403)
    changed = await alice.ask("PATCH", "/document", {**change, "expected_revision": 1})
    assert changed["name"] == "renamed"
    await alice.ask("PATCH", "/document", {**change, "expected_revision": 1}, status=409)
    assert (await bob.ask("GET", "/documents?type=sheet"))["total"] == 1
    await bob.ask("DELETE", f"/document?doc_id={doc_id}", status=403)
    assert (await alice.ask("DELETE", f"/document?doc_id={doc_id}"))["state"] == "deleted"
    assert (await alice.ask("GET", "/documents"))["documents"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/document", None, 422),
        ("GET", "/document?doc_id=x", None, 422),
        ("GET", "/document?doc_id=01890a5d-ac96-774b-bcce-b302099a8057", None, 404),
        ("GET", "/document?doc_id=x&version=-1", None, 422),
        ("GET", "/documents?limit=many", None, 422),
        ("GET", "/documents?limit=100000", None, 422),
        ("GET", "/documents?type=novel", None, 422),
        ("GET", "/session?session_id=x", None, 422),
        ("GET", "/session?session_id=01890a5d-ac96-774b-bcce-b302099a8057", None, 404),
        ("POST", "/session", {"timeout_seconds": "long"}, 422),
        ("POST", "/session", {"timeout_seconds": -1}, 422),
        ("POST", "/session", {"metadata": {"a": 1}}, 422),
        ("POST", "/session", {"client_port": 70_000}, 422),
        ("POST", "/document", {"name": "n"}, 422),
        ("POST", "/document", {"name": "n", "type": "text", "content": "*"}, 422),
        ("POST", "/document", {"name": "n", "type": "text", "tags": "a"}, 422),
        ("POST", "/document", {"name": "n", "type": "text", "public": "yes"}, 422),
        ("POST", "/document/operation", {"doc_id": "x", "type": "text"}, 422),
        ("POST", "/document/operation", {"client_id": "a", "client_seq": True}, 422),
        ("POST", "/document/lock", {}, 422),
        ("DELETE", "/document/lock", {"doc_id": "x", "fence": "y"}, 422),
    ],
)
async def test_a_wrong_request_gets_one_sentence(
    gateway: Gateway, method: str, path: str, body: Any, status: int
) -> None:
    alice = await sign_in(gateway)
    answer = await alice.ask(method, path, body, status=status)
    assert "\n" not in answer["message"]


async def test_statistics_and_breakers_can_be_seen_and_reset_by_an_admin(gateway: Gateway) -> None:
    alice = await sign_in(gateway)
    assert (await alice.ask("GET", "/stats"))["total_documents"] == 0
    speaker = await Speaker.logged_in(gateway)
    answer = await web.request(alice.port, "GET", "/ws/stats", token=alice.token)
    assert answer.json["data"]["total_connections"] == 1
    answer = await web.request(alice.port, "GET", "/breaker/stats", token=alice.token)
    assert set(answer.json["data"]) == {"session", "statesync"}
    assert answer.json["data"]["session"]["state"] == "closed"
    path = "/breaker/reset?name=session"
    assert (await web.request(alice.port, "POST", path, {}, token=alice.token)).status == 403
    root = gateway.users.add(
        "root", "a long password", new_id=lambda: "root-id", roles=frozenset({"admin"})
    )
    token = gateway.tokens.access_token(root.identity)
    assert (await web.request(alice.port, "POST", path, {}, token=token)).status == 200
    answer = await web.request(alice.port, "POST", "/breaker/reset?name=x", {}, token=token)
    assert answer.status == 404
    await speaker.cut()


async def test_too_many_requests_from_an_address_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, client={"http_requests_per_s": 1}) as gateway:
        assert gateway.web is not None
        answers = [await web.request(gateway.web.port, "GET", "/api/v1/auth/me") for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
