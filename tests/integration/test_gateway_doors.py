"""Bad input at the TCP door, HTTP and WebSocket: one clear sentence each, and never a crash."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from gateway import messages as m
from gateway.app import Gateway
from gateway.close_codes import CloseCode
from tests.support import web
from tests.support.gateways import Speaker, running

pytestmark = pytest.mark.integration


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    bounds = {"header_timeout_s": 0.5, "body_timeout_s": 0.5}
    async with running(tmp_path, limits=bounds) as found:
        yield found
        assert found.router.failures == 0


def port(gateway: Gateway) -> int:
    assert gateway.web is not None
    return gateway.web.port


def says_it_well(answer: web.Answer, status: int) -> None:
    """Check that a refusal has the uniform shape and one sentence."""
    assert answer.status == status
    assert answer.json["code"] == status
    assert answer.json["data"] is None
    assert len(answer.json["message"]) > 10
    assert "\n" not in answer.json["message"]
    assert "Traceback" not in answer.json["message"]


# HTTP


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400),
        (
            b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000, 431),
    ],
)
async def test_what_is_not_http_is_refused(gateway: Gateway, data: bytes, status: int) -> None:
    answer = await web.raw(port(gateway), data)
    says_it_well(answer, status)


async def test_a_request_head_that_does_not_end_times_out(gateway: Gateway) -> None:
    says_it_well(await web.raw(port(gateway), b"GET /health HTTP/1.1\r\nHost: a\r\nX:"), 408)


async def test_a_silent_connection_times_out(gateway: Gateway) -> None:
    says_it_well(await web.raw(port(gateway), b""), 408)


async def test_a_body_that_does_not_come_times_out(gateway: Gateway) -> None:
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{"
    says_it_well(await web.raw(port(gateway), head), 408)


async def test_a_second_request_on_a_connection_has_a_deadline_too(gateway: Gateway) -> None:
    first = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    async with asyncio.timeout(5), web.opened(port(gateway), first) as (reader, writer):
        status, headers = await web.read_head(reader)
        assert (status, await reader.readexactly(int(headers["content-length"]))) == (200, b"pong")
        writer.write(b"GET /pi")
        assert (await web.read_head(reader))[0] == 408


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 422, "username"),
        (b"{", 400, "JSON"),
        (b"[]", 422, "object"),
        (b"\xff", 400, "UTF-8"),
        (b"{}", 422, "username"),
        (b'{"username": "alice"}', 422, "password"),
        (b'{"username": 7, "password": "x"}', 422, "string"),
        (b'{"username": "alice", "password": "no"}', 401, "wrong"),
        (b'{"username": "\\ud800", "password": "no"}', 400, "surrogate"),
        (b"[" * 90_000, 400, "nested"),
        (b'{"username": NaN}', 400, "NaN"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', 413, "limit"),
    ],
)
async def test_a_bad_login_body_gets_one_sentence(
    gateway: Gateway, body: bytes, status: int, word: str
) -> None:
    answer = await web.request(port(gateway), "POST", "/api/v1/auth/login", body)
    says_it_well(answer, status)
    assert word in answer.json["message"]
    assert answer.headers["x-request-id"] == answer.json["request_id"]


async def test_a_chunked_body_is_bounded_as_well(gateway: Gateway) -> None:
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    says_it_well(await web.raw(port(gateway), head + chunk * 20), 413)


async def test_another_content_type_is_refused(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/xml"}
    answer = await web.request(
        port(gateway), "POST", "/api/v1/auth/login", b"<a/>", headers=headers
    )
    says_it_well(answer, 422)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", "Bearer " + "x" * 9000, "Bearer \x7f"],
)
async def test_a_wrong_token_is_refused(gateway: Gateway, authorization: str) -> None:
    answer = await web.request(
        port(gateway), "GET", "/api/v1/auth/me", headers={"Authorization": authorization}
    )
    if answer.status != 400:  # bytes that no header may hold
        says_it_well(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/auth/login", 405),
        ("DELETE", "/api/v1/auth/me", 405),
        ("POST", "/api/v1/envelopes?peer=guess", 404),
        ("GET", "/ws", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%00", 404),
    ],
)
async def test_a_wrong_path_or_method_gets_one_sentence(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = await web.request(port(gateway), method, path)
    says_it_well(answer, status)


async def test_an_unusable_request_id_is_replaced_and_a_good_one_kept(gateway: Gateway) -> None:
    async def ask(request_id: str) -> str:
        headers = {"X-Request-ID": request_id}
        answer = await web.request(port(gateway), "POST", "/api/v1/auth/login", {}, headers=headers)
        return answer.headers["x-request-id"]

    assert await ask("my-id") == "my-id"
    assert await ask("x" * 500) != "x" * 500


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/metrics", "/ping"])
async def test_the_operators_doors_need_no_token(gateway: Gateway, path: str) -> None:
    assert (await web.request(port(gateway), "GET", path)).status == 200


async def test_readiness_ends_with_the_drain(gateway: Gateway) -> None:
    async with web.opened(port(gateway)) as (reader, writer):
        writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await web.read_head(reader))[0] == 200
        await gateway.drain()
    assert not gateway.is_ready


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes_at_the_tcp_door_are_survived(tmp_path: Path, data: bytes) -> None:
    """One gateway for each example would be slow: the parser alone is fed, as a socket feeds it."""
    from gateway.limits import Limits
    from gateway.transport import ConnectionGate
    from gateway.web import _Http

    async def feed() -> None:
        import uvicorn

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        limits = Limits()
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        config.load()
        state = uvicorn.server.ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: _Http(
                config=config,
                server_state=state,
                app_state={},
                gate=ConnectionGate(limits),
                limits=limits,
            ),
            "127.0.0.1",
            0,
        )
        async with asyncio.timeout(5):
            place = server.sockets[0].getsockname()[1]
            async with web.opened(place, data) as (reader, writer):
                writer.write_eof()
                await asyncio.wait({asyncio.ensure_future(reader.read(1))}, timeout=0.02)
            while state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)
            server.close()
            await server.wait_closed()

    asyncio.run(feed())


# WebSocket


@pytest.mark.parametrize(
    ("message", "code", "word"),
    [
        ("", "malformed", "empty"),
        ("hello", "malformed", "protobuf"),
        ("{", "malformed", "JSON"),
        ("{}", "invalid", "kind"),
        ('{"kind": "dance", "id": 4}', "unknown_kind", "dance"),
        ('{"kind": "login", "id": 4, "body": {"username": 7}}', "invalid", "string"),
        ('{"kind": "publish", "id": 4, "body": {}}', "invalid", "channel"),
        ('{"kind": "publish", "id": 4, "body": {"channel": "c"}}', "unauthenticated", "login"),
        ('{"kind": "pong", "id": 4}', "unauthenticated", "login"),
        (b"\xff\xff\xff", "malformed", "protobuf"),
        (b"\x08\x04", "unknown_kind", "kind"),
    ],
)
async def test_a_bad_message_gets_one_sentence_and_the_socket_lives(
    gateway: Gateway, message: str | bytes, code: str, word: str
) -> None:
    async with connect(gateway.urls["websocket"]) as socket:
        await socket.send('{"kind": "ping", "id": 1}')
        await socket.recv()
        await socket.send(message)
        answer = json.loads(await socket.recv())
        assert answer["kind"] == "error"
        assert answer["body"]["code"] == code
        assert word in answer["body"]["message"]
        names_itself = '"id": 4' in str(message) or message == b"\x08\x04"
        assert answer.get("id", 0) == (4 if names_itself else 0)
        await socket.send('{"kind": "ping", "id": 2}')
        assert json.loads(await socket.recv())["kind"] == "pong"


async def ended(socket: ClientConnection) -> int | None:
    """Read to the end; returns the close code."""
    with suppress(ConnectionClosedError):
        async for _ in socket:
            pass
    return socket.close_code


async def test_too_many_bad_messages_end_the_connection(gateway: Gateway) -> None:
    async with connect(gateway.urls["websocket"]) as socket:
        for _ in range(16):
            await socket.send("{")
        assert await ended(socket) == CloseCode.BAD_ENVELOPE


async def test_a_message_above_the_limit_ends_the_connection(gateway: Gateway) -> None:
    async with connect(gateway.urls["websocket"], max_size=None) as socket:
        await socket.send(b"x" * ((1 << 20) + 1))
        assert await ended(socket) == CloseCode.TOO_BIG


async def test_a_message_in_endless_empty_fragments_ends_the_connection(gateway: Gateway) -> None:
    async with connect(gateway.urls["websocket"]) as socket:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(5000):
                yield b""

        sending = asyncio.create_task(socket.send(pieces()))
        assert await ended(socket) == CloseCode.POLICY
        await asyncio.gather(sending, return_exceptions=True)


async def test_text_that_is_not_utf8_ends_the_connection(gateway: Gateway) -> None:
    async with connect(gateway.urls["websocket"]) as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert await ended(socket) == 1007


async def test_a_foreign_origin_is_refused_and_our_own_let_in(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(gateway.urls["websocket"], origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert caught.value.response.status_code == 403
    assert b"origin" in caught.value.response.body
    own = f"http://127.0.0.1:{port(gateway)}"
    async with connect(gateway.urls["websocket"], origin=own) as socket:  # type: ignore[arg-type]
        await socket.send('{"kind": "ping", "id": 1}')
        await socket.recv()


async def test_an_allowed_origin_is_let_in(tmp_path: Path) -> None:
    async with (
        running(tmp_path, http={"origins": ["https://app.example"]}) as gateway,
        connect(gateway.urls["websocket"], origin="https://app.example") as socket,  # type: ignore[arg-type]
    ):
        await socket.send('{"kind": "ping", "id": 1}')
        await socket.recv()


async def test_compression_is_not_agreed_to(gateway: Gateway) -> None:
    async with connect(gateway.urls["websocket"], compression="deflate") as socket:
        assert not socket.protocol.extensions


async def test_a_crowd_of_half_open_connections_delays_nobody(gateway: Gateway) -> None:
    client = await Speaker.logged_in(gateway)
    crowd = [await asyncio.open_connection("127.0.0.1", port(gateway)) for _ in range(100)]
    for _, writer in crowd:
        writer.write(b"GET /health HTTP/1.1\r\nX: ")
    assert await client.ask(m.Ping(), m.Pong)
    for reader, writer in crowd:
        assert (await reader.read(20)).startswith(b"HTTP/1.1 408")
        writer.transport.abort()
    assert gateway.web is not None
    await client.cut()
