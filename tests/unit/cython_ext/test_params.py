"""Configuration of the core: what is wrong is said in one sentence; parameters on the wire."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.core import Params
from cython_ext.core.params import MAX_VARINT, WIRE, decode_params, encode_varint

DEFAULTS = dict(WIRE.values())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"max_data": -1}, "max_data = -1 is not between 0 and"),
        ({"max_stream_data": 1 << 33}, "max_stream_data"),
        ({"max_streams_bidi": -1}, "max_streams_bidi"),
        ({"max_streams_uni": 1 << 21}, "max_streams_uni"),
        ({"max_message_bytes": (1 << 30) + 1}, "max_message_bytes"),
        ({"max_message_data": 0}, "max_message_data"),
        ({"max_message_bytes": 1 << 20, "max_message_data": 1 << 20}, "max_message_data"),
        ({"max_datagram_bytes": 1199}, "max_datagram_bytes = 1199 is not between 1200 and"),
        ({"idle_timeout_ns": -1}, "idle_timeout_ns"),
        ({"max_ack_delay_ns": 17_000_000_000}, "max_ack_delay_ns"),
        ({"send_datagram_bytes": 65_508}, "send_datagram_bytes"),
        ({"send_buffer_bytes": 0}, "send_buffer_bytes"),
        ({"message_buffer_bytes": 0}, "message_buffer_bytes"),
        ({"datagram_queue": 0}, "datagram_queue"),
        ({"keepalive_ns": -1}, "keepalive_ns"),
        ({"handshake_timeout_ns": 0}, "handshake_timeout_ns"),
        ({"initial_rtt_ns": 0}, "initial_rtt_ns"),
        ({"key_update_packets": 1 << 23}, "key_update_packets"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_half_open": 0}, "max_half_open"),
        (
            {"controller": "vegas"},
            "no congestion controller is called 'vegas'; known: bbr, new_reno, cubic",
        ),
        ({"fec": "sometimes"}, "fec = 'sometimes' is unknown; known: off, auto, always"),
        ({"repair_sources": 257}, "repair_sources = 257 is not between 0 and 256"),
        ({"assumed_loss": 0.6}, "assumed_loss = 0.6 is not between 0 and 0.5"),
        ({"suites": ()}, "suites are 1 (AES-256-GCM) and 2 (ChaCha20-Poly1305)"),
        ({"suites": (3,)}, "suites are 1"),
    ],
)
def test_a_value_out_of_range_is_told_in_one_sentence(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        Params(**values)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 160


def test_what_we_offer_is_read_back_by_the_peer() -> None:
    params = Params(
        max_data=5, max_stream_data=70_000, idle_timeout_ns=7_000_000, max_streams_uni=0
    )
    assert decode_params(params.encode()) == {
        "max_data": 5,
        "max_stream_data": 70_000,
        "max_streams_bidi": 256,
        "max_streams_uni": 0,
        "max_message_data": 4 << 20,
        "max_message_bytes": 1 << 20,
        "max_datagram_bytes": 1452,
        "idle_timeout_ms": 7,
        "max_ack_delay_us": 25_000,
        "repair_sources": 64,
    }


def test_no_parameters_are_the_defaults() -> None:
    assert decode_params(b"") == DEFAULTS


def item(key: int, value: bytes) -> bytes:
    return encode_varint(key) + encode_varint(len(value)) + value


@pytest.mark.parametrize(
    "wrong",
    [
        item(1, b"\x05") + item(1, b"\x05"),
        item(1, b""),
        item(1, b"\x05\x05"),
        item(1, b"\x40"),
        item(99, b"\x05") + item(99, b"\x05"),
        b"\x01",
        b"\x01\x04\x05",
        item(7, encode_varint(1199)),
        item(9, encode_varint((1 << 24) + 1)),
        item(10, encode_varint(257)),
    ],
)
def test_a_malformed_sequence_is_invalid(wrong: bytes) -> None:
    assert decode_params(wrong) is None


@given(st.dictionaries(st.integers(11, MAX_VARINT), st.integers(0, MAX_VARINT), max_size=8))
def test_unknown_parameters_are_ignored(extra: dict[int, int]) -> None:
    data = b"".join(item(key, encode_varint(value)) for key, value in extra.items())
    assert decode_params(data) == DEFAULTS


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_but_never_raise(data: bytes) -> None:
    found = decode_params(data)
    assert found is None or set(found) == set(DEFAULTS)
