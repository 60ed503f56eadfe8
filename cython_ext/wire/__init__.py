"""Bytes on the wire: headers and frames, and nothing that has state."""

from cython_ext.wire.frames import encode_ack, parse_frames
from cython_ext.wire.header import (
    Verdict,
    decode_header,
    decode_packet_number,
    decode_v1,
    encode_header,
    encode_v1,
)

__all__ = [
    "Verdict",
    "decode_header",
    "decode_packet_number",
    "decode_v1",
    "encode_ack",
    "encode_header",
    "encode_v1",
    "parse_frames",
]
