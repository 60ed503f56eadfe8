"""The codec contract, the plan both codecs follow, and the length framing for byte streams.

A plan lists a part's fields and their shapes, read once from its annotations: a new body needs no
codec code. This module knows no serialisation format.
"""

import struct
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum, auto
from types import UnionType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

from gateway.errors import Code, GatewayError
from gateway.messages import MAX_MESSAGE_BYTES, Envelope

MAX_INTEGER = (1 << 63) - 1
MAX_DEPTH = 32
_LENGTH = struct.Struct(">I")


class DecodeError(GatewayError):
    """Bytes that are not an envelope. *id* is the request's, when that much could be read."""

    def __init__(self, code: Code, reason: str, *, request_id: int = 0) -> None:
        super().__init__(code, reason)
        self.request_id = request_id


class EncodeError(ValueError):
    """An envelope that its sender filled with what cannot travel; the message says which field."""


class Codec(Protocol):
    """Envelope to bytes and back."""

    name: str
    is_text: bool

    def encode(self, envelope: Envelope) -> bytes:
        """Return the bytes of *envelope*. Raises `EncodeError` for what cannot travel."""
        ...

    def decode(self, data: bytes) -> Envelope:
        """Return the envelope in *data*. Raises `DecodeError`, and nothing else, whatever it is."""
        ...


class Shape(Enum):
    """The forms a field may take."""

    BOOL = auto()
    BYTES = auto()
    FLOAT = auto()
    INT = auto()
    INTS = auto()
    JSON = auto()
    MANY = auto()
    MAP = auto()
    ONE = auto()
    STR = auto()
    STRS = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a part: its name, shape, the part it holds, its zero, must it be there."""

    name: str
    shape: Shape
    part: type[Any] | None
    default: Any
    is_required: bool


_SCALARS = {
    bool: Shape.BOOL,
    bytes: Shape.BYTES,
    float: Shape.FLOAT,
    int: Shape.INT,
    str: Shape.STR,
    Any: Shape.JSON,
}


_PLANS: dict[type[Any], tuple[Field, ...]] = {}


def plan(part: type[Any]) -> tuple[Field, ...]:
    """Return the fields of *part* in order. Raises `TypeError` for an annotation with no shape."""
    found = _PLANS.get(part)
    if found is None:
        found = _PLANS[part] = _read_plan(part)
    return found


def _read_plan(part: type[Any]) -> tuple[Field, ...]:
    hints = get_type_hints(part)
    found = []
    for item in fields(part):
        if part is Envelope and item.name == "body":
            continue  # chosen by the kind: each codec has its own place for it
        shape, inner = _shape(hints[item.name])
        default = item.default if item.default_factory is MISSING else item.default_factory()
        found.append(Field(item.name, shape, inner, default, default is MISSING))
    return tuple(found)


def _shape(hint: Any) -> tuple[Shape, type[Any] | None]:
    if (scalar := _SCALARS.get(hint)) is not None:
        return scalar, None
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and arguments[0] is str:
        return Shape.STRS, None
    if origin is tuple and arguments[0] is int:
        return Shape.INTS, None
    if origin is tuple and _is_part(arguments[0]):
        return Shape.MANY, arguments[0]
    if origin is dict and arguments == (str, str):
        return Shape.MAP, None
    if origin is UnionType and _is_part(arguments[0]) and arguments[1] is type(None):
        return Shape.ONE, arguments[0]
    raise TypeError(f"no codec shape for the annotation {hint!r}")


def _is_part(hint: Any) -> bool:
    return is_dataclass(hint)


def check_required(part: type[Any], values: dict[str, Any], where: str) -> None:
    """Refuse a part that lacks a required field. Raises `DecodeError`."""
    for item in plan(part):
        if item.is_required and not values.get(item.name):
            raise DecodeError(Code.INVALID, f"{where} needs the field {item.name!r}")


class FrameDecoder:
    """Cut a byte stream into frames: 4 bytes of big-endian length, then that many bytes.

    It holds at most one frame and its prefix, plus whatever the last `feed` brought.
    """

    def __init__(self, max_frame_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the frames that are whole.

        Raises `DecodeError` for a length of zero or above the limit; the stream is then useless.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length == 0:
                raise DecodeError(Code.MALFORMED, "a frame of length 0 is not an envelope")
            if length > self._max_frame_bytes:
                raise DecodeError(
                    Code.TOO_LARGE,
                    f"a frame of {length} bytes is above the limit of {self._max_frame_bytes}",
                )
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
        return frames

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._buffer)


def frame(data: bytes) -> bytes:
    """Return *data* with its length in front, as `FrameDecoder` expects it."""
    return _LENGTH.pack(len(data)) + data
