"""The TCP door: one port on which uvicorn speaks HTTP/1.1 and WebSocket, within our bounds.

It owns the socket and the protocol limits (head size and time, body time, connections per address)
that uvicorn leaves to a proxy. What is served is added as routes; it knows none of them.
"""

import asyncio
import json
import socket
from asyncio import transports
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.close_codes import CloseCode
from gateway.limits import Limits
from gateway.transport import ConnectionGate, PeerGone

SOCKET_KEY = "quantum.socket"
ABORT_KEY = "quantum.abort"
_MAX_FRAGMENTS = 1024
_MAX_HEADERS = 64
_HIGH_WATER_BYTES = 256 << 10


class WebDoor:
    """A TCP port that serves routes over HTTP and WebSocket."""

    def __init__(self, host: str, port: int, limits: Limits) -> None:
        self._host = host
        self._port = port
        self._limits = limits
        self.gate = ConnectionGate(limits)
        self._routes: list[BaseRoute] = []
        self._app: ASGIApp | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def add_routes(self, routes: Sequence[BaseRoute]) -> None:
        """Serve *routes* as well; before `start`."""
        self._routes.extend(routes)

    def wrap(self, app: ASGIApp) -> None:
        """Serve *app*, which was built from `routes`, instead of a bare router; before `start`."""
        self._app = app

    @property
    def routes(self) -> list[BaseRoute]:
        """What has been added so far."""
        return self._routes

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be bound."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise OSError(f"cannot listen on TCP {self._host}:{self._port}: {error}") from None
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            _Strict(self._app or Starlette(routes=self._routes), self._limits),
            http=cast(Any, partial(_Http, gate=self.gate, limits=self._limits)),
            ws=cast(Any, partial(Socket, gate=self.gate, limits=self._limits)),
            ws_max_size=self._limits.max_message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=self._limits.ping_interval_s,
            ws_ping_timeout=self._limits.ping_interval_s,
            h11_max_incomplete_event_size=self._limits.max_header_bytes,
            timeout_keep_alive=cast(int, self._limits.keep_alive_s),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            loop="none",
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([listener]), name="web door")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError(f"the web server on {self._host}:{self._port} did not start")
            await asyncio.sleep(0)

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._port

    async def drain(self) -> None:
        """Accept no more connections."""
        if self._server is not None:
            for server in self._server.servers:
                server.close()

    async def close(self) -> None:
        """Let running requests finish for a short while, then cut what is left."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        try:
            async with asyncio.timeout(self._limits.close_linger_s + 1.0):
                await asyncio.shield(self._task)
        except TimeoutError:
            self._server.force_exit = True
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await self._task


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: the process has its own life cycle."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Strict:
    """Refuses what the parser lets through: other versions, two framings of a body, huge heads."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(receive, send, *refusal)
        else:
            status, body = refusal[0], _uniform(*refusal)
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if scope["http_version"] not in ("1.0", "1.1"):
            return 505, f"this server speaks HTTP/1.1, not HTTP/{scope['http_version']}"
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in headers) + len(scope["raw_path"])
        most = self._limits.max_header_bytes
        if size > most or len(headers) > _MAX_HEADERS:
            return 431, f"the head is above {most} bytes or {_MAX_HEADERS} fields"
        names = {name for name, _ in headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            return 400, "a request has either Content-Length or Transfer-Encoding, not both"
        return None


class _Http(H11Protocol):
    """HTTP/1.1 with deadlines for head and body, and a bound on connections per address."""

    def __init__(self, *args: Any, gate: ConnectionGate, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: object = None
        self._is_counted = False

    def connection_made(self, transport: transports.BaseTransport) -> None:
        """Refuse an address that holds too many connections; else wait for a head."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._is_counted = self._gate.enter(self._ip)
        if not self._is_counted:
            self._answer(503, "there are too many connections; close some or try again later")
            return
        self._await("head", self._limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._await(None, 0)
        if self._is_counted:
            self._is_counted = False
            self._gate.leave(self._ip)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and give what it now waits for a deadline."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            self._await(None, 0)  # it is a WebSocket now, which took the place with it
            self._is_counted = False
            return
        if self.scope is not None:
            # The request's task has not run yet; it finds here how to cut its connection.
            extensions = cast(dict[str, Any], self.scope).setdefault("extensions", {})
            extensions[ABORT_KEY] = self.transport.abort
        waiting = self.conn.their_state
        if waiting is h11.IDLE:
            self._await("head", self._limits.header_timeout_s)
        elif waiting is h11.SEND_BODY:
            self._await("body", self._limits.body_timeout_s)
        else:
            self._await(None, 0)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in the shape of every other answer."""
        is_large = len(self.conn.trailing_data[0]) > self._limits.max_header_bytes
        if is_large:
            self._answer(431, f"the request's head is above {self._limits.max_header_bytes} bytes")
        else:
            self._answer(400, "this is not a valid HTTP/1.1 request")

    @property
    def _ip(self) -> str:
        return self.client[0] if self.client else ""

    def _await(self, what: object, seconds: float) -> None:
        if what == self._awaited:
            return
        self._awaited = what
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if what is not None:
            self._deadline = self.loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        if not self.transport.is_closing():
            self._answer(408, f"the request's {self._awaited} did not arrive in time")

    def _answer(self, status: int, sentence: str) -> None:
        body = _uniform(status, sentence)
        head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket that can send a batch in one write and close a peer that does not read.

    It puts itself in the ASGI scope under ``extensions``/`SOCKET_KEY`.
    """

    def __init__(self, *args: Any, gate: ConnectionGate, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._limits = limits

    def connection_made(self, transport: transports.BaseTransport) -> None:
        """Take over the connection, which the HTTP side has counted."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self._gate.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)

    def handle_connect(self, event: Any) -> None:
        """Offer this object to the application."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(dict[str, Any], self.scope["extensions"])[SOCKET_KEY] = self

    def handle_cont(self, event: Any) -> None:
        """Bound the number of fragments too: empty ones would pass any bound on bytes."""
        if len(self.frames) >= _MAX_FRAGMENTS:
            self.close_now(CloseCode.POLICY, f"a message in more than {_MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    async def send_batch(self, frames: Sequence[bytes]) -> None:
        """Send messages, JSON as text and the rest as binary, in one write. Raises `PeerGone`."""
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise PeerGone("the WebSocket is closed")
        for data in frames:
            if data[:1] == b"{":
                self.conn.send_text(data)
            else:
                self.conn.send_binary(data)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def close_now(self, code: CloseCode, reason: str = "") -> None:
        """Send a close frame after what is buffered, and cut the connection if it lingers."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        text = (reason or code.sentence).encode()[:120].decode(errors="ignore")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": text})
        self.conn.send_close(int(code), text)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.stop_keepalive()
        self.close_timer = self.loop.call_later(self._limits.close_linger_s, self.transport.abort)


async def refuse_websocket(receive: Receive, send: Send, status: int, sentence: str) -> None:
    """Answer a WebSocket handshake with an HTTP status and one sentence."""
    body = _uniform(status, sentence)
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _uniform(status: int, sentence: str) -> bytes:
    answer = {"code": status, "message": sentence, "data": None, "request_id": ""}
    return json.dumps(answer).encode()
