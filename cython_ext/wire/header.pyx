"""Packet headers, bytes to values and back, for versions 1 and 2.

The C half serves the packet path (version 2); the Python half is the codec that tests, tools and
the version 1 format use. It knows nothing of keys or connections.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from cython_ext.abi.endian cimport load16, load32, load64, store16, store32

import struct

MAX_SACK_BLOCKS = 8


cdef Verdict parse_header(const uint8_t* data, size_t length, Header* header) noexcept nogil:
    """Read and check a header of any version; flags and id only for version 2."""
    #= 2.1: A receiver MUST drop a datagram that is shorter than 32 bytes or has another magic, and a version 2 packet whose length field differs from the datagram's size minus 32.
    if length < HEADER_BYTES:
        return TOO_SHORT
    if memcmp(data, b"QUNT", 4) != 0:
        return BAD_MAGIC
    header.version = data[4]
    header.flags = data[5]
    header.id = data + 6
    header.sequence = load32(data + 22)
    header.ack = load32(data + 26)
    header.length = load16(data + 30)
    if header.version != 2:
        return ACCEPTED
    if header.length != length - HEADER_BYTES:
        return BAD_LENGTH
    #= 2.1: A receiver MUST drop a version 2 packet whose connection id is all zero.
    if load64(header.id) == 0 and load64(header.id + 8) == 0:
        return ZERO_ID
    #= 2.2: A receiver MUST drop a version 2 packet with any other combination of flags.
    if header.flags & ~(<uint8_t> FLAGS_PROTECTED) == 0:
        return ACCEPTED
    if (header.flags == FLAG_SYN or header.flags == FLAG_SYN | FLAG_ACK or header.flags == FLAG_SYN | FLAG_RST
            or header.flags == FLAG_PSH or header.flags == FLAG_RST):
        return ACCEPTED
    return BAD_FLAGS


cdef void write_header(uint8_t* out, uint8_t version, uint8_t flags, const uint8_t* id, uint32_t sequence,
                       uint32_t ack, uint16_t length) noexcept nogil:
    memcpy(out, b"QUNT", 4)
    out[4] = version
    out[5] = flags
    memcpy(out + 6, id, 16)
    store32(out + 22, sequence)
    store32(out + 26, ack)
    store16(out + 30, length)


cdef uint64_t expand_packet_number(uint32_t truncated, uint64_t expected) noexcept nogil:
    """Return the number congruent to *truncated* that is closest to *expected* (RFC 9000 A.3)."""
    cdef uint64_t window = <uint64_t> 1 << 32
    cdef uint64_t half = <uint64_t> 1 << 31
    cdef uint64_t candidate = (expected & ~(window - 1)) | truncated
    if candidate + half <= expected and candidate + window < (<uint64_t> 1 << 62):
        return candidate + window
    if candidate > expected + half and candidate >= window:
        return candidate - window
    return candidate


def decode_packet_number(truncated: int, expected: int) -> int:
    """Return the full packet number for its low 32 bits (docs/protocol.md section 2.4)."""
    return expand_packet_number(truncated, expected)


def encode_header(version: int, flags: int, connection_id: bytes, sequence: int, ack: int, length: int) -> bytes:
    """Return the 32 header bytes.

    Raises ValueError when a field does not fit its place.
    """
    cdef uint8_t[32] out
    if len(connection_id) != 16:
        raise ValueError(f"a connection id has 16 bytes, not {len(connection_id)}")
    for name, value, bits in (("version", version, 8), ("flags", flags, 8), ("sequence", sequence, 32),
                              ("ack", ack, 32), ("length", length, 16)):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} = {value} does not fit into {bits} bits")
    cdef const uint8_t* cid = connection_id
    write_header(out, version, flags, cid, sequence, ack, length)
    return out[:32]


def decode_header(datagram: bytes) -> tuple[Verdict, tuple[int, int, bytes, int, int, int] | None]:
    """Check a datagram's header.

    Returns the verdict, and (version, flags, connection id, sequence, ack, length) when it is ACCEPTED.
    """
    cdef Header header
    cdef const uint8_t* data = datagram
    cdef Verdict verdict = parse_header(data, len(datagram), &header)
    if verdict != ACCEPTED:
        return verdict, None
    return verdict, (header.version, header.flags, header.id[:16], header.sequence, header.ack, header.length)


def encode_v1(flags: int, connection_id: bytes, sequence: int, ack: int,
              sack_blocks: list[tuple[int, int]], payload: bytes) -> bytes:
    """Return a version 1 datagram: header, SACK blocks (inclusive), payload.

    Raises ValueError for more than eight blocks, or a block whose start lies above its end.
    """
    if len(sack_blocks) > MAX_SACK_BLOCKS:
        raise ValueError(f"at most {MAX_SACK_BLOCKS} SACK blocks fit, not {len(sack_blocks)}")
    blocks = b""
    for start, end in sack_blocks:
        if start > end:
            raise ValueError(f"SACK block {start}-{end} ends before it starts")
        blocks += struct.pack(">II", start, end)
    return encode_header(1, flags, connection_id, sequence, ack, len(payload)) + blocks + payload


def decode_v1(datagram: bytes) -> tuple[int, bytes, int, int, list[tuple[int, int]], bytes] | None:
    """Return (flags, id, sequence, ack, SACK blocks, payload) of a version 1 datagram, None when it is malformed."""
    cdef Header header
    cdef const uint8_t* data = datagram
    if parse_header(data, len(datagram), &header) != ACCEPTED or header.version != 1:
        return None
    extra = len(datagram) - 32 - header.length
    if extra < 0 or extra % 8 or extra > 8 * MAX_SACK_BLOCKS:
        return None
    blocks = [struct.unpack_from(">II", datagram, 32 + at) for at in range(0, extra, 8)]
    if any(start > end for start, end in blocks):
        return None
    return header.flags, header.id[:16], header.sequence, header.ack, blocks, datagram[32 + extra:]
