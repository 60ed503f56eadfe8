"""Quantum: one bidirectional stream per client, each envelope with its length in front.

The client opens the connection's one stream. The transport's handshake says which server this is;
who the user is, the envelopes say.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import quantum
from gateway.close_codes import CloseCode
from gateway.codec import DecodeError, FrameDecoder, frame
from gateway.errors import Code
from gateway.limits import Limits
from gateway.transport import Accept, ConnectionGate, DoorSettings, PeerGone

_READ_BYTES = 256 << 10


class QuantumPeer:
    """One client's stream on its connection."""

    transport = "quantum"

    def __init__(
        self, connection: quantum.Connection, stream: quantum.Stream, limits: Limits
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._limits = limits
        self._is_closed = False
        self.host, self.port = connection.peer_address[:2]

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield envelopes until the stream or the connection ends."""
        decoder = FrameDecoder(self._limits.max_message_bytes)
        while True:
            try:
                data = await self._stream.read(_READ_BYTES)
                frames = decoder.feed(data)
            except quantum.QuantumError:
                return
            except DecodeError as error:
                is_large = error.code is Code.TOO_LARGE
                code = CloseCode.TOO_BIG if is_large else CloseCode.PROTOCOL_ERROR
                await self.close(code, error.reason)
                return
            if not data:
                return
            for item in frames:
                yield item

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send envelopes in one write; waits for space. Raises `PeerGone`."""
        try:
            await self._stream.write(b"".join([frame(item) for item in frames]))
        except quantum.QuantumError as error:
            raise PeerGone(str(error)) from None

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection with *code*; cut it when it lingers."""
        if self._is_closed:
            return
        self._is_closed = True
        text = reason or code.sentence
        try:
            async with asyncio.timeout(self._limits.close_linger_s):
                await self._connection.close(int(code), text)
        except TimeoutError:
            self._connection.abort(int(code), text)
        except quantum.QuantumError:
            pass


class QuantumTransport:
    """The UDP door."""

    name = "quantum"

    def __init__(self, settings: DoorSettings) -> None:
        self._settings = settings
        self._gate = ConnectionGate(settings.limits)
        self._accept: Accept | None = None
        self._listener: quantum.Listener | None = None

    async def start(self, accept: Accept) -> None:
        """Listen. Raises OSError when the address cannot be bound."""
        self._accept = accept
        host, port = self._settings.host, self._settings.port
        try:
            self._listener = await quantum.serve(
                self._handle, host, port, identity=self._settings.identity
            )
        except (OSError, quantum.ConfigurationError) as error:
            raise OSError(f"cannot listen on UDP {host}:{port}: {error}") from None

    async def drain(self) -> None:
        """Close new connections at once with a code that says to come back."""
        self._accept = None

    async def close(self) -> None:
        """Close the socket and every connection on it."""
        if self._listener is not None:
            await self._listener.close()

    @property
    def port(self) -> int:
        """The UDP port, once started."""
        return self._listener.port if self._listener is not None else self._settings.port

    @property
    def url(self) -> str:
        """Where clients reach this door, with the pin of the server's key."""
        pin = getattr(self._settings.identity, "pin", "")
        return f"quantum://{self._settings.host}:{self.port}?pin={pin}"

    async def _handle(self, connection: quantum.Connection) -> None:
        host = connection.peer_address[0]
        accept = self._accept
        if accept is None:
            await connection.close(int(CloseCode.GOING_AWAY), CloseCode.GOING_AWAY.sentence)
            return
        if not self._gate.enter(host):
            await connection.close(int(CloseCode.TRY_LATER), CloseCode.TRY_LATER.sentence)
            return
        try:
            async with asyncio.timeout(self._settings.limits.header_timeout_s):
                stream = await connection.accept_stream()
            peer = QuantumPeer(connection, stream, self._settings.limits)
            await accept(peer)
            await peer.close(CloseCode.NORMAL)
        except TimeoutError:
            await connection.close(int(CloseCode.LOGIN_TIMEOUT), "no stream was opened in time")
        except (quantum.QuantumError, PeerGone):
            pass
        finally:
            self._gate.leave(host)
