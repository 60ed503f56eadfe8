"""A stream under loss stalls, catches up, and never changes a byte."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.testing import Impairment, StreamLink

MS = 1_000_000


def link(impairment: Impairment, round_trip_ns: int = 0, seed: int = 0) -> StreamLink:
    return StreamLink(impairment, round_trip_ns, Random(seed))


def test_bytes_arrive_after_the_delay() -> None:
    wire = link(Impairment(delay_ns=25 * MS))
    wire.write(b"hello")
    assert wire.poll_data(0) == b""
    assert wire.next_timeout() == 25 * MS
    assert wire.poll_data(25 * MS - 1) == b""
    assert wire.poll_data(25 * MS) == b"hello"
    assert wire.next_timeout() is None
    assert wire.held_bytes == 0


@pytest.mark.parametrize(("round_trip", "stall"), [(50 * MS, 200 * MS), (600 * MS, 600 * MS)])
def test_a_lost_segment_stalls_for_a_round_trip_but_at_least_200_ms(
    round_trip: int, stall: int
) -> None:
    wire = link(Impairment(loss=1), round_trip)
    wire.write(b"first")
    assert wire.poll_data(0) == b""
    wire.write(b"behind it")
    assert wire.poll_data(stall - 1) == b""
    assert wire.next_timeout() == stall
    assert wire.poll_data(stall) == b"first"
    assert wire.stalls == 2, "what waited behind it left, and was lost in its turn"
    assert wire.poll_data(2 * stall) == b"behind it"


def test_small_writes_that_wait_together_share_a_segment() -> None:
    wire = link(Impairment(loss=1))
    wire.write(b"x")
    wire.poll_data(0)
    for _ in range(100):
        wire.write(b"y" * 14)
    wire.poll_data(200 * MS)
    assert wire.poll_data(400 * MS) == b"y" * 1400
    assert wire.stalls == 2


def test_stalls_come_at_the_rate_of_loss_per_segment() -> None:
    wire = link(Impairment(loss=0.05))
    wire.write(bytes(1400 * 20_000))
    now = 0
    while wire.held_bytes:
        wire.poll_data(now)
        now = wire.next_timeout() or now
    assert wire.stalls / 20_000 == pytest.approx(0.05, rel=0.1)


def test_a_rate_limit_paces_the_stream() -> None:
    wire = link(Impairment(rate_bps=8_000_000))  # one byte per microsecond
    wire.write(bytes(2800))
    assert len(wire.poll_data(0)) == 0
    assert len(wire.poll_data(2 * MS)) == 1400
    assert len(wire.poll_data(3 * MS)) == 1400


def test_a_black_hole_delays_what_is_written_into_it() -> None:
    wire = link(Impairment(blackholes=((0, 5 * MS),)))
    wire.write(b"x")
    assert wire.poll_data(MS) == b""
    assert wire.next_timeout() == 5 * MS
    assert wire.poll_data(5 * MS) == b"x"


@given(
    st.lists(st.binary(min_size=1, max_size=4000), max_size=20),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0, 5 * MS]),
    st.integers(0, 5),
)
def test_the_stream_is_unchanged(
    writes: list[bytes], loss: float, jitter_ns: int, seed: int
) -> None:
    wire = link(Impairment(loss=loss, jitter_ns=jitter_ns), seed=seed)
    now, got = 0, b""
    for data in writes:
        wire.write(data)
        got += wire.poll_data(now)
        now += MS
    while (due := wire.next_timeout()) is not None:
        now = max(now, due)
        got += wire.poll_data(now)
    assert got == b"".join(writes)
