"""What every registered codec must do: carry everything, and survive anything."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import codecs
from gateway import messages as m
from gateway.codec import DecodeError, EncodeError, Shape, plan
from gateway.errors import Code
from quantum_pb.gateway.v1 import envelope_pb2
from tests.support.envelopes import envelopes, minimal

NAMES = sorted(codecs.CODECS)
EVERY_CODEC = pytest.mark.parametrize("name", NAMES)
EVERY_KIND = pytest.mark.parametrize("kind", list(m.Kind))


def test_every_codec_in_the_folder_is_registered() -> None:
    folder = Path(codecs.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(NAMES)


@EVERY_CODEC
@EVERY_KIND
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_envelope_comes_back_as_it_was(name: str, kind: m.Kind, data: st.DataObject) -> None:
    codec = codecs.load(name)
    envelope = data.draw(envelopes(kind))
    encoded = codec.encode(envelope)
    assert codec.decode(encoded) == envelope
    assert codecs.sniff(encoded) is codec


@EVERY_CODEC
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_understood(name: str, data: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(codecs.load(name).decode(data), m.Envelope)


@EVERY_CODEC
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_envelope_is_refused_or_understood(name: str, data: st.DataObject) -> None:
    codec = codecs.load(name)
    encoded = bytearray(codec.encode(data.draw(envelopes(data.draw(st.sampled_from(m.Kind))))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    with suppress(DecodeError):
        understood = codec.decode(bytes(encoded))
        # What passed the border must be safe to send on, whatever it is.
        for other in NAMES:
            assert codecs.load(other).encode(understood)


@EVERY_CODEC
@EVERY_KIND
def test_a_missing_required_field_is_named(name: str, kind: m.Kind) -> None:
    codec = codecs.load(name)
    required = [item for item in plan(m.BODIES[kind]) if item.is_required]
    for missing in required:
        empty = {Shape.INT: 0, Shape.STR: "", Shape.JSON: None}[missing.shape]
        body = minimal(kind)
        object.__setattr__(body, missing.name, empty)
        with pytest.raises(DecodeError, match=f"needs the field '{missing.name}'") as caught:
            codec.decode(codec.encode(m.Envelope(body, id=7)))
        assert caught.value.code is Code.INVALID
        assert caught.value.request_id == 7


@EVERY_CODEC
def test_a_negative_number_is_refused(name: str) -> None:
    codec = codecs.load(name)
    encoded = codec.encode(m.Envelope(m.Ping(sent_ms=-5), id=3))
    with pytest.raises(DecodeError, match="'sent_ms' must be from 0") as caught:
        codec.decode(encoded)
    assert caught.value.request_id == 3


@EVERY_CODEC
def test_what_cannot_travel_is_refused_to_its_sender(name: str) -> None:
    codec = codecs.load(name)
    for value in (float("nan"), object(), {"a": b"bytes"}, "\ud800"):
        with pytest.raises(EncodeError, match="publish cannot be written"):
            codec.encode(m.Envelope(m.Publish("c", value=value)))


@EVERY_CODEC
def test_nesting_is_bounded(name: str) -> None:
    codec = codecs.load(name)
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(DecodeError, match="nested deeper than 32"):
        codec.decode(codec.encode(m.Envelope(m.Publish("c", value=value))))


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("", Code.MALFORMED, "not JSON"),
        ("{", Code.MALFORMED, r"not JSON: .*\(line 1, column 2\)"),
        ("[]", Code.MALFORMED, "must be a JSON object"),
        ("{}", Code.INVALID, "needs the field 'kind'"),
        ('{"kind": 7}', Code.INVALID, "needs the field 'kind'"),
        ('{"kind": "pong "}', Code.UNKNOWN_KIND, "there is no kind 'pong '"),
        ('{"kind": "ping", "id": -1}', Code.INVALID, "'id' must be an integer"),
        ('{"kind": "ping", "id": true}', Code.INVALID, "'id' must be an integer"),
        ('{"kind": "ping", "id": 1.0}', Code.INVALID, "'id' must be an integer"),
        ('{"kind": "ping", "body": []}', Code.INVALID, "'body' must be an object"),
        ('{"kind": "ping", "body": {"sent_ms": "1"}}', Code.INVALID, "must be an integer"),
        ('{"kind": "ping", "payload": "*"}', Code.INVALID, "'payload' is not base64"),
        ('{"kind": "publish", "body": {"channel": "c", "value": NaN}}', Code.MALFORMED, "NaN"),
        ('{"kind": "publish", "body": {"channel": "c", "value": 1e999}}', Code.MALFORMED, "double"),
        ('{"kind": "publish", "body": {"channel": "\\ud800"}}', Code.MALFORMED, "surrogate"),
        ("[" * 100_000, Code.MALFORMED, "nested deeper"),
        ('{"kind": "ping", "id": ' + "9" * 5000 + "}", Code.MALFORMED, "not JSON"),
    ],
)
def test_bad_json_gets_one_clear_sentence(text: str, code: Code, sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence) as caught:
        codecs.load("json").decode(text.encode())
    assert caught.value.code is code


def test_json_that_is_not_utf8_is_refused_with_its_place() -> None:
    with pytest.raises(DecodeError, match="not UTF-8 at byte 9"):
        codecs.load("json").decode(b'{"kind":"\xff"}')


def test_unknown_fields_are_skipped() -> None:
    text = '{"kind": "ping", "id": 1, "colour": "red", "body": {"sent_ms": 4, "mood": null}}'
    assert codecs.load("json").decode(text.encode()) == m.Envelope(m.Ping(4), id=1)


def test_json_leaves_out_what_has_its_default() -> None:
    encoded = codecs.load("json").encode(m.Envelope(m.Ping(5), id=9))
    assert json.loads(encoded) == {"kind": "ping", "id": 9, "body": {"sent_ms": 5}}


def test_the_schema_has_exactly_the_fields_of_the_bodies() -> None:
    for body in m.BODIES.values():
        message = envelope_pb2.DESCRIPTOR.message_types_by_name[body.__name__]
        assert [field.name for field in message.fields] == [item.name for item in plan(body)]


def test_no_schema_field_could_begin_like_json() -> None:
    numbers = {field.number for field in envelope_pb2.Envelope.DESCRIPTOR.fields}
    assert not numbers & set(range(11, 16))
