"""Clients of each transport, as plain as can be, behind one shape."""

import asyncio
import json
from base64 import b64decode
from typing import Any, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import quantum
from gateway.codec import FrameDecoder, frame
from tests.support import web


class Refused(Exception):
    """The door did not let the client in."""


class Ended(Exception):
    """The connection was closed; *code* says why, None when it was cut."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Dialed(Protocol):
    """A client's end of a connection."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes:
        """Return the next message; raises `Ended`."""
        ...

    async def cut(self) -> None:
        """Break off without a goodbye."""
        ...


async def dial(name: str, url: str) -> Dialed:
    """Connect to a door by its url. Raises `Refused`."""
    return await {"websocket": WebSocketDial, "http": HttpDial, "quantum": QuantumDial}[name].open(
        url
    )


class WebSocketDial:
    """A WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, url: str) -> "WebSocketDial":
        try:
            return cls(await connect(url, max_size=None, compression=None, ping_interval=None))
        except Exception as error:
            raise Refused(str(error)) from None

    async def send(self, data: bytes) -> None:
        await self.socket.send(data, text=data[:1] == b"{")

    async def receive(self) -> bytes:
        try:
            data = await self.socket.recv()
        except ConnectionClosed as error:
            raise Ended(error.rcvd.code if error.rcvd else None) from None
        return data.encode() if isinstance(data, str) else data

    async def cut(self) -> None:
        self.socket.transport.abort()


class HttpDial:
    """An event stream, with a request for each message up."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: Any) -> None:
        self._port = port
        self._reader = reader
        self._writer = writer
        self.peer = ""
        self._buffer = b""

    @classmethod
    async def open(cls, url: str) -> "HttpDial":
        place = urlsplit(url)
        assert place.port is not None
        try:
            reader, writer = await asyncio.open_connection(
                place.hostname, place.port, limit=1 << 20
            )
        except OSError as error:
            raise Refused(str(error)) from None
        writer.write(f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        status, _ = await web.read_head(reader)
        if status != 200:
            writer.transport.abort()
            raise Refused(str(status))
        found = cls(place.port, reader, writer)
        kind, data = await found._event()
        assert kind == "open"
        found.peer = json.loads(data)["peer"]
        return found

    async def send(self, data: bytes) -> None:
        path = f"/api/v1/envelopes?peer={self.peer}"
        answer = await web.request(self._port, "POST", path, data)
        if answer.status == 413:
            return  # refused without closing the stream, as a request of its own can be
        if answer.status != 202:
            raise Ended(None)

    async def receive(self) -> bytes:
        kind, data = await self._event()
        if kind == "close":
            await self.cut()
            raise Ended(json.loads(data)["code"])
        return b64decode(data) if kind == "binary" else data.encode()

    async def cut(self) -> None:
        self._writer.transport.abort()

    async def _event(self) -> tuple[str, str]:
        while b"\n\n" not in self._buffer:
            try:
                size = int((await self._reader.readline()).strip(), 16)
                chunk = await self._reader.readexactly(size + 2)
            except (asyncio.IncompleteReadError, ConnectionError, ValueError):
                await self.cut()
                raise Ended(None) from None
            if not size:
                raise Ended(None)
            self._buffer += chunk[:-2]
        text, _, self._buffer = self._buffer.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
        return fields.get("event", "message"), fields.get("data", "")


class QuantumDial:
    """One stream on a Quantum connection."""

    def __init__(self, connection: quantum.Connection, stream: quantum.Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._decoder = FrameDecoder(1 << 26)
        self._frames: list[bytes] = []
        self._closing = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> "QuantumDial":
        place = urlsplit(url)
        try:
            connection = await quantum.connect(
                place.netloc, pin=place.query.removeprefix("pin="), timeout=5.0
            )
        except quantum.QuantumError as error:
            raise Refused(str(error)) from None
        try:
            return cls(connection, await connection.open_stream())
        except quantum.QuantumError as error:
            await connection.close()
            raise Refused(str(error)) from None

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.write(frame(data))
        except quantum.QuantumError:
            raise await self._end() from None

    async def receive(self) -> bytes:
        while not self._frames:
            try:
                data = await self._stream.read(1 << 16)
            except quantum.QuantumError:
                data = b""
            if not data:
                raise await self._end()
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    async def cut(self) -> None:
        self._connection.abort()
        await self._close()

    async def _close(self) -> None:
        async with self._closing:  # one at a time: the connection waits for its socket only once
            await self._connection.close()

    async def _end(self) -> Ended:
        await self._connection.wait_closed()
        error = self._connection.error
        await self._close()
        return Ended(error.code if isinstance(error, quantum.ConnectionClosed) else None)
