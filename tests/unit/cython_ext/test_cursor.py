"""Reading and writing with bounds: varints in every form, and failures that stick."""

from hypothesis import given
from hypothesis import strategies as st

from cython_ext.core.params import decode_varint, encode_varint
from cython_ext.probe import ReaderProbe, WriterProbe, size_of_varint
from cython_ext.wire import decode_packet_number

TOP = (1 << 62) - 1
EDGES = [0, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, TOP]
values = st.one_of(st.sampled_from(EDGES), st.integers(0, TOP), st.integers(0, 1 << 16))


@given(values)
def test_a_varint_survives_the_trip_in_its_shortest_form(value: int) -> None:
    writer = WriterProbe(8)
    writer.varint(value)
    data = writer.written()
    assert len(data) == size_of_varint(value)
    assert data == encode_varint(value)
    reader = ReaderProbe(data)
    assert (reader.varint(), reader.left, reader.failed) == (value, 0, False)
    assert decode_varint(data, 0) == (value, len(data))


@given(st.integers(0, 63), st.sampled_from((1, 2, 4, 8)))
def test_a_varint_is_read_in_every_length(value: int, size: int) -> None:
    prefix = {1: 0, 2: 1, 4: 2, 8: 3}[size] << (8 * size - 2)
    assert ReaderProbe((value | prefix).to_bytes(size, "big")).varint() == value


@given(values, st.integers(0, 8))
def test_a_varint_that_does_not_fit_is_not_written_at_all(value: int, capacity: int) -> None:
    writer = WriterProbe(capacity)
    writer.varint(value)
    assert writer.is_intact
    assert writer.failed == (size_of_varint(value) > capacity)
    assert len(writer.written()) == (0 if writer.failed else size_of_varint(value))


@given(st.integers(TOP + 1, (1 << 64) - 1))
def test_a_number_above_the_varints_fails(value: int) -> None:
    writer = WriterProbe(16)
    writer.varint(value)
    assert writer.failed
    assert writer.written() == b""


@given(
    st.binary(max_size=24), st.lists(st.sampled_from(("u8", "u16", "varint", "take")), max_size=24)
)
def test_a_reader_never_passes_the_end_and_a_failure_sticks(data: bytes, reads: list[str]) -> None:
    reader = ReaderProbe(data)
    failed = False
    for read in reads:
        left = reader.left
        if read == "take":
            taken = reader.take(3)
            assert (taken is None) == (left < 3)
            assert taken is None or taken == data[len(data) - left :][:3]
        else:
            need = {"u8": 1, "u16": 2}.get(read) or (1 << (data[-left] >> 6) if left else 1)
            value = getattr(reader, read)()
            if need > left:
                assert value == 0
        failed = failed or reader.failed
        assert reader.failed == failed
        assert 0 <= reader.left <= left


@given(
    st.lists(st.one_of(st.binary(max_size=5), st.integers(0, TOP)), max_size=12), st.integers(0, 40)
)
def test_a_writer_never_passes_its_end(items: list[bytes | int], capacity: int) -> None:
    writer = WriterProbe(capacity)
    for item in items:
        writer.put(item) if isinstance(item, bytes) else writer.varint(item)
        assert writer.is_intact
        assert len(writer.written()) <= capacity


@given(st.integers(0, TOP), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_a_packet_number_near_the_expected_one_is_recovered(expected: int, distance: int) -> None:
    number = min(max(expected + distance, 0), TOP)
    if abs(number - expected) < 1 << 31:
        assert decode_packet_number(number & 0xFFFFFFFF, expected) == number


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, TOP))
def test_a_recovered_number_has_the_bits_it_was_given(truncated: int, expected: int) -> None:
    number = decode_packet_number(truncated, expected)
    assert number & 0xFFFFFFFF == truncated
    assert 0 <= number <= TOP
    # No other candidate in the number space is closer.
    for other in (number - (1 << 32), number + (1 << 32)):
        assert not 0 <= other <= TOP or abs(number - expected) <= abs(other - expected)
