"""Frames of the core's parser as the vectors and the oracle write them."""

from collections.abc import Sequence
from typing import Any

from interop.reference.frames import (
    Ack,
    Close,
    Datagram,
    Done,
    Frame,
    MaxData,
    MaxMessageData,
    MaxStreamData,
    MaxStreams,
    Message,
    MessageExpired,
    MessagePart,
    Padding,
    Ping,
    Repair,
    ResetStream,
    StopSending,
    Stream,
)
from interop.wire_vectors import frame_value


def oracle_frame(fields: tuple[Any, ...]) -> Frame:
    """Return one tuple of ``parse_frames`` as the oracle's value; PADDING is one byte each."""
    kind, *rest = fields
    if 0x08 <= kind <= 0x0F:
        stream_id, offset, data = rest
        return Stream(stream_id, offset, data, bool(kind & 1), bool(kind & 2))
    match kind:
        case 0x00:
            return Padding()
        case 0x01:
            return Ping()
        case 0x02 | 0x03 | 0x04 | 0x05:
            delay, ranges, ecn, *recovered = rest
            return Ack(tuple(ranges), delay, ecn, tuple(*recovered))
        case 0x20:
            parities, index, sources, shard = rest
            return Repair(tuple(sources), parities, index, shard)
        case 0x12 | 0x13:
            return MaxStreams(rest[0], unidirectional=kind == 0x13)
        case 0x31 | 0x32:
            return Close(rest[0], rest[1], application=kind == 0x32)
    simple: dict[int, type[Any]] = {
        0x06: ResetStream,
        0x07: StopSending,
        0x10: MaxData,
        0x11: MaxStreamData,
        0x18: Message,
        0x19: MessagePart,
        0x1A: MaxMessageData,
        0x1B: MessageExpired,
        0x1C: Datagram,
        0x30: Done,
    }
    frame: Frame = simple[kind](*rest)
    return frame


def joined(frames: Sequence[Frame]) -> list[Frame]:
    """Return *frames* with each run of PADDING as one, as the oracle reads it."""
    out: list[Frame] = []
    for frame in frames:
        if isinstance(frame, Padding) and out and isinstance(out[-1], Padding):
            out[-1] = Padding(out[-1].count + frame.count)
        else:
            out.append(frame)
    return out


def values(parsed: Sequence[tuple[Any, ...]]) -> list[Frame]:
    """Return what ``parse_frames`` gave as the oracle's values."""
    return joined([oracle_frame(fields) for fields in parsed])


def oracle_frames(parsed: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return what ``parse_frames`` gave as the objects of a vector."""
    return [frame_value(frame) for frame in values(parsed)]
