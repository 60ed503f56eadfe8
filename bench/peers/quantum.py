"""This transport, through its public asyncio API."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import quantum
from bench.peers.command import main
from bench.peers.line import READ_BYTES, Handler, Line, Offer, Options, Stats
from quantum import Connection, Identity, QuantumError, Stream, TransportConfig

_COUNTERS = (
    "packets_sent", "packets_received", "packets_lost", "packets_spurious", "probes_sent",
    "bytes_sent", "bytes_retransmitted", "datagram_bytes", "rtt_minimum_ns", "rtt_smoothed_ns",
    "window_bytes", "pacing_rate", "persistent_congestion", "ecn_ce_received",
)  # fmt: skip
# What a full packet carries beside stream data: IPv4 and UDP, the header, the tag of the AEAD, and
# a STREAM frame with an offset below 2^30 (docs/protocol.md).
_OUTSIDE_BYTES = 28
_INSIDE_BYTES = 32 + 16 + 8


class QuantumLine:
    """A stream for bytes, and messages as messages."""

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self.write = stream.write
        self.read_exactly = stream.read_exactly
        self.send = connection.send
        self._receive = connection.receive

    async def read(self) -> bytes:
        """Return what has come on the stream; see `Line`."""
        return await self._stream.read(READ_BYTES)

    async def receive(self) -> Sequence[bytes]:
        """Return the next message; see `Line`."""
        return (await self._receive(),)

    async def flush(self) -> None:
        """Everything leaves by itself; see `Line`."""

    def stats(self) -> Stats:
        """Return the connection's counters; see `Line`."""
        now = self._connection.stats()
        datagram = now.datagram_bytes
        full = [datagram - _INSIDE_BYTES, datagram + _OUTSIDE_BYTES]
        # A counter that this version does not have is left out.
        counters: Stats = {name: getattr(now, name) for name in _COUNTERS if hasattr(now, name)}
        return counters | {"full_packet": full}


class Quantum:
    """Quantum over UDP with AES-256-GCM."""

    @asynccontextmanager
    async def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AsyncIterator[Offer]:
        """Listen; see `Transport`."""

        async def run(connection: Connection) -> None:
            async for stream in connection.streams():
                await handler(QuantumLine(connection, stream))

        identity = Identity.generate()
        async with quantum.serve(
            run, host, port, identity=identity, config=_config(options)
        ) as listener:
            yield {"port": listener.port, "pin": identity.pin}

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Connect; see `Transport`."""
        connection = await quantum.connect(
            (host, port), pin=str(offer["pin"]), config=_config(options)
        )
        try:
            yield QuantumLine(connection, await connection.open_stream())
        finally:
            connection.discard()

    @asynccontextmanager
    async def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[None]:
        """Connect and keep quiet; see `Transport`."""
        connection = await quantum.connect(
            (host, port), pin=str(offer["pin"]), config=_config(options)
        )
        try:
            yield
        finally:
            connection.discard()


def _config(options: Options) -> TransportConfig:
    """Return the profile, with another congestion controller if one is asked for.

    Raises:
        ValueError: there is no such profile.
    """
    name = options.profile or "wan"
    if name not in quantum.__all__:
        raise ValueError(f"quantum has no profile called {name}")
    config: TransportConfig = getattr(quantum, name)()
    # Ten thousand held connections stay as they are, though nobody says a word.
    config = config.replace(idle_timeout=300.0)
    return config.replace(congestion=options.congestion) if options.congestion else config


if __name__ == "__main__":
    sys.exit(main(Quantum(), (QuantumError,)))
