"""What an endpoint of the oracle may choose."""

from dataclasses import dataclass

from interop.reference import crypto
from interop.reference.hello import Parameters

DEFAULT_PARAMETERS = Parameters(
    max_data=1 << 20,
    max_stream_data=1 << 18,
    max_streams_bidi=100,
    max_streams_uni=100,
    max_message_data=1 << 20,
    max_message_bytes=1 << 16,
    max_datagram_bytes=1452,
    idle_timeout_ms=30_000,
)


@dataclass(frozen=True)
class Config:
    """What an endpoint may choose. Units are in the names."""

    parameters: Parameters = DEFAULT_PARAMETERS
    suites: tuple[int, ...] = (crypto.Suite.AES_256_GCM, crypto.Suite.CHACHA20_POLY1305)
    max_datagram_bytes: int = 1200
    window_packets: int = 32
    handshake_timeout_ns: int = 10_000_000_000
    keepalive_ns: int | None = None
    update_after_packets: int = 2**20
    skip_every_packets: int = 0
    datagrams_queued_max: int = 1024
    unfinished_max: int = 1024
    protect: tuple[int, int] | None = None
    """Sources and parities of each repair block, None to protect nothing."""
    mark_ect0: bool = False
