"""One test for each bug that user-space BBRs are known for, on the controller alone.

The bug is named with the project that had it; the comment says which change to ours brings it back.
"""

import pytest

from cython_ext.controller_probe import ControllerProbe
from tests.support.fluid_path import DATAGRAM, MS, SECOND, FluidPath

RATE = 12_500_000
RTT = 50 * MS
BDP = RATE * RTT // SECOND
STARTUP, DRAIN, PROBE_DOWN, PROBE_CRUISE, PROBE_REFILL, PROBE_UP, PROBE_RTT = range(7)


def running(rate: int = RATE, rtt_ns: int = RTT, queue: int = BDP) -> FluidPath:
    """Return a path whose controller has filled it and cruises."""
    path = FluidPath(ControllerProbe("bbr"), rate, rtt_ns, queue)
    path.round_trips(20)
    assert path.controller.phase == PROBE_CRUISE
    return path


def test_the_window_is_bounded_by_the_path_and_not_by_a_mixed_up_unit() -> None:
    # quinn#2798 compared a gain with bytes. Drop the umin with `limit` in set_window.
    path = running(queue=1 << 40)
    for _ in range(200):
        path.round_trip()
        assert path.controller.window <= 2.5 * BDP + 3 * 65_536


def test_the_bandwidth_estimate_falls_when_the_path_becomes_slower() -> None:
    # quinn: the max filter was only touched by larger samples. Never call advance_max_bw_filter.
    path = running()
    path.rate = RATE // 4
    path.round_trips(400)
    assert path.controller.pacing_rate < 1.5 * RATE // 4


def test_the_pacing_rate_is_bbrs_and_not_a_window_per_round_trip() -> None:
    # quinn paced at 1.25 windows per round trip. Set the rate from c.window in set_pacing_rate.
    path = running()
    path.round_trips(5)
    assert path.controller.phase == PROBE_CRUISE
    assert 0.95 * RATE <= path.controller.pacing_rate <= 1.02 * RATE


def test_more_than_four_gibibytes_do_not_slow_a_connection_down() -> None:
    # xquic#552: 32-bit sums. Make Bbr.next_round_delivered a uint32_t.
    path = running()
    before = path.round_trips(50)
    path.delivered += (1 << 33) - path.delivered
    path.round_trips(3)
    after = path.round_trips(50)
    assert path.delivered > 1 << 33
    assert after >= 0.9 * before


def test_startup_ends_on_a_path_that_it_has_filled() -> None:
    # hysteria#1105: stuck in STARTUP. Never set full_bw_reached in check_full_bw.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, 1 << 40)
    path.round_trips(12)
    assert path.controller.phase != STARTUP


def test_startup_ends_within_bounded_rounds_even_without_queue_or_loss() -> None:
    # hysteria#1105 too: nothing explains the plateau. Remove LONGEST_PLATEAU_ROUNDS.
    controller = ControllerProbe("bbr")
    now, delivered, round_start = SECOND, 0, 0
    for _ in range(40):
        now += RTT
        round_start, delivered = delivered, delivered + 100_000
        controller.ack(
            now, 100_000, delivered=delivered, in_flight=100_000, prior_delivered=round_start,
            rate=2_000_000, rtt_ns=RTT, sample_in_flight=200_000, sent_ns=now - RTT,
        )  # fmt: skip
    assert controller.phase != STARTUP


def test_rounds_limited_by_the_application_do_not_end_startup() -> None:
    # quiche 2025-05-21. Drop the test of app_limited in check_full_bw.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, BDP)
    path.round_trips(2)
    path.wanted = 10 * DATAGRAM
    path.round_trips(20)
    assert path.controller.phase == STARTUP


def test_the_estimate_does_not_decay_while_the_application_is_the_limit() -> None:
    # picoquic#1547, #1548, #1753. Let advance_max_bw_filter run on app-limited rounds, and
    # update_max_bw take their samples.
    path = running()
    path.wanted = 5 * DATAGRAM
    path.round_trips(300)
    path.wanted = None
    assert path.controller.pacing_rate >= 0.8 * RATE
    assert path.round_trip() >= 0.6 * BDP


def test_a_sender_that_caps_its_own_rate_is_limited_by_the_application() -> None:
    # lsquic#605: a rate cap made the estimate fall to the cap. The same changes bring it back.
    path = running()
    path.wanted = BDP // 5
    path.round_trips(300)
    assert path.controller.pacing_rate >= 0.8 * RATE


def test_a_first_sample_of_the_handshake_is_no_full_pipe() -> None:
    # picoquic#839: the handshake's few packets looked like a plateau, and 10 s of crawling followed.
    # Count app-limited rounds in check_full_bw.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, BDP)
    path.wanted = 2 * DATAGRAM
    path.round_trips(6)
    path.wanted = None
    path.round_trips(8)
    assert path.round_trips(10) >= 8 * BDP


def test_a_tiny_round_trip_does_not_freeze_the_window() -> None:
    # picoquic#2118: 5 packets for ever. Take the floor of 3 quanta out of quantized.
    path = FluidPath(ControllerProbe("bbr", initial_rtt_ns=MS), 1_250_000_000, 20_000, 1 << 40)
    path.round_trips(400)
    assert path.controller.window >= 32 * DATAGRAM


def test_a_tiny_round_trip_does_not_inflate_the_estimate() -> None:
    # picoquic#1233. Take samples with intervals below the minimum round trip in delivery_finish;
    # here: multiply the rate in update_max_bw.
    path = FluidPath(ControllerProbe("bbr", initial_rtt_ns=MS), 125_000_000, 200_000, 1 << 40)
    path.round_trips(400)
    assert path.controller.pacing_rate <= 3 * 125_000_000


def test_in_flight_bytes_that_were_lost_are_not_counted_twice() -> None:
    # s2n#1532: lost bytes stayed in the sums. Do not reset `present` in end_round.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, BDP // 4)
    path.round_trips(150)
    path.loss = 0.0
    assert path.round_trips(40) >= 0.85 * 40 * BDP


def test_a_gso_burst_always_fits_into_the_window() -> None:
    # s2n#1475, picoquic#1612: windows below the quantum starved the pacer. Use c.window without
    # the three quanta of quantized.
    path = FluidPath(ControllerProbe("bbr"), 1_250_000_000, 100_000, 1 << 40)
    path.round_trips(300)
    quantum = min(max(path.controller.pacing_rate // 1_000, 2 * DATAGRAM), 65_536)
    assert path.controller.window >= 2 * quantum


def test_an_idle_restart_paces_at_the_known_bandwidth() -> None:
    # s2n#1532: idle counted as a slow path. Reset max_bw in on_sent.
    path = running()
    path.now_ns += 3 * SECOND
    path.controller.sent(path.now_ns, DATAGRAM, 0, True)
    assert 0.9 * RATE <= path.controller.pacing_rate <= 1.05 * RATE


def test_persistent_congestion_gives_the_window_back_with_the_first_new_ack() -> None:
    # picoquic: the window crawled back after an outage. Do not keep prior_window in on_persistent.
    path = running()
    before = path.controller.window
    path.controller.persistent(path.now_ns)
    assert path.controller.window == 4 * DATAGRAM
    path.now_ns += RTT
    path.round_trips(2)
    assert path.controller.window >= 0.9 * before


def test_an_undone_loss_brings_startup_back() -> None:
    # The draft's spurious-loss response. Drop the branch for STARTUP in on_spurious.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, BDP // 8)
    while path.controller.phase == STARTUP:
        path.round_trip()
    assert path.lost_total > 0
    path.controller.spurious(path.now_ns)
    assert path.controller.phase == STARTUP or path.controller.pacing_rate > 0
    path.round_trip()
    assert path.controller.phase in (STARTUP, DRAIN)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_random_loss_is_sent_for(share: float) -> None:
    # Ours: without `random_share` the rate is short by the losses.
    path = FluidPath(ControllerProbe("bbr"), RATE, RTT, BDP)
    path.loss = share
    path.round_trips(250)
    assert path.round_trips(100) >= 0.93 * (1 - share) * 100 * BDP


def test_marks_lower_the_bound_on_what_is_in_flight() -> None:
    # Drop the ECN branch of adapt_lower_bounds.
    path = running()
    before = path.controller.window
    for _ in range(3):
        begun = path.delivered
        path.now_ns += RTT
        path.delivered += BDP
        path.controller.ack(
            path.now_ns, BDP, delivered=path.delivered, in_flight=0, prior_delivered=begun,
            rate=RATE, rtt_ns=RTT, sample_in_flight=BDP, sent_ns=path.now_ns - RTT,
            marked=BDP // 2, ect=BDP,
        )  # fmt: skip
    assert path.controller.window < 0.9 * before
