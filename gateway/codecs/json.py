"""Envelopes as JSON objects.

``{"kind": "ping", "id": 7, "body": {"sent_ms": 1}}``; bytes are standard base64 with padding; a
field that has its default may be left out, and is. Unknown fields are skipped, so that a newer peer
can add some.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from gateway.codec import (
    MAX_INTEGER,
    DecodeError,
    EncodeError,
    Field,
    Shape,
    check_required,
    plan,
)
from gateway.errors import Code
from gateway.json_value import parse_json
from gateway.messages import BODIES, Envelope, Kind


class JsonCodec:
    """The readable codec."""

    name = "json"
    is_text = True

    def encode(self, envelope: Envelope) -> bytes:
        """Return *envelope* as UTF-8 JSON. Raises `EncodeError` for what JSON cannot carry."""
        document: dict[str, Any] = {"kind": envelope.kind.value}
        document.update(_write(envelope))
        if body := _write(envelope.body):
            document["body"] = body
        try:
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"a {envelope.kind} cannot be written as JSON: {error}") from None

    def decode(self, data: bytes) -> Envelope:
        """Return the envelope in *data*; raises `DecodeError` and nothing else."""
        document = parse_json(data, "the message")
        if not isinstance(document, dict):
            raise DecodeError(Code.MALFORMED, "a message must be a JSON object")
        request_id = document.get("id", 0)
        if type(request_id) is not int or not 0 <= request_id <= MAX_INTEGER:
            raise DecodeError(Code.INVALID, "'id' must be an integer from 0 to 2**63 - 1")
        try:
            return _envelope(document)
        except DecodeError as error:
            error.request_id = request_id
            raise


def _envelope(document: dict[str, Any]) -> Envelope:
    name = document.get("kind")
    if not isinstance(name, str) or not name:
        raise DecodeError(Code.INVALID, "a message needs the field 'kind'")
    try:
        kind = Kind(name)
    except ValueError:
        raise DecodeError(Code.UNKNOWN_KIND, f"there is no kind {name[:64]!r}") from None
    body = document.get("body", {})
    if not isinstance(body, dict):
        raise DecodeError(Code.INVALID, "'body' must be an object")
    values: dict[str, Any] = {}
    for item in plan(Envelope):
        if (raw := document.get(item.name)) is not None:
            values[item.name] = _read(item, raw, name)
    return Envelope(_part(BODIES[kind], body, name), **values)


def _part(part: type[Any], document: dict[str, Any], where: str) -> Any:
    values: dict[str, Any] = {}
    for item in plan(part):
        if (raw := document.get(item.name)) is not None:
            values[item.name] = _read(item, raw, where)
    check_required(part, values, where)
    return part(**values)


def _read(item: Field, raw: Any, where: str) -> Any:
    shape = item.shape
    if shape is Shape.JSON:
        return raw
    if shape is Shape.STR and isinstance(raw, str):
        return raw
    if shape is Shape.INT and type(raw) is int:
        if _is_count(raw):
            return raw
        raise DecodeError(Code.INVALID, f"{where}: {item.name!r} must be from 0 to 2**63 - 1")
    if shape is Shape.BOOL and isinstance(raw, bool):
        return raw
    if shape is Shape.FLOAT and type(raw) in (int, float) and 0 <= raw <= MAX_INTEGER:
        return float(raw)
    if shape is Shape.BYTES and isinstance(raw, str):
        try:
            return b64decode(raw, validate=True)
        except ValueError:
            raise DecodeError(Code.INVALID, f"{where}: {item.name!r} is not base64") from None
    if shape is Shape.STRS and isinstance(raw, list) and all(isinstance(x, str) for x in raw):
        return tuple(raw)
    if shape is Shape.INTS and isinstance(raw, list) and all(_is_count(x) for x in raw):
        return tuple(raw)
    if (
        shape is Shape.MAP
        and isinstance(raw, dict)
        and all(isinstance(x, str) for x in raw.values())
    ):
        return raw
    if shape is Shape.ONE and isinstance(raw, dict):
        assert item.part is not None
        return _part(item.part, raw, f"{where}.{item.name}")
    if shape is Shape.MANY and isinstance(raw, list) and all(isinstance(x, dict) for x in raw):
        assert item.part is not None
        return tuple(_part(item.part, x, f"{where}.{item.name}") for x in raw)
    raise DecodeError(Code.INVALID, f"{where}: {item.name!r} must be {_EXPECTED[shape]}")


def _is_count(raw: Any) -> bool:
    return type(raw) is int and 0 <= raw <= MAX_INTEGER


_EXPECTED = {
    Shape.BOOL: "true or false",
    Shape.BYTES: "a base64 string",
    Shape.FLOAT: "a number that is not negative",
    Shape.INT: "an integer",
    Shape.INTS: "a list of integers from 0 to 2**63 - 1",
    Shape.MANY: "a list of objects",
    Shape.MAP: "an object of strings",
    Shape.ONE: "an object",
    Shape.STR: "a string",
    Shape.STRS: "a list of strings",
}


Writer = Callable[[Any], Any]


def _write(part: Any) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, default, write in _writers(type(part)):
        value = getattr(part, name)
        if value != default:
            written[name] = write(value)
    return written


_WRITERS: dict[type[Any], tuple[tuple[str, Any, Writer], ...]] = {}


def _writers(part: type[Any]) -> tuple[tuple[str, Any, Writer], ...]:
    found = _WRITERS.get(part)
    if found is None:
        found = tuple((item.name, item.default, _writer(item)) for item in plan(part))
        _WRITERS[part] = found
    return found


def _writer(item: Field) -> Writer:
    if item.shape is Shape.BYTES:
        return lambda value: b64encode(value).decode()
    if item.shape is Shape.ONE:
        return _write
    if item.shape is Shape.MANY:
        return lambda value: [_write(x) for x in value]
    return lambda value: value
