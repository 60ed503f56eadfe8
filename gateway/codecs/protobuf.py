"""Envelopes as protobuf messages of ``proto/gateway/v1/envelope.proto``.

Bodies sit in a oneof whose field names are the body's names; JSON values travel as JSON text in
``bytes`` fields, since protobuf's own Struct would turn every integer into a double.
"""

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any

from google.protobuf.message import DecodeError as WireError
from google.protobuf.message import Message as Wire

from gateway.codec import DecodeError, EncodeError, Field, Shape, check_required, plan
from gateway.errors import Code
from gateway.json_value import parse_json
from gateway.messages import BODIES, Envelope, Kind
from quantum_pb.gateway.v1 import envelope_pb2


class ProtobufCodec:
    """The compact codec."""

    name = "protobuf"
    is_text = False

    def encode(self, envelope: Envelope) -> bytes:
        """Return *envelope* as protobuf. Raises `EncodeError` for what cannot travel."""
        wire = envelope_pb2.Envelope()
        try:
            _fill(wire, envelope)
            slot = getattr(wire, _SLOTS[type(envelope.body)])
            slot.SetInParent()  # a body whose fields all have their defaults still says its kind
            _fill(slot, envelope.body)
            return wire.SerializeToString()
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"a {envelope.kind} cannot be written: {error}") from None

    def decode(self, data: bytes) -> Envelope:
        """Return the envelope in *data*; raises `DecodeError` and nothing else."""
        wire = envelope_pb2.Envelope()
        try:
            wire.ParseFromString(data)
        except (WireError, UnicodeDecodeError, RecursionError):
            raise DecodeError(Code.MALFORMED, "the message is not a protobuf Envelope") from None
        request_id = max(wire.id, 0)
        try:
            return _envelope(wire)
        except DecodeError as error:
            error.request_id = request_id
            raise


def _envelope(wire: Any) -> Envelope:
    slot = wire.WhichOneof("body")
    if slot is None:
        raise DecodeError(
            Code.UNKNOWN_KIND, "the message has no body of a kind that this gateway knows"
        )
    kind = _KINDS[slot]
    body = _part(BODIES[kind], getattr(wire, slot), kind.value)
    return Envelope(body, **_values(Envelope, wire, kind.value))


def _part(part: type[Any], wire: Any, where: str) -> Any:
    values = _values(part, wire, where)
    check_required(part, values, where)
    return part(**values)


def _values(part: type[Any], wire: Any, where: str) -> dict[str, Any]:
    items = _items(part)
    values: dict[str, Any] = {}
    for descriptor, raw in wire.ListFields():
        if (item := items.get(descriptor.name)) is not None:
            values[item.name] = _read(item, raw, where)
    return values


def _read(item: Field, raw: Any, where: str) -> Any:
    shape = item.shape
    if shape is Shape.INT:
        if raw < 0:
            raise DecodeError(Code.INVALID, f"{where}: {item.name!r} must be from 0 to 2**63 - 1")
    elif shape is Shape.ONE:
        return _part(_type(item), raw, f"{where}.{item.name}")
    elif shape is Shape.MANY:
        return tuple(_part(_type(item), x, f"{where}.{item.name}") for x in raw)
    elif shape is Shape.STRS:
        return tuple(raw)
    elif shape is Shape.INTS:
        if any(x < 0 for x in raw):
            raise DecodeError(Code.INVALID, f"{where}: {item.name!r} may hold nothing below 0")
        return tuple(raw)
    elif shape is Shape.MAP:
        return dict(raw)
    elif shape is Shape.JSON:
        return parse_json(raw, f"{where}: {item.name!r}")
    elif shape is Shape.FLOAT and not (isfinite(raw) and raw >= 0):
        raise DecodeError(
            Code.INVALID, f"{where}: {item.name!r} must be a number that is not negative"
        )
    return raw


def _type(item: Field) -> type[Any]:
    assert item.part is not None
    return item.part


_ITEMS: dict[type[Any], dict[str, Field]] = {}


def _items(part: type[Any]) -> dict[str, Field]:
    found = _ITEMS.get(part)
    if found is None:
        found = _ITEMS[part] = {item.name: item for item in plan(part)}
    return found


Fill = Callable[[Any, str, Any], None]


def _fill(wire: Wire, part: Any) -> None:
    for name, default, put in _fillers(type(part)):
        value = getattr(part, name)
        if value != default:
            put(wire, name, value)


_FILLS: dict[type[Any], tuple[tuple[str, Any, Fill], ...]] = {}


def _fillers(part: type[Any]) -> tuple[tuple[str, Any, Fill], ...]:
    found = _FILLS.get(part)
    if found is None:
        found = tuple((item.name, item.default, _filler(item)) for item in plan(part))
        _FILLS[part] = found
    return found


def _filler(item: Field) -> Fill:
    return _FILLERS.get(item.shape, setattr)


def _fill_one(wire: Any, name: str, value: Any) -> None:
    slot = getattr(wire, name)
    slot.SetInParent()
    _fill(slot, value)


def _fill_many(wire: Any, name: str, value: Any) -> None:
    added = getattr(wire, name)
    for part in value:
        _fill(added.add(), part)


def _fill_list(wire: Any, name: str, value: Any) -> None:
    getattr(wire, name).extend(value)


def _fill_map(wire: Any, name: str, value: Any) -> None:
    getattr(wire, name).update(value)


def _fill_json(wire: Any, name: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    setattr(wire, name, text.encode())


_FILLERS: dict[Shape, Fill] = {
    Shape.JSON: _fill_json,
    Shape.MANY: _fill_many,
    Shape.MAP: _fill_map,
    Shape.ONE: _fill_one,
    Shape.INTS: _fill_list,
    Shape.STRS: _fill_list,
}


_SLOTS: dict[type[Any], str] = {
    body: re.sub(r"(?<!^)(?=[A-Z])", "_", body.__name__).lower() for body in BODIES.values()
}
_KINDS: dict[str, Kind] = {_SLOTS[body]: kind for kind, body in BODIES.items()}
