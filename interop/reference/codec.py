"""Bytes of the header (sections 2.1, 2.2, 9), of variable-length integers and of packet numbers.

Knows no key, no state and no time. `frames` holds what lies inside a protected packet and
`hello` what lies inside a handshake packet. Every decoder raises `DropError` for bytes that the
specification tells a receiver to drop.
"""

import struct
from dataclasses import dataclass
from enum import Enum, IntFlag

from interop.reference.errors import Drop, DropError

MAGIC = b"QUNT"
HEADER_BYTES = 32
TAG_BYTES = 16
VARINT_MAX = 2**62 - 1
VERSION = 2
VERSION_NEGOTIATION = 0
VERSION_CLEARTEXT = 1
SUPPORTED_VERSIONS = (VERSION,)
ZERO_ID = bytes(16)

_HEADER = struct.Struct(">4sBB16sIIH")
_SACK = struct.Struct(">II")
SACK_BLOCKS_MAX = 8


class TruncatedError(Exception):
    """The bytes end before the value does, or the value cannot be."""


class Flag(IntFlag):
    """Bits of the flags byte (section 2.2)."""

    SYN = 0x01
    ACK = 0x02
    FIN = 0x04
    RST = 0x08
    FEC = 0x10
    PSH = 0x20
    URG = 0x40
    ECE = 0x80


class Kind(Enum):
    """The packets of version 2 (table of section 2.2)."""

    CLIENT_HELLO = "SYN"
    SERVER_HELLO = "SYN+ACK"
    RETRY = "SYN+RST"
    CLIENT_FINISHED = "PSH"
    STATELESS_RESET = "RST"
    PROTECTED = "protected"


_EXACT = {
    Flag.SYN: Kind.CLIENT_HELLO,
    Flag.SYN | Flag.ACK: Kind.SERVER_HELLO,
    Flag.SYN | Flag.RST: Kind.RETRY,
    Flag.PSH: Kind.CLIENT_FINISHED,
    Flag.RST: Kind.STATELESS_RESET,
}
_PROTECTED = Flag.ACK | Flag.FIN | Flag.FEC | Flag.URG


def kind_of(flags: int) -> Kind | None:
    """Return which packet *flags* announce, or None for a combination that does not exist."""
    if flags in _EXACT:
        return _EXACT[Flag(flags)]
    if flags & ~_PROTECTED == 0:
        return Kind.PROTECTED
    return None


@dataclass(frozen=True)
class Header:
    """The 32 bytes in the clear. In version 2 ``length`` counts all bytes after them."""

    flags: int
    connection_id: bytes
    sequence: int
    ack: int
    length: int
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the 32 bytes."""
        return _HEADER.pack(
            MAGIC,
            self.version,
            self.flags,
            self.connection_id,
            self.sequence & 0xFFFFFFFF,
            self.ack & 0xFFFFFFFF,
            self.length,
        )


def decode_header(datagram: bytes) -> Header:
    """Read the header of a datagram, applying the drop rules of sections 2.1 and 2.2."""
    # = 2.1: A receiver MUST drop a datagram that is shorter than 32 bytes or has another magic,
    if len(datagram) < HEADER_BYTES:
        raise DropError(Drop.TOO_SHORT)
    magic, version, flags, connection_id, sequence, ack, length = _HEADER.unpack_from(datagram)
    if magic != MAGIC:
        raise DropError(Drop.MAGIC)
    if version == VERSION:
        # = 2.1: and a version 2 packet whose length field differs from the datagram's size
        if length != len(datagram) - HEADER_BYTES:
            raise DropError(Drop.LENGTH)
        # = 2.1: A receiver MUST drop a version 2 packet whose connection id is all zero.
        if connection_id == ZERO_ID:
            raise DropError(Drop.ZERO_ID)
        # = 2.2: A receiver MUST drop a version 2 packet with any other combination of flags.
        if kind_of(flags) is None:
            raise DropError(Drop.FLAGS)
    return Header(flags, connection_id, sequence, ack, length, version)


@dataclass(frozen=True)
class CleartextPacket:
    """A packet of version 1 (section 9): ``sack`` blocks are inclusive (start, end) pairs."""

    flags: int
    connection_id: bytes
    sequence: int
    ack: int
    sack: tuple[tuple[int, int], ...] = ()
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return header, SACK blocks and payload."""
        if len(self.sack) > SACK_BLOCKS_MAX:
            raise ValueError("version 1 carries at most 8 SACK blocks; send the newest ones")
        header = Header(
            self.flags,
            self.connection_id,
            self.sequence,
            self.ack,
            len(self.payload),
            VERSION_CLEARTEXT,
        )
        return header.encode() + b"".join(_SACK.pack(*b) for b in self.sack) + self.payload


def decode_cleartext(datagram: bytes) -> CleartextPacket:
    """Read a packet of version 1."""
    if len(datagram) < HEADER_BYTES:
        raise DropError(Drop.TOO_SHORT)
    magic, version, flags, connection_id, sequence, ack, length = _HEADER.unpack_from(datagram)
    if magic != MAGIC:
        raise DropError(Drop.MAGIC)
    if version != VERSION_CLEARTEXT:
        raise DropError(Drop.VERSION)
    room = len(datagram) - HEADER_BYTES - length
    # = 9: the number of blocks is (datagram - 32 - length) / 8, which is whole.
    if room < 0 or room % 8:
        raise DropError(Drop.LENGTH)
    if room // 8 > SACK_BLOCKS_MAX:
        raise DropError(Drop.SACK)
    blocks = tuple(_SACK.iter_unpack(datagram[HEADER_BYTES : HEADER_BYTES + room]))
    if any(start > end for start, end in blocks):
        raise DropError(Drop.SACK)
    payload = datagram[HEADER_BYTES + room :]
    return CleartextPacket(flags, connection_id, sequence, ack, blocks, payload)


def encode_varint(value: int, size: int | None = None) -> bytes:
    """Write *value* in the fewest bytes, or in exactly *size* of 1, 2, 4 or 8 bytes."""
    if not 0 <= value <= VARINT_MAX:
        raise ValueError(f"{value} is not between 0 and 2^62 - 1")
    for prefix, bytes_ in enumerate((1, 2, 4, 8)):
        if size in (None, bytes_) and value < 1 << (8 * bytes_ - 2):
            return (value | prefix << (8 * bytes_ - 2)).to_bytes(bytes_, "big")
    raise ValueError(f"{value} does not fit into {size} bytes; leave the size out")


class Reader:
    """A cursor over bytes; every read past the end raises `TruncatedError`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """Read *count* bytes."""
        if count > self.remaining:
            raise TruncatedError
        piece = self.data[self.position : self.position + count]
        self.position += count
        return piece

    def integer(self, size: int) -> int:
        """Read a fixed-width integer of *size* bytes."""
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        """Read a variable-length integer; any of its lengths is accepted."""
        first = self.integer(1)
        value = first & 0x3F
        for _ in range((1 << (first >> 6)) - 1):
            value = value << 8 | self.integer(1)
        return value

    def rest(self) -> bytes:
        """Read everything that is left."""
        return self.take(self.remaining)


def recover_number(low: int, largest: int | None) -> int:
    """Return the packet number whose low 32 bits are *low*, closest to what is expected (2.4).

    *largest* is the largest number opened so far, None before any.
    """
    expected = 0 if largest is None else largest + 1
    window, half = 1 << 32, 1 << 31
    candidate = expected - expected % window + low
    if candidate + half <= expected and candidate + window < 1 << 62:
        return candidate + window
    if candidate > expected + half and candidate >= window:
        return candidate - window
    return candidate


class ReplayWindow:
    """Packet numbers that were processed (section 2.5)."""

    SIZE = 8192

    def __init__(self) -> None:
        self.largest: int | None = None
        self._seen: set[int] = set()

    def is_new(self, number: int) -> bool:
        """Tell whether *number* was not processed yet and is not below the window."""
        return not self.is_below(number) and number not in self._seen

    def is_below(self, number: int) -> bool:
        """Tell whether *number* is so old that the window does not say whether it was seen."""
        return self.largest is not None and number <= self.largest - self.SIZE

    def commit(self, number: int) -> None:
        """Record *number*; call it only once the packet was opened."""
        self._seen.add(number)
        self.largest = number if self.largest is None else max(self.largest, number)
        self._seen = {n for n in self._seen if n > self.largest - self.SIZE}
