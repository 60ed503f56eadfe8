"""An encrypted, reliable-UDP transport for asyncio with a Cython core.

async with quantum.connect("host:4433", pin=PIN) as conn:
    stream = await conn.open_stream()
    await stream.write(b"hello")
"""

from quantum.client import connect
from quantum.config import TransportConfig, lan, loopback, realtime, wan
from quantum.connection import Connection
from quantum.errors import (
    AddressError,
    ConfigurationError,
    ConnectionClosed,
    ConnectionFailed,
    HandshakeError,
    IdleTimeout,
    QuantumError,
    StatelessReset,
    StreamError,
    StreamFinished,
    StreamReset,
    StreamStopped,
    TransportFailure,
)
from quantum.identity import Identity
from quantum.server import Listener, serve
from quantum.stats import ConnectionStats
from quantum.stream import Stream
from quantum.transport import StreamTransport, stream_pair

__all__ = [
    "AddressError",
    "ConfigurationError",
    "Connection",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionStats",
    "HandshakeError",
    "Identity",
    "IdleTimeout",
    "Listener",
    "QuantumError",
    "StatelessReset",
    "Stream",
    "StreamError",
    "StreamFinished",
    "StreamReset",
    "StreamStopped",
    "StreamTransport",
    "TransportConfig",
    "TransportFailure",
    "connect",
    "lan",
    "loopback",
    "realtime",
    "serve",
    "stream_pair",
    "wan",
]
