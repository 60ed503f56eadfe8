"""The hybrid logical clock."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statesync.api import Stamp, StampAhead
from statesync.clock import MAX_AHEAD_MS, HybridClock


@given(st.lists(st.integers(0, 10_000), min_size=2))
def test_stamps_only_rise_whatever_the_wall_clock_does(walls: list[int]) -> None:
    clock = HybridClock("n")
    stamps = [clock.now(wall) for wall in walls]
    assert all(a < b for a, b in pairwise(stamps))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 9))))
def test_a_stamp_is_above_all_that_were_observed(
    script: list[tuple[bool, int, int]],
) -> None:
    clock, seen = HybridClock("n"), Stamp()
    for makes, wall, counter in script:
        if makes:
            made = clock.now(wall)
            assert (made.wall_ms, made.counter) > (seen.wall_ms, seen.counter)
            seen = made
        else:
            other = Stamp(wall, counter, "m")
            clock.observe(other, 0)
            seen = max(seen, other, key=lambda s: (s.wall_ms, s.counter))


def test_a_stamp_too_far_ahead_leaves_the_clock_as_it_was() -> None:
    clock = HybridClock("n")
    clock.observe(Stamp(1000 + MAX_AHEAD_MS, 0, "m"), 1000)
    before = clock.now(1000)
    with pytest.raises(StampAhead) as refused:
        clock.observe(Stamp(1001 + MAX_AHEAD_MS, 0, "m"), 1000)
    assert refused.value.detail == {"server_wall_ms": "1000"}
    assert clock.now(1000) == Stamp(before.wall_ms, before.counter + 1, "n")


def test_a_corrected_clock_is_accepted_where_it_was_refused() -> None:
    fast, server = HybridClock("n"), HybridClock("server")
    with pytest.raises(StampAhead) as refused:
        server.observe(fast.now(3_600_000), 1000)
    fast.correct(int(refused.value.detail["server_wall_ms"]), 3_600_000)
    again = fast.now(3_600_005)
    server.observe(again, 1005)
    assert again.wall_ms == 1005
