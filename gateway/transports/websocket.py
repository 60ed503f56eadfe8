"""WebSocket: one envelope per message, text for JSON and binary for protobuf, at ``/ws``.

Compression is off (a bomb needs none to arrive), and a browser's origin must be one that was
allowed, since a page elsewhere could otherwise use its visitor's place in our network.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from gateway.close_codes import CloseCode
from gateway.transport import Accept, DoorSettings, PeerGone
from gateway.web import SOCKET_KEY, Socket, WebDoor, refuse_websocket

PATH = "/ws"


class WebSocketPeer:
    """One WebSocket."""

    transport = "websocket"

    def __init__(self, socket: Socket, receive: Receive) -> None:
        self._socket = socket
        self._receive = receive
        self.host, self.port = socket.client or ("", 0)

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield messages until the socket is closed by either side."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            yield text.encode() if text is not None else bytes(message["bytes"])

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send messages; waits for the client to read. Raises `PeerGone`."""
        await self._socket.send_batch(frames)

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close with *code*; a client that does not read is cut after the linger."""
        self._socket.close_now(code, reason)


class WebSocketTransport:
    """The WebSocket door; it shares the TCP port of the `WebDoor` in its settings."""

    name = "websocket"

    def __init__(self, settings: DoorSettings) -> None:
        web: WebDoor = settings.web
        self._web = web
        self._origins = settings.origins
        self._accept: Accept | None = None
        self.refused_origins = 0
        web.add_routes([WebSocketRoute(PATH, _Endpoint(self))])

    async def start(self, accept: Accept) -> None:
        """Take clients from the shared door, which listens by itself."""
        self._accept = accept

    async def drain(self) -> None:
        """Refuse new clients with 503."""
        self._accept = None

    async def close(self) -> None:
        """Do nothing: the shared door closes the sockets."""
        self._accept = None

    @property
    def url(self) -> str:
        """Where clients reach this door."""
        host = f"[{self._web.host}]" if ":" in self._web.host else self._web.host
        return f"ws://{host}:{self._web.port}{PATH}"

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket from handshake to close."""
        accept = self._accept
        if accept is None:
            sentence = "the gateway is stopping; connect again later"
            await refuse_websocket(receive, send, 503, sentence)
            return
        if not self._is_welcome(scope):
            self.refused_origins += 1
            sentence = "this origin may not connect; the gateway's 'origins' must list it"
            await refuse_websocket(receive, send, 403, sentence)
            return
        socket: Socket = scope["extensions"][SOCKET_KEY]
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        peer = WebSocketPeer(socket, receive)
        try:
            await accept(peer)
        except PeerGone:
            pass
        finally:
            socket.close_now(CloseCode.NORMAL)

    def _is_welcome(self, scope: Scope) -> bool:
        """Whether the handshake has no origin (no browser), our own, or an allowed one."""
        headers: dict[bytes, str] = {
            name: value.decode("latin-1") for name, value in scope["headers"]
        }
        origin = headers.get(b"origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return True
        return bool(urlsplit(origin).netloc.lower() == headers.get(b"host", "").lower())


class _Endpoint:
    """Lets Starlette route a WebSocket to the transport without its own WebSocket class."""

    def __init__(self, transport: WebSocketTransport) -> None:
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        await self._transport.handle(scope, receive, send)
