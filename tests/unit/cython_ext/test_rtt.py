"""The round-trip estimator against the formulas of RFC 6298 in floats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.probe import RttProbe

MS = 1_000_000
samples = st.lists(st.tuples(st.integers(1, 5_000 * MS), st.integers(0, 50 * MS)), min_size=1)


@given(samples)
def test_the_estimate_follows_the_formulas(measured: list[tuple[int, int]]) -> None:
    rtt = RttProbe(100 * MS)
    smoothed = variation = 0.0
    minimum = 0
    for count, (sample, delay) in enumerate(measured):
        rtt.update(sample, delay)
        minimum = min(minimum, sample) if count else sample
        adjusted = sample - delay if sample - delay >= minimum else sample
        if count == 0:
            smoothed, variation = adjusted, adjusted / 2
        else:
            variation = 0.75 * variation + 0.25 * abs(smoothed - adjusted)
            smoothed = 0.875 * smoothed + 0.125 * adjusted
        latest, own_smoothed, own_variation, own_minimum = rtt.state()
        assert (latest, own_minimum) == (adjusted, minimum)
        # Integers lose less than one unit per update, and old losses fade.
        assert own_smoothed == pytest.approx(smoothed, abs=16)
        assert own_variation == pytest.approx(variation, abs=32)


@given(samples, st.integers(0, 100 * MS))
def test_the_probe_timeout_is_the_specified_sum(
    measured: list[tuple[int, int]], max_ack_delay: int
) -> None:
    rtt = RttProbe(100 * MS)
    for sample, delay in measured:
        rtt.update(sample, delay)
    _, smoothed, variation, _ = rtt.state()
    assert rtt.probe_timeout_ns(max_ack_delay) == smoothed + max(4 * variation, MS) + max_ack_delay


def test_before_any_sample_the_initial_value_counts() -> None:
    rtt = RttProbe(100 * MS)
    assert rtt.state() == (0, 100 * MS, 50 * MS, 0)
    assert rtt.probe_timeout_ns(25 * MS) == 325 * MS


def test_a_sample_of_nothing_counts_as_a_nanosecond() -> None:
    rtt = RttProbe(100 * MS)
    rtt.update(0, 0)
    assert rtt.state() == (1, 1, 0, 1)


def test_a_delay_that_would_fall_below_the_minimum_is_not_subtracted() -> None:
    rtt = RttProbe(100 * MS)
    rtt.update(20 * MS, 0)
    rtt.update(30 * MS, 15 * MS)
    assert rtt.state()[0] == 30 * MS
    rtt.update(30 * MS, 5 * MS)
    assert rtt.state()[0] == 25 * MS
