"""The frozen configuration of the core, checked once, and the transport parameters on the wire."""

from cython_ext.core.controller import CONTROLLERS

MAX_VARINT = (1 << 62) - 1
# Which messages are copied while packets are lost (core/copies); the place is the number.
COPIES = ("off", "deadline", "all")

# docs/protocol.md section 4.1: id, name, default.
WIRE = {
    1: ("max_data", 0), 2: ("max_stream_data", 0), 3: ("max_streams_bidi", 0), 4: ("max_streams_uni", 0),
    5: ("max_message_data", 0), 6: ("max_message_bytes", 0), 7: ("max_datagram_bytes", 1200),
    8: ("idle_timeout_ms", 0), 9: ("max_ack_delay_us", 25000), 10: ("repair_sources", 0),
}
# When repairs are sent; the order is that of the enum in params.pxd.
FEC_MODES = ("off", "auto", "always")


cdef class Params:
    """Limits, time-outs and choices of a connection. Times are in nanoseconds.

    Raises ValueError for a value outside its range.
    """

    def __init__(
        self,
        *,
        max_data: int = 16 << 20,
        max_stream_data: int = 4 << 20,
        max_streams_bidi: int = 256,
        max_streams_uni: int = 256,
        max_message_data: int = 4 << 20,
        max_message_bytes: int = 1 << 20,
        max_datagram_bytes: int = 1452,
        idle_timeout_ns: int = 30_000_000_000,
        max_ack_delay_ns: int = 25_000_000,
        repair_sources: int = 64,
        send_datagram_bytes: int = 1232,
        send_buffer_bytes: int = 4 << 20,
        message_buffer_bytes: int = 4 << 20,
        datagram_queue: int = 1024,
        keepalive_ns: int = 0,
        handshake_timeout_ns: int = 10_000_000_000,
        initial_rtt_ns: int = 100_000_000,
        controller: str = "bbr",
        ecn: bool = True,
        copies: str = "deadline",
        suites: tuple[int, ...] = (1, 2),
        key_update_packets: int = 1 << 20,
        fec: str = "auto",
        assumed_loss: float = 0.0,
        max_connections: int = 100_000,
        max_half_open: int = 1024,
    ) -> None:
        ranges = {
            "max_data": (max_data, 0, 1 << 40),
            "max_stream_data": (max_stream_data, 0, 1 << 32),
            "max_streams_bidi": (max_streams_bidi, 0, 1 << 20),
            "max_streams_uni": (max_streams_uni, 0, 1 << 20),
            "max_message_bytes": (max_message_bytes, 0, 1 << 30),
            "max_message_data": (max_message_data, max_message_bytes + 1, 1 << 32),
            "max_datagram_bytes": (max_datagram_bytes, 1200, 65507),
            "idle_timeout_ns": (idle_timeout_ns, 0, 1 << 50),
            "max_ack_delay_ns": (max_ack_delay_ns, 0, 16_000_000_000),
            "repair_sources": (repair_sources, 0, 256),
            "assumed_loss": (assumed_loss, 0, 0.5),
            "send_datagram_bytes": (send_datagram_bytes, 1200, 65507),
            "send_buffer_bytes": (send_buffer_bytes, 1200, 1 << 32),
            "message_buffer_bytes": (message_buffer_bytes, 1200, 1 << 32),
            "datagram_queue": (datagram_queue, 1, 1 << 20),
            "keepalive_ns": (keepalive_ns, 0, 1 << 50),
            "handshake_timeout_ns": (handshake_timeout_ns, 1, 1 << 50),
            "initial_rtt_ns": (initial_rtt_ns, 1_000, 10_000_000_000),
            "key_update_packets": (key_update_packets, 1, 1 << 22),
            "max_connections": (max_connections, 1, 1 << 24),
            "max_half_open": (max_half_open, 1, 1 << 20),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise ValueError(f"{name} = {value} is not between {low} and {high}")
        if controller not in CONTROLLERS:
            raise ValueError(f"no congestion controller is called {controller!r}; known: {', '.join(CONTROLLERS)}")
        if copies not in COPIES:
            raise ValueError(f"copies = {copies!r} is unknown; known: {', '.join(COPIES)}")
        if fec not in FEC_MODES:
            raise ValueError(f"fec = {fec!r} is unknown; known: {', '.join(FEC_MODES)}")
        if not suites or any(suite not in (1, 2) for suite in suites):
            raise ValueError("suites are 1 (AES-256-GCM) and 2 (ChaCha20-Poly1305), at least one of them")
        self.suites = tuple(suites)
        v = &self.view
        v.max_data = max_data
        v.max_stream_data = max_stream_data
        v.max_streams_bidi = max_streams_bidi
        v.max_streams_uni = max_streams_uni
        v.max_message_data = max_message_data
        v.max_message_bytes = max_message_bytes
        v.max_datagram_bytes = max_datagram_bytes
        v.idle_timeout_ns = idle_timeout_ns
        v.max_ack_delay_ns = max_ack_delay_ns
        v.repair_sources = repair_sources
        v.send_datagram_bytes = send_datagram_bytes
        v.send_buffer_bytes = send_buffer_bytes
        v.message_buffer_bytes = message_buffer_bytes
        v.datagram_queue = datagram_queue
        v.keepalive_ns = keepalive_ns
        v.handshake_timeout_ns = handshake_timeout_ns
        v.initial_rtt_ns = initial_rtt_ns
        v.ecn = ecn
        v.controller = CONTROLLERS.index(controller)
        v.copies = COPIES.index(copies)
        v.key_update_packets = key_update_packets
        v.fec = FEC_MODES.index(fec)
        v.assumed_loss = assumed_loss
        v.max_connections = max_connections
        v.max_half_open = max_half_open

    def encode(self) -> bytes:
        """Return the parameters for the peer, in the form of section 4.1."""
        v = self.view
        values = {
            1: v.max_data, 2: v.max_stream_data, 3: v.max_streams_bidi, 4: v.max_streams_uni,
            5: v.max_message_data, 6: v.max_message_bytes, 7: v.max_datagram_bytes,
            8: v.idle_timeout_ns // 1_000_000, 9: v.max_ack_delay_ns // 1_000,
            10: v.repair_sources,
        }
        out = b""
        for key, value in values.items():
            item = encode_varint(value)
            out += encode_varint(key) + encode_varint(len(item)) + item
        return out


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of a varint; ValueError above 2^62 - 1."""
    for bits, size, prefix in ((6, 1, 0), (14, 2, 1), (30, 4, 2), (62, 8, 3)):
        if 0 <= value < 1 << bits:
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(f"{value} is no varint")


def decode_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """Return (value, place behind it), None when *data* is too short."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    return int.from_bytes(data[at:at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def decode_params(data: bytes) -> dict[str, int] | None:
    """Return every parameter by name, defaults included; None when the sequence is invalid."""
    found = {}
    at = 0
    while at < len(data):
        key = decode_varint(data, at)
        size = decode_varint(data, key[1]) if key else None
        if key is None or size is None or size[1] + size[0] > len(data):
            return None
        value = decode_varint(data, size[1])
        if value is None or value[1] != size[1] + size[0] or key[0] in found:
            return None
        found[key[0]] = value[0]
        at = value[1]
    params = {name: found.get(key, default) for key, (name, default) in WIRE.items()}
    if params["max_datagram_bytes"] < 1200 or params["max_ack_delay_us"] > 1 << 24 or params["repair_sources"] > 256:
        return None
    return params


cdef bint read_peer(PeerParams* peer, dict params):
    peer.max_data = params["max_data"]
    peer.max_stream_data = params["max_stream_data"]
    peer.max_streams_bidi = min(params["max_streams_bidi"], 1 << 60)
    peer.max_streams_uni = min(params["max_streams_uni"], 1 << 60)
    peer.max_message_data = params["max_message_data"]
    peer.max_message_bytes = params["max_message_bytes"]
    peer.max_datagram_bytes = params["max_datagram_bytes"]
    peer.idle_timeout_ns = min(params["idle_timeout_ms"], 1 << 40) * 1_000_000
    peer.max_ack_delay_ns = params["max_ack_delay_us"] * 1_000
    peer.repair_sources = params["repair_sources"]
    return True
