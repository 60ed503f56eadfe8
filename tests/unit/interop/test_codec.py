"""Laws of the oracle's codec: what is written is read back, and no bytes make it fall over."""

from hypothesis import given
from hypothesis import strategies as st

from interop.reference.codec import (
    CleartextPacket,
    Header,
    Reader,
    ReplayWindow,
    decode_cleartext,
    decode_header,
    encode_varint,
    kind_of,
    recover_number,
)
from interop.reference.errors import Code, DropError, ViolationError
from interop.reference.frames import Frame, decode_frames, encode_frames
from interop.reference.hello import (
    Parameters,
    decode_client_hello,
    decode_parameters,
    decode_server_hello_sealed,
)
from tests.support.frame_strategies import frames, short, varint


@given(varint)
def test_a_varint_is_read_back_from_each_of_its_lengths(value: int) -> None:
    for size in (1, 2, 4, 8):
        if value < 1 << (8 * size - 2):
            assert Reader(encode_varint(value, size)).varint() == value
    assert len(encode_varint(value)) == len(encode_varint(value, len(encode_varint(value))))


@given(st.lists(frames, max_size=8))
def test_frames_are_read_back(written: list[Frame]) -> None:
    assert decode_frames(encode_frames(written)) == written


@given(st.binary(max_size=200))
def test_any_plaintext_parses_or_violates_frame_encoding(plaintext: bytes) -> None:
    try:
        decoded, code = decode_frames(plaintext), None
    except ViolationError as violation:
        decoded, code = [], violation.code
    assert code in (None, Code.FRAME_ENCODING)
    assert decode_frames(encode_frames(decoded)) == decoded


@given(st.integers(0, 255), st.binary(min_size=16, max_size=16), short)
def test_a_header_is_read_back_or_dropped(flags: int, identity: bytes, payload: bytes) -> None:
    header = Header(flags, identity, 7, 9, len(payload))
    try:
        assert decode_header(header.encode() + payload) == header
    except DropError:
        assert kind_of(flags) is None or identity == bytes(16)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_packet_of_version_1_or_dropped(data: bytes) -> None:
    for datagram in (data, b"QUNT\x01" + data):
        try:
            packet = decode_cleartext(datagram)
        except DropError:
            continue
        assert isinstance(packet, CleartextPacket)
        assert packet.encode() == datagram


@given(st.binary(max_size=300))
def test_any_bytes_are_a_hello_or_dropped(data: bytes) -> None:
    for decode in (decode_parameters, decode_client_hello, decode_server_hello_sealed):
        try:
            decode(data)
        except DropError:
            continue


@given(st.builds(Parameters, varint, varint, max_ack_delay_us=st.integers(0, 1 << 24)))
def test_parameters_are_read_back(parameters: Parameters) -> None:
    assert decode_parameters(parameters.encode()) == parameters


@given(st.integers(0, 2**62 - 2), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_number_within_half_a_window_is_recovered(expected: int, distance: int) -> None:
    number = expected + distance
    if 0 <= number < 2**62 and expected > 0:
        assert recover_number(number % 2**32, expected - 1) == number


@given(st.lists(st.integers(0, 20_000), max_size=60))
def test_a_number_is_never_taken_twice(numbers: list[int]) -> None:
    window, taken = ReplayWindow(), []
    for number in numbers:
        if window.is_new(number):
            window.commit(number)
            taken.append(number)
        else:
            assert number in taken or number <= max(taken) - ReplayWindow.SIZE
    assert len(set(taken)) == len(taken)
