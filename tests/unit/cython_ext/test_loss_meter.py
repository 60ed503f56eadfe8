"""What the loss meter says of a path after what happened on it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.probe import LossMeterProbe


def run(meter: LossMeterProbe, share: float, burst: float, packets: int, seed: int = 1) -> None:
    """Send *packets* over a path that loses *share* of them in runs of mean length *burst*."""
    random = Random(seed)
    begin = share / (burst * (1 - share))
    losing = False
    for _ in range(packets):
        began = not losing and random.random() < begin
        losing = began or (losing and random.random() >= 1 / burst)
        if losing:
            meter.lost(1, int(began))
        else:
            meter.acked(1)


def test_a_new_path_has_no_loss() -> None:
    meter = LossMeterProbe()
    assert (meter.share, meter.burst, meter.since_loss, meter.assumed) == (0, 1, 0, False)


@pytest.mark.parametrize(("share", "burst"), [(0.01, 1.0), (0.05, 1.0), (0.1, 1.0), (0.05, 3.0)])
def test_share_and_burst_come_near_those_of_the_path(share: float, burst: float) -> None:
    meter = LossMeterProbe()
    run(meter, share, burst, 20_000)
    assert share * 0.6 < meter.share < share * 3 + 0.01
    assert meter.burst == pytest.approx(burst, rel=0.25)


def test_losses_are_noticed_within_tens_of_packets_after_a_clean_time() -> None:
    meter = LossMeterProbe()
    meter.acked(5_000)
    run(meter, 0.05, 1, 120)
    assert meter.share > 0.02


def test_one_loss_in_a_short_connection_counts() -> None:
    meter = LossMeterProbe()
    meter.acked(12)
    meter.lost(1, 1)
    assert meter.share == pytest.approx(1 / 32)


def test_a_path_that_became_clean_is_known_to_be_so() -> None:
    meter = LossMeterProbe()
    run(meter, 0.05, 1, 5_000)
    meter.acked(1_000)
    assert meter.share < 0.045
    meter.acked(8_000)
    assert meter.share == 0
    assert meter.burst == 1
    assert meter.since_loss > 8_192


def test_an_assumed_share_holds_at_first_and_is_forgotten() -> None:
    meter = LossMeterProbe(0.05, 2.0)
    assert meter.share == pytest.approx(0.05)
    assert meter.burst == pytest.approx(2)
    assert meter.assumed
    meter.acked(64)
    assert meter.share > 0.03
    meter.acked(10_000)
    assert meter.share == 0
    assert not meter.assumed


def test_a_late_packet_takes_its_loss_back() -> None:
    meter = LossMeterProbe()
    meter.acked(100)
    meter.lost(4, 2)
    assert meter.burst == 2
    for _ in range(4):
        meter.spurious()
    assert meter.share == 0
    assert meter.burst == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("acked"), st.integers(0, 5_000)),
            st.tuples(st.just("lost"), st.integers(1, 300)),
            st.tuples(st.just("spurious"), st.just(1)),
        ),
        max_size=60,
    )
)
def test_a_share_is_a_share_whatever_happens(steps: list[tuple[str, int]]) -> None:
    meter = LossMeterProbe()
    for kind, packets in steps:
        if kind == "acked":
            meter.acked(packets)
        elif kind == "lost":
            meter.lost(packets, 1 + packets // 7)
        else:
            meter.spurious()
        assert 0 <= meter.share <= 1
        assert meter.burst >= 1
