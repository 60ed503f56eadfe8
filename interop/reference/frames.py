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
    """ACK: inclusive (lowest, highest) ranges, the newest first; ``delay_us`` is microseconds."""

    ranges: tuple[tuple[int, int], ...]
    delay_us: int
    ecn: tuple[int, int, int] | None = None

    def encode(self) -> bytes:
        """Return the bytes."""
        (lowest, largest), *others = self.ranges
        fields = [largest, self.delay_us, len(others), largest - lowest]
        for low, high in others:
            fields += [lowest - high - 2, high - low]
            lowest = low
        return (b"\x02" if self.ecn is None else b"\x03") + _varints(*fields, *(self.ecn or ()))


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
class Datagram:
    """DATAGRAM: unreliable bytes."""

    data: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"\x1c" + _varints(len(self.data)) + self.data


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
    | Datagram
    | Done
    | Close
)


def is_ack_eliciting(frame: Frame) -> bool:
    """Tell whether a packet with *frame* must be acknowledged (last column of the table)."""
    # = 5.1: PADDING, ACK and CLOSE alone are not ack-eliciting.
    return not isinstance(frame, Padding | Ack | Close)


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
        case 0x02 | 0x03:
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
        case 0x1C:
            return Datagram(reader.take(varint()))
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
    ranges = [(largest - first, largest)]
    for _ in range(count):
        gap, length = reader.varint(), reader.varint()
        high = ranges[-1][0] - gap - 2
        low = high - length
        if low < 0:
            raise TruncatedError
        ranges.append((low, high))
    ecn = (reader.varint(), reader.varint(), reader.varint()) if kind == 0x03 else None
    return Ack(tuple(ranges), delay_us, ecn)
