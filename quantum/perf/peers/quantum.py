"""This transport, through its public asyncio API and with its loopback profile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quantum.client import connect
from quantum.config import loopback
from quantum.connection import Connection
from quantum.identity import Identity
from quantum.perf.peer import Handler, Line, Offer
from quantum.server import serve
from quantum.stream import Stream

READ_BYTES = 256 * 1024


class QuantumLine:
    """A stream for bytes, and messages as messages."""

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._stream = stream
        self.write = stream.write
        self.read_exactly = stream.read_exactly
        self.send = connection.send
        self.receive = connection.receive
        self._flush = connection.flush

    async def read(self) -> bytes:
        """Return what has come on the stream; see `Line`."""
        return await self._stream.read(READ_BYTES)

    async def flush(self) -> None:
        """Wait until everything was acknowledged; see `Line`."""
        await self._flush()


class Quantum:
    """Quantum over UDP with AES-256-GCM."""

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[Offer]:
        """Listen; see `Peer`."""

        async def run(connection: Connection) -> None:
            async for stream in connection.streams():
                await handler(QuantumLine(connection, stream))

        identity = Identity.generate()
        listener = await serve(run, "127.0.0.1", 0, identity=identity, config=loopback())
        async with listener:
            yield {"port": listener.port, "pin": identity.pin}

    @asynccontextmanager
    async def connect(self, offer: Offer) -> AsyncIterator[Line]:
        """Connect; see `Peer`."""
        address = ("127.0.0.1", int(offer["port"]))
        async with connect(address, pin=str(offer["pin"]), config=loopback()) as connection:
            yield QuantumLine(connection, await connection.open_stream())
