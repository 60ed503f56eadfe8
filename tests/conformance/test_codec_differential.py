"""Core parser against oracle parser: the same verdict and the same values for any bytes."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cython_ext.core.params import decode_params, decode_varint, encode_varint
from cython_ext.wire import (
    Verdict,
    decode_header,
    decode_packet_number,
    decode_v1,
    encode_ack,
    encode_header,
    parse_frames,
)
from interop.reference import codec
from interop.reference.errors import Drop, DropError, ViolationError
from interop.reference.frames import Ack, Frame, decode_frames, encode_frames
from interop.reference.hello import Parameters, decode_parameters
from tests.support.frame_strategies import ack, frames, varint
from tests.support.frame_values import joined, values

many = settings(max_examples=400, deadline=None)
REASONS = {
    None: Verdict.ACCEPTED,
    Drop.TOO_SHORT: Verdict.TOO_SHORT,
    Drop.MAGIC: Verdict.BAD_MAGIC,
    Drop.LENGTH: Verdict.BAD_LENGTH,
    Drop.ZERO_ID: Verdict.ZERO_ID,
    Drop.FLAGS: Verdict.BAD_FLAGS,
}
KINDS = [*range(0x34), 0x3F, 0x40, 0xFF]


def check_frames(plaintext: bytes) -> None:
    """Assert that both parsers say the same of *plaintext*."""
    parsed = parse_frames(plaintext)
    try:
        expected: list[Frame] | None = decode_frames(plaintext)
    except ViolationError:
        expected = None
    assert (None if parsed is None else values(parsed)) == expected


def oracle_header(datagram: bytes) -> tuple[Drop | None, codec.Header | None]:
    try:
        return None, codec.decode_header(datagram)
    except DropError as dropped:
        return dropped.reason, None


def check_header(datagram: bytes) -> None:
    """Assert that both read the same header, of any version, or drop for the same reason."""
    verdict, fields = decode_header(datagram)
    reason, header = oracle_header(datagram)
    assert verdict is REASONS[reason]
    if header is None:
        assert fields is None
        return
    assert fields == (
        header.version,
        header.flags,
        header.connection_id,
        header.sequence,
        header.ack,
        header.length,
    )
    assert encode_header(*fields) == header.encode()


def check_cleartext(datagram: bytes) -> None:
    """Assert that both read the same packet of version 1, or none."""
    decoded = decode_v1(datagram)
    try:
        packet = codec.decode_cleartext(datagram)
    except DropError:
        assert decoded is None
        return
    assert decoded == (
        packet.flags,
        packet.connection_id,
        packet.sequence,
        packet.ack,
        list(packet.sack),
        packet.payload,
    )


def check_parameters(data: bytes) -> None:
    """Assert that both read the same parameters, or call them invalid."""
    decoded = decode_params(data)
    try:
        expected = decode_parameters(data)
    except DropError:
        assert decoded is None
        return
    assert decoded is not None
    assert Parameters(**decoded) == expected


def prefixes_and_flips(data: bytes) -> list[bytes]:
    """Return every prefix of *data*, and *data* with each single bit flipped."""
    cut = [data[:end] for end in range(len(data) + 1)]
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        cut.append(bytes(changed))
    return cut


@given(st.binary(max_size=200))
@many
def test_any_bytes_are_the_same_frames(plaintext: bytes) -> None:
    check_frames(plaintext)


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 80), max_size=24), st.binary(max_size=8))
@example(kind=0x02, small=[5, 0, 1, 0, 4, 0], rest=b"")
@example(kind=0x31, small=[0], rest=b"\x41\x00")
@many
def test_bytes_that_begin_like_a_frame_are_the_same_frames(
    kind: int, small: list[int], rest: bytes
) -> None:
    check_frames(bytes([kind, *small]) + rest)


@given(st.sampled_from(KINDS), st.lists(varint, max_size=8), st.binary(max_size=40))
@many
def test_frames_of_any_integers_are_the_same_frames(
    kind: int, numbers: list[int], rest: bytes
) -> None:
    check_frames(bytes([kind]) + b"".join(map(codec.encode_varint, numbers)) + rest)


@given(st.lists(frames, max_size=6))
@many
def test_valid_frames_are_read_alike(written: list[Frame]) -> None:
    parsed = parse_frames(encode_frames(written))
    assert parsed is not None
    assert values(parsed) == joined(written)


@given(st.lists(frames, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_prefix_and_flip_of_valid_frames_is_judged_alike(written: list[Frame]) -> None:
    for data in prefixes_and_flips(encode_frames(written)):
        check_frames(data)


@given(ack)
def test_an_acknowledgement_is_written_alike(frame: Ack) -> None:
    plain = Ack(frame.ranges, frame.delay_us)
    assert encode_ack(list(frame.ranges), frame.delay_us) == plain.encode()


@cache
def headers() -> list[bytes]:
    """Return a short datagram of each kind of packet and of each version."""
    flags = [0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x20, 0x40, 0x56]
    made = [encode_header(2, f, bytes(range(1, 17)), 7, 9, 5) + b"hello" for f in flags]
    made += [encode_header(v, 1, bytes(range(16)), 7, 9, 5) + b"hello" for v in (0, 1, 3)]
    return [*made, encode_header(1, 2, bytes(16), 7, 9, 0) + bytes(16)]


@pytest.mark.parametrize("index", range(13))
def test_every_prefix_and_flip_of_a_packet_is_judged_alike(index: int) -> None:
    for data in prefixes_and_flips(headers()[index]):
        check_header(data)
        check_cleartext(data)


@given(st.binary(max_size=120), st.integers(0, 255), st.integers(0, 4))
@many
def test_any_bytes_are_the_same_header(data: bytes, flags: int, version: int) -> None:
    length = max(len(data) - 26, 0).to_bytes(2, "big")
    for datagram in (
        data,
        b"QUNT" + data,
        b"QUNT" + bytes([version, flags]) + data,
        b"QUNT" + bytes([version, flags]) + data[:24] + length + data[26:],
    ):
        check_header(datagram)
        check_cleartext(datagram)


@given(st.integers(0, 2**32 - 1), st.none() | st.integers(0, 2**62 - 2))
@example(low=2**31, largest=2**32 - 1)
@example(low=0, largest=2**62 - 2)
@many
def test_packet_numbers_are_recovered_alike(low: int, largest: int | None) -> None:
    expected = 0 if largest is None else largest + 1
    assert decode_packet_number(low, expected) == codec.recover_number(low, largest)


@given(st.binary(max_size=12))
def test_integers_are_read_alike(data: bytes) -> None:
    reader = codec.Reader(data)
    decoded = decode_varint(data, 0)
    try:
        value = reader.varint()
    except codec.TruncatedError:
        assert decoded is None
        return
    assert decoded == (value, reader.position)


@given(varint)
def test_integers_are_written_alike(value: int) -> None:
    assert encode_varint(value) == codec.encode_varint(value)


items = st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**62 - 1))


@given(st.lists(items, max_size=10), st.binary(max_size=3))
@many
def test_parameters_are_read_alike(listed: list[tuple[int, int, int]], tail: bytes) -> None:
    data = b""
    for number, size, value in listed:
        item = codec.encode_varint(value % (1 << (8 * size - 2)), size)
        data += codec.encode_varint(number) + codec.encode_varint(len(item)) + item
    check_parameters(data)
    check_parameters(data + tail)


@given(st.binary(max_size=60))
@many
def test_any_bytes_are_the_same_parameters(data: bytes) -> None:
    check_parameters(data)


def test_every_prefix_and_flip_of_parameters_is_judged_alike() -> None:
    for data in prefixes_and_flips(Parameters(max_data=1 << 20, max_streams_uni=3).encode()):
        check_parameters(data)
