"""HTTP: envelopes down by server-sent events, up by POST, where nothing better gets through.

``GET /api/v1/events`` opens the stream; its first event gives the peer's secret name, and each POST
to ``/api/v1/envelopes?peer=<name>`` carries one envelope up. JSON travels as it is, protobuf as
base64 in events called ``binary``. A closing is an event ``close`` with code and reason.
"""

import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.close_codes import CloseCode
from gateway.limits import Limits
from gateway.transport import Accept, DoorSettings, PeerGone
from gateway.web import ABORT_KEY, WebDoor

EVENTS_PATH = "/api/v1/events"
POST_PATH = "/api/v1/envelopes"
_MAX_UNREAD = 64
_BEAT_S = 15.0


class HttpPeer:
    """One event stream and the POSTs that belong to it."""

    transport = "http"

    def __init__(
        self, name: str, address: tuple[str, int], limits: Limits, abort: Callable[[], None]
    ) -> None:
        self.name = name
        self.host, self.port = address
        self._limits = limits
        self._abort = abort
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_UNREAD)
        self._leaving: asyncio.Queue[list[bytes] | None] = asyncio.Queue(1)
        self._gone = asyncio.Event()
        self._is_closing = False

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield what is posted until the stream ends."""
        gone = asyncio.create_task(self._gone.wait())
        try:
            while True:
                arrival = asyncio.create_task(self._arrived.get())
                await asyncio.wait({arrival, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not arrival.done():
                    arrival.cancel()
                    return
                data = arrival.result()
                if data is None:
                    return
                yield data
        finally:
            gone.cancel()

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send messages as events; waits for the client to read. Raises `PeerGone`."""
        if self._gone.is_set() or self._is_closing:
            raise PeerGone("the event stream has ended")
        await self._put([_event(data) for data in frames])

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Send the close event and end the stream; a client that does not read is cut."""
        if self._is_closing:
            return
        self._is_closing = True
        notice = json.dumps({"code": int(code), "reason": reason or code.sentence})
        try:
            async with asyncio.timeout(self._limits.close_linger_s):
                await self._put([f"event: close\ndata: {notice}\n\n".encode()])
                await self._put(None)
                await self._gone.wait()
        except TimeoutError:
            self._abort()
        except PeerGone:
            pass
        self.end()

    async def post(self, data: bytes) -> None:
        """Take one posted message; waits while the gateway is behind. Raises `PeerGone`."""
        if self._gone.is_set() or self._is_closing:
            raise PeerGone("the event stream has ended")
        await self._arrived.put(data)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the event stream's bytes."""
        try:
            yield f'event: open\ndata: {{"peer": "{self.name}"}}\n\n'.encode()
            while True:
                try:
                    async with asyncio.timeout(_BEAT_S):
                        batch = await self._leaving.get()
                except TimeoutError:
                    yield b": beat\n\n"  # keeps proxies from closing, and finds a dead client
                    continue
                if batch is None:
                    return
                yield b"".join(batch)
        finally:
            self.end()

    def end(self) -> None:
        """Note that the stream has ended."""
        self._gone.set()
        while not self._leaving.empty():
            self._leaving.get_nowait()

    async def _put(self, batch: list[bytes] | None) -> None:
        gone = asyncio.create_task(self._gone.wait())
        put = asyncio.create_task(self._leaving.put(batch))
        try:
            await asyncio.wait({gone, put}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            put.cancel()
        if self._gone.is_set():
            raise PeerGone("the event stream has ended")


class HttpTransport:
    """The HTTP door for envelopes; it shares the TCP port of the `WebDoor` in its settings."""

    name = "http"

    def __init__(self, settings: DoorSettings) -> None:
        web: WebDoor = settings.web
        self._web = web
        self._limits = settings.limits
        self._accept: Accept | None = None
        self._peers: dict[str, HttpPeer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        web.add_routes(
            [
                Route(EVENTS_PATH, self._open, methods=["GET"]),
                Route(POST_PATH, self._post, methods=["POST"]),
            ]
        )

    async def start(self, accept: Accept) -> None:
        """Take clients from the shared door, which listens by itself."""
        self._accept = accept

    async def drain(self) -> None:
        """Refuse new streams with 503."""
        self._accept = None

    async def close(self) -> None:
        """End every stream."""
        self._accept = None
        for peer in list(self._peers.values()):
            peer.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where clients reach this door."""
        host = f"[{self._web.host}]" if ":" in self._web.host else self._web.host
        return f"http://{host}:{self._web.port}{EVENTS_PATH}"

    async def _open(self, request: Request) -> Response:
        accept = self._accept
        if accept is None:
            return _refusal(503, "the gateway is stopping; connect again later")
        address = (request.client.host, request.client.port) if request.client else ("", 0)
        abort = request.scope.get("extensions", {}).get(ABORT_KEY)
        peer = HttpPeer(secrets.token_urlsafe(24), address, self._limits, abort or _nothing)
        self._peers[peer.name] = peer
        task = asyncio.create_task(self._serve(accept, peer), name=f"http peer {address}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(peer.events(), media_type="text/event-stream", headers=headers)

    async def _serve(self, accept: Accept, peer: HttpPeer) -> None:
        try:
            await accept(peer)
            await peer.close(CloseCode.NORMAL)
        except PeerGone:
            pass
        finally:
            peer.end()
            self._peers.pop(peer.name, None)

    async def _post(self, request: Request) -> Response:
        peer = self._peers.get(request.query_params.get("peer", ""))
        if peer is None:
            return _refusal(404, f"there is no such event stream; open {EVENTS_PATH} first")
        data = bytearray()
        limit = self._limits.max_message_bytes
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    return _refusal(413, f"the message is above the limit of {limit} bytes")
            async with asyncio.timeout(self._limits.body_timeout_s):
                await peer.post(bytes(data))
        except TimeoutError:
            return _refusal(503, "the gateway is behind with your messages; send more slowly")
        except PeerGone:
            return _refusal(410, f"the event stream has ended; open {EVENTS_PATH} again")
        except ClientDisconnect:
            return Response(status_code=499)
        return Response(status_code=202)


def _event(data: bytes) -> bytes:
    if data[:1] == b"{":
        return b"data: " + data + b"\n\n"  # JSON as we write it has no line breaks
    return b"event: binary\ndata: " + b64encode(data) + b"\n\n"


def _refusal(status: int, sentence: str) -> Response:
    answer = {"code": status, "message": sentence, "data": None, "request_id": ""}
    return JSONResponse(answer, status)


def _nothing() -> None:
    """Cut nothing: the server gave no handle."""
