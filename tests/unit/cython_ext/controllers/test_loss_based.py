"""CUBIC and NewReno: growth, reduction, undo, marks, and HyStart++."""

import pytest

from cython_ext.controller_probe import ControllerProbe
from tests.support.fluid_path import DATAGRAM, MS, SECOND, FluidPath

RATE = 12_500_000
RTT = 50 * MS
BDP = RATE * RTT // SECOND
SLOW_START, CONSERVATIVE, AVOIDANCE = range(3)
FACTORS = {"cubic": 0.7, "new_reno": 0.5}
NAMES = sorted(FACTORS)


def grown(name: str, packets: int = 200) -> ControllerProbe:
    """Return a controller in slow start whose window is at least *packets*."""
    controller = ControllerProbe(name)
    now, delivered = SECOND, 0
    while controller.window < packets * DATAGRAM:
        now += RTT
        delivered += controller.window
        controller.ack(
            now, controller.window, delivered=delivered, in_flight=0, rtt_ns=RTT, sent_ns=now - RTT
        )
    return controller


def lose(controller: ControllerProbe, now_ns: int, packets: int = 1, sent_ns: int = 0) -> None:
    """Tell of *packets* lost and one acknowledged."""
    controller.ack(
        now_ns, DATAGRAM, delivered=1 << 30, in_flight=controller.window, rtt_ns=RTT,
        lost=packets * DATAGRAM, lost_packets=packets, sent_ns=sent_ns or now_ns - RTT,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_reduces_the_window_once_per_round_trip(name: str) -> None:
    controller = grown(name)
    before = controller.window
    lose(controller, 10 * SECOND)
    assert controller.window == pytest.approx(FACTORS[name] * before, abs=DATAGRAM)
    after = controller.window
    # Sent before the reduction: the same episode.
    lose(controller, 10 * SECOND + MS, sent_ns=10 * SECOND - MS)
    assert controller.window == after
    lose(controller, 11 * SECOND)
    assert controller.window < after


@pytest.mark.parametrize("name", NAMES)
def test_a_mark_counts_as_a_loss(name: str) -> None:
    controller = grown(name)
    before = controller.window
    controller.ack(
        10 * SECOND, DATAGRAM, delivered=1 << 30, in_flight=before, rtt_ns=RTT,
        sent_ns=10 * SECOND - RTT, marked=DATAGRAM, ect=DATAGRAM,
    )  # fmt: skip
    assert controller.window == pytest.approx(FACTORS[name] * before, abs=DATAGRAM)


@pytest.mark.parametrize("name", NAMES)
def test_the_reduction_is_undone_when_all_its_losses_were_none(name: str) -> None:
    controller = grown(name)
    before = controller.window
    lose(controller, 10 * SECOND, packets=2)
    controller.spurious(10 * SECOND + MS)
    assert controller.window < before
    controller.spurious(10 * SECOND + 2 * MS)
    assert controller.window == pytest.approx(before, abs=DATAGRAM)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_that_is_not_used_does_not_grow(name: str) -> None:
    controller = grown(name)
    before = controller.window
    for step in range(50):
        controller.ack(
            10 * SECOND + step * RTT, 2 * DATAGRAM, delivered=1 << 30, in_flight=DATAGRAM,
            rtt_ns=RTT, sent_ns=10 * SECOND + step * RTT - RTT,
        )  # fmt: skip
    assert controller.window == before


@pytest.mark.parametrize("name", NAMES)
def test_persistent_congestion_leaves_two_packets(name: str) -> None:
    controller = grown(name)
    controller.persistent(10 * SECOND)
    assert controller.window == 2 * DATAGRAM


def test_cubic_leaves_slow_start_before_the_queue_overflows() -> None:
    # HyStart++: without it the window doubles until losses come.
    path = FluidPath(ControllerProbe("cubic"), RATE, RTT, 20 * BDP)
    path.round_trips(40)
    assert path.lost_total == 0
    assert path.controller.phase == AVOIDANCE
    # Doubling would have gone on to the 21 round trips that path and queue hold.
    assert path.controller.window < 8 * BDP


def test_cubic_is_back_at_its_window_after_k_seconds() -> None:
    controller = grown("cubic", 1_000)
    before = controller.window / DATAGRAM
    now = 10 * SECOND
    lose(controller, now)
    k = (before * 0.3 / 0.4) ** (1 / 3)
    reached = 0.0
    while controller.window / DATAGRAM < 0.995 * before:
        now += RTT
        controller.ack(
            now, controller.window, delivered=1 << 31, in_flight=0, rtt_ns=RTT, sent_ns=now - MS
        )
        reached = now / SECOND - 10
        assert reached < 3 * k
    # The curve is flat there: the last 0.5 % take more than two seconds.
    assert reached == pytest.approx(k - (before * 0.005 / 0.4) ** (1 / 3), rel=0.05)


def test_cubic_aims_lower_when_it_loses_again_below_its_last_window() -> None:
    # Fast convergence (RFC 9438 section 4.7): without it the plateau is at the window of the last loss.
    controller = grown("cubic", 1_000)
    lose(controller, 10 * SECOND)
    second = controller.window
    lose(controller, 11 * SECOND)
    now = 11 * SECOND
    k = (second / DATAGRAM * (0.85 - 0.7) / 0.4) ** (1 / 3)
    while now < 11 * SECOND + k * SECOND:
        now += RTT
        controller.ack(
            now, controller.window, delivered=1 << 31, in_flight=0, rtt_ns=RTT, sent_ns=now - MS
        )
    assert controller.window == pytest.approx(0.85 * second, rel=0.03)


@pytest.mark.parametrize("old", ["bbr", "cubic", "new_reno"])
@pytest.mark.parametrize("new", ["bbr", "cubic", "new_reno"])
def test_another_algorithm_goes_on_from_the_present_window(old: str, new: str) -> None:
    path = FluidPath(ControllerProbe(old), RATE, RTT, BDP)
    path.round_trips(12)
    before = path.controller.window
    path.controller.switch(new, path.now_ns, RTT)
    assert path.controller.window == before
    assert path.controller.pacing_rate > 0
    assert path.round_trips(40) >= 0.8 * 40 * BDP
