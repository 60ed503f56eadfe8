CONTROLLERS: tuple[str, ...]
COPIES: tuple[str, ...]
MAX_VARINT: int
WIRE: dict[int, tuple[str, int]]

class Params:
    suites: tuple[int, ...]
    def __init__(
        self,
        *,
        max_data: int = 16777216,
        max_stream_data: int = 4194304,
        max_streams_bidi: int = 256,
        max_streams_uni: int = 256,
        max_message_data: int = 4194304,
        max_message_bytes: int = 1048576,
        max_datagram_bytes: int = 1452,
        idle_timeout_ns: int = 30000000000,
        max_ack_delay_ns: int = 25000000,
        repair_sources: int = 64,
        send_datagram_bytes: int = 1232,
        send_buffer_bytes: int = 4194304,
        message_buffer_bytes: int = 4194304,
        datagram_queue: int = 1024,
        keepalive_ns: int = 0,
        handshake_timeout_ns: int = 10000000000,
        initial_rtt_ns: int = 100000000,
        controller: str = "bbr",
        ecn: bool = True,
        copies: str = "deadline",
        suites: tuple[int, ...] = (1, 2),
        key_update_packets: int = 1048576,
        fec: str = "auto",
        assumed_loss: float = 0.0,
        max_connections: int = 100000,
        max_half_open: int = 1024,
    ) -> None: ...
    def encode(self) -> bytes: ...

FEC_MODES: tuple[str, ...]

def encode_varint(value: int) -> bytes: ...
def decode_varint(data: bytes, at: int) -> tuple[int, int] | None: ...
def decode_params(data: bytes) -> dict[str, int] | None: ...
