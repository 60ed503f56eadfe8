"""The frames of section 5, one dataclass each, with their bytes.

`decode_frames` reads a whole plaintext or raises `ViolationError` FRAME_ENCODING; it judges
bytes, not whether the frame is allowed now.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from interop.reference.codec import VARINT_MAX, Reader, TruncatedError, encode_varint
from interop.reference.errors import Code, ViolationError

MAX_STREAMS_MAX = 1 << 60
REASON_BYTES_MAX = 256
TOKEN_BYTES = 16
RECOVERED_RANGES_MAX = 64
SHARDS_MAX = 256

Range = tuple[int, int]


def _varints(*values: int) -> bytes:
    return b"".join(encode_varint(value) for value in values)


@dataclass(frozen=True)
class Padding:
    """PADDING: *count* bytes 00, each of which is a frame."""

    count: int = 1

    def encode(self) -> bytes:
        """Return the bytes."""
        return bytes(self.count)


@dataclass(frozen=True)
class Ping:
    """PING."""

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x01"


@dataclass(frozen=True)
class Ack:
    """ACK: inclusive (lowest, highest) ranges, the newest first; ``delay_us`` is microseconds.

    ``recovered`` are the ranges that were rebuilt, also the newest first; ``ecn`` counts packets
    that came with ECT(0), ECT(1) and CE.
    """

    ranges: tuple[Range, ...]
    delay_us: int
    ecn: tuple[int, int, int] | None = None
    recovered: tuple[Range, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes."""
        (lowest, largest), *others = self.ranges
        fields = [largest, self.delay_us, len(others), largest - lowest]
        for low, high in others:
            fields += [lowest - high - 2, high - low]
            lowest = low
        if self.recovered:
            fields.append(len(self.recovered))
            # = 5.2: The highest number of the first one is largest - gap - 1,
            lowest = largest + 1
            for low, high in self.recovered:
                fields += [lowest - high - 2, high - low]
                lowest = low
        kind = 0x02 + (self.ecn is not None) + 2 * bool(self.recovered)
        return bytes([kind]) + _varints(*fields, *(self.ecn or ()))


@dataclass(frozen=True)
class ResetStream:
    """RESET_STREAM: the sending half ends at ``final_size`` bytes."""

    stream_id: int
    code: int
    final_size: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x06" + _varints(self.stream_id, self.code, self.final_size)


@dataclass(frozen=True)
class StopSending:
    """STOP_SENDING: asks the peer to reset its sending half."""

    stream_id: int
    code: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x07" + _varints(self.stream_id, self.code)


@dataclass(frozen=True)
class Stream:
    """STREAM: bytes of a stream. ``has_length`` false lets the data reach to the packet's end."""

    stream_id: int
    offset: int
    data: bytes
    fin: bool = False
    has_length: bool = True

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        return self.offset + len(self.data)

    def encode(self) -> bytes:
        """Return the bytes; offset 0 is left out."""
        kind = 0x08 | (0x04 if self.offset else 0) | (0x02 if self.has_length else 0) | self.fin
        out = bytes([kind]) + encode_varint(self.stream_id)
        if self.offset:
            out += encode_varint(self.offset)
        if self.has_length:
            out += encode_varint(len(self.data))
        return out + self.data


@dataclass(frozen=True)
class MaxData:
    """MAX_DATA."""

    limit: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x10" + _varints(self.limit)


@dataclass(frozen=True)
class MaxStreamData:
    """MAX_STREAM_DATA."""

    stream_id: int
    limit: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x11" + _varints(self.stream_id, self.limit)


@dataclass(frozen=True)
class MaxStreams:
    """MAX_STREAMS for one kind of stream."""

    limit: int
    unidirectional: bool = False

    def encode(self) -> bytes:
        """Return the bytes."""
        return (b"\x13" if self.unidirectional else b"\x12") + _varints(self.limit)


@dataclass(frozen=True)
class Message:
    """MESSAGE: a whole message."""

    message_id: int
    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x18" + _varints(self.message_id, len(self.data)) + self.data


@dataclass(frozen=True)
class MessagePart:
    """MESSAGE_PART: bytes of a message of ``total`` bytes from ``offset`` on."""

    message_id: int
    total: int
    offset: int
    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        fields = _varints(self.message_id, self.total, self.offset, len(self.data))
        return b"\x19" + fields + self.data


@dataclass(frozen=True)
class MaxMessageData:
    """MAX_MESSAGE_DATA."""

    limit: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x1a" + _varints(self.limit)


@dataclass(frozen=True)
class MessageExpired:
    """MESSAGE_EXPIRED: the sender gave up a message of ``size`` bytes."""

    message_id: int
    size: int

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x1b" + _varints(self.message_id, self.size)


@dataclass(frozen=True)
class Datagram:
    """DATAGRAM: unreliable bytes."""

    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x1c" + _varints(len(self.data)) + self.data


@dataclass(frozen=True)
class Repair:
    """REPAIR: parity ``index`` of the block of ``sources``, packet numbers in ascending order.

    ``parities`` is what the specification calls m: how many parities the sender may make.
    """

    sources: tuple[int, ...]
    parities: int
    index: int
    shard: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        pairs = zip(self.sources, self.sources[1:], strict=False)
        gaps = [number - before - 1 for before, number in pairs]
        fields = [len(self.sources), self.parities, self.index, self.sources[0], *gaps]
        return b"\x20" + _varints(*fields, len(self.shard)) + self.shard


@dataclass(frozen=True)
class Done:
    """DONE: the server confirms the handshake and gives its stateless reset token."""

    token: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x30" + self.token


@dataclass(frozen=True)
class Close:
    """CLOSE by the transport, or by the application; nobody checks that ``reason`` is UTF-8."""

    code: int
    reason: bytes = b""
    application: bool = False

    def encode(self) -> bytes:
        """Return the bytes."""
        kind = b"\x32" if self.application else b"\x31"
        return kind + _varints(self.code, len(self.reason)) + self.reason


Frame = (
    Padding
    | Ping
    | Ack
    | ResetStream
    | StopSending
    | Stream
    | MaxData
    | MaxStreamData
    | MaxStreams
    | Message
    | MessagePart
    | MaxMessageData
    | MessageExpired
    | Datagram
    | Repair
    | Done
    | Close
)


def is_ack_eliciting(frame: Frame) -> bool:
    """Tell whether a packet with *frame* must be acknowledged (last column of the table)."""
    # = 5.1: PADDING, ACK and CLOSE alone are not ack-eliciting.
    return not isinstance(frame, Padding | Ack | Close)


def may_be_source(frame: Frame) -> bool:
    """Tell whether a packet with the flag FEC may contain *frame* (section 5.7)."""
    if isinstance(frame, Stream):
        return frame.has_length
    messages = Message | MessagePart | MessageExpired | Datagram
    limits = MaxData | MaxStreamData | MaxStreams | MaxMessageData
    return isinstance(frame, Padding | ResetStream | messages | limits)


def encode_frames(frames: Sequence[Frame]) -> bytes:
    """Return the plaintext of a protected packet."""
    return b"".join(frame.encode() for frame in frames)


def decode_frames(plaintext: bytes) -> list[Frame]:
    """Read every frame of a protected packet, or raise `ViolationError` FRAME_ENCODING."""
    reader = Reader(plaintext)
    frames: list[Frame] = []
    # = 5: A receiver MUST NOT act on any frame of a packet that has a frame which does not parse.
    while reader.remaining:
        try:
            frames.append(_decode_frame(reader))
        except TruncatedError as error:
            raise ViolationError(Code.FRAME_ENCODING, "a frame does not parse") from error
    return frames


def _decode_frame(reader: Reader) -> Frame:
    kind = reader.integer(1)
    varint = reader.varint
    if 0x08 <= kind <= 0x0F:
        return _decode_stream(kind, reader)
    match kind:
        case 0x00:
            count = 1
            while reader.remaining and reader.data[reader.position] == 0:
                reader.take(1)
                count += 1
            return Padding(count)
        case 0x01:
            return Ping()
        case 0x02 | 0x03 | 0x04 | 0x05:
            return _decode_ack(kind, reader)
        case 0x06:
            return ResetStream(varint(), varint(), varint())
        case 0x07:
            return StopSending(varint(), varint())
        case 0x10:
            return MaxData(varint())
        case 0x11:
            return MaxStreamData(varint(), varint())
        case 0x12 | 0x13:
            limit = varint()
            # = 5.4: the value is at most 2^60, otherwise FRAME_ENCODING.
            if limit > MAX_STREAMS_MAX:
                raise TruncatedError
            return MaxStreams(limit, unidirectional=kind == 0x13)
        case 0x18:
            return Message(varint(), reader.take(varint()))
        case 0x19:
            return MessagePart(varint(), varint(), varint(), reader.take(varint()))
        case 0x1A:
            return MaxMessageData(varint())
        case 0x1B:
            return MessageExpired(varint(), varint())
        case 0x1C:
            return Datagram(reader.take(varint()))
        case 0x20:
            return _decode_repair(reader)
        case 0x30:
            return Done(reader.take(TOKEN_BYTES))
        case 0x31 | 0x32:
            code, length = varint(), varint()
            if length > REASON_BYTES_MAX:
                raise TruncatedError
            return Close(code, reader.take(length), application=kind == 0x32)
        case _:
            # = 5: An unknown type or a frame that does not parse closes with FRAME_ENCODING.
            raise TruncatedError


def _decode_stream(kind: int, reader: Reader) -> Stream:
    stream_id = reader.varint()
    offset = reader.varint() if kind & 0x04 else 0
    has_length = bool(kind & 0x02)
    data = reader.take(reader.varint()) if has_length else reader.rest()
    # = 5.3: offset + length is at most 2^62 - 1, otherwise FRAME_ENCODING.
    if offset + len(data) > VARINT_MAX:
        raise TruncatedError
    return Stream(stream_id, offset, data, bool(kind & 0x01), has_length)


def _decode_ack(kind: int, reader: Reader) -> Ack:
    largest, delay_us, count, first = (reader.varint() for _ in range(4))
    # = 5.2: Numbers below 0 do not parse.
    if first > largest:
        raise TruncatedError
    ranges = [(largest - first, largest), *_decode_ranges(reader, count, largest - first)]
    recovered: list[Range] = []
    if kind in (0x04, 0x05):
        count = reader.varint()
        # = 5.2: Zero recovered ranges do not parse. More than 64 do not parse either.
        if not 1 <= count <= RECOVERED_RANGES_MAX:
            raise TruncatedError
        # = 5.2: The highest number of the first one is largest - gap - 1,
        recovered = _decode_ranges(reader, count, largest + 1)
    ecn = (reader.varint(), reader.varint(), reader.varint()) if kind in (0x03, 0x05) else None
    return Ack(tuple(ranges), delay_us, ecn, tuple(recovered))


def _decode_ranges(reader: Reader, count: int, lowest: int) -> list[Range]:
    """Read *count* ranges below a range that begins at *lowest*."""
    ranges: list[Range] = []
    for _ in range(count):
        gap, length = reader.varint(), reader.varint()
        high = lowest - gap - 2
        lowest = high - length
        if lowest < 0:
            raise TruncatedError
        ranges.append((lowest, high))
    return ranges


def _decode_repair(reader: Reader) -> Repair:
    # = 5.7: REPAIR carries one parity: varints k >= 1, m >= 1 with k + m <= 256, index < m,
    k, m, index = (reader.varint() for _ in range(3))
    if k < 1 or m < 1 or k + m > SHARDS_MAX or index >= m:
        raise TruncatedError
    sources = [reader.varint()]
    for _ in range(k - 1):
        sources.append(sources[-1] + reader.varint() + 1)
    length = reader.varint()
    # = 5.7: Anything else, a length of 0, and numbers from 2^62 on do not parse.
    if length == 0 or sources[-1] > VARINT_MAX:
        raise TruncatedError
    return Repair(tuple(sources), m, index, reader.take(length))
