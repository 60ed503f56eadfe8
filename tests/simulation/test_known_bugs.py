"""Bugs that other user-space stacks had around congestion control, looked for in the whole transport.

Those that show on a controller alone are in tests/unit/cython_ext/controllers/test_bbr_bugs.py.
"""

import pytest

from quantum.testing import Impairment
from tests.support.bottleneck import MS, Bottleneck, Flow
from tests.support.congestion_bars import link
from tests.support.paths import MBIT

pytestmark = pytest.mark.simulation


def bulk(
    there: Impairment, seconds: float, back: Impairment | None = None, **values: object
) -> tuple[Bottleneck, Flow]:
    """Return a flow that has sent for *seconds*."""
    bottleneck = Bottleneck(there, back, seed=4)
    flow = bottleneck.add("bbr", **values)
    flow.sender.start()
    bottleneck.run_for(seconds)
    return bottleneck, flow


def goodput(bottleneck: Bottleneck, seconds: float) -> float:
    """Return the bits per second that the first flow's application reads from now on."""
    before = bottleneck.read()[0]
    bottleneck.run_for(seconds)
    return (bottleneck.read()[0] - before) * 8 / seconds


def test_compressed_acknowledgements_do_not_inflate_the_bandwidth() -> None:
    # quinn sampled between consecutive ACKs. Take first_sent_ns out of delivery_finish.
    back = Impairment(delay_ns=25 * MS, jitter_ns=20 * MS)
    _, flow = bulk(link(bdps=4), 4, back)
    assert flow.sender.open.stats()["pacing_rate"] * 8 < 135 * MBIT


def test_the_round_trip_is_never_below_the_path() -> None:
    # quiche#2312 stamped packets in the future, when pacing would have let them go.
    _, flow = bulk(link(), 3)
    assert flow.sender.open.stats()["rtt_minimum_ns"] >= 50 * MS


def test_what_leaves_is_what_the_pacing_rate_says() -> None:
    # msquic#6159, #4889, #4470: units of time mixed up. Multiply by 1e6 in pacer_set_rate.
    bottleneck, flow = bulk(link(), 4)
    before = flow.sender.open.stats()
    bottleneck.run_for(0.5)
    after = flow.sender.open.stats()
    rate = (after["bytes_sent"] - before["bytes_sent"]) / 0.5
    assert rate == pytest.approx(before["pacing_rate"], rel=0.1)


def test_a_long_round_trip_does_not_stall_after_the_handshake() -> None:
    # picoquic#839: ten seconds, because the handshake looked like a full pipe.
    bottleneck, _ = bulk(link(20, 600), 8)
    assert goodput(bottleneck, 4) > 15 * MBIT


def test_bursts_of_offloads_do_not_make_the_bandwidth_collapse() -> None:
    # picoquic#1612, s2n#1475: at a high rate two milliseconds are a burst of many packets.
    bottleneck, flow = bulk(link(400, 10, 1), 2)
    assert goodput(bottleneck, 1) > 300 * MBIT
    assert flow.sender.open.stats()["packets_lost"] < 0.03 * (
        flow.sender.open.stats()["packets_sent"]
    )


def test_a_very_short_round_trip_is_no_reason_to_crawl() -> None:
    # picoquic#2118 and #1233: windows of five packets, and bandwidths of fantasy.
    there = Impairment(delay_ns=10_000, rate_bps=400 * MBIT, queue_bytes=100_000)
    bottleneck, _ = bulk(there, 0.5)
    assert goodput(bottleneck, 0.5) > 250 * MBIT


def test_a_pause_does_not_cost_the_bandwidth() -> None:
    # s2n#1532: the flag for app-limited was wrong at first, and what idled was taken for slow.
    bottleneck, flow = bulk(link(), 3)
    flow.sender.stop()
    bottleneck.run_for(4)
    flow.sender.start()
    assert goodput(bottleneck, 1) > 75 * MBIT


def test_a_slow_application_is_not_a_slow_path() -> None:
    # picoquic#1753, lsquic#605.
    bottleneck, flow = bulk(link(), 2)
    flow.sender.stop()
    bottleneck.run_for(0.5)
    for _ in range(80):
        flow.sender.start(total=25_000)
        bottleneck.run_for(0.1)
    flow.sender.start()
    assert goodput(bottleneck, 1) > 75 * MBIT


def test_the_first_burst_fits_into_a_short_queue() -> None:
    # A window that leaves unpaced overflows any queue shorter than itself.
    bottleneck, flow = bulk(link(10, 50, 0.3), 0.05)
    assert flow.sender.open.stats()["packets_sent"] >= 32
    assert bottleneck.network.link(*flow.places).stats.queue_full == 0


@pytest.mark.parametrize("rate_kbps", [64, 500])
def test_a_rate_below_what_timers_can_do_is_kept(rate_kbps: int) -> None:
    # A packet every 150 ms: the pacer must not round it to none, nor to a window at once.
    there = Impairment(
        delay_ns=50 * MS, rate_bps=rate_kbps * 1_000, queue_bytes=rate_kbps * 1_000 // 8
    )
    bottleneck, _ = bulk(there, 20)
    assert goodput(bottleneck, 20) > 0.7 * rate_kbps * 1_000


def test_two_flows_that_start_together_share() -> None:
    # quinn's BBR (noq#475, moq#686) starved whom it met.
    bottleneck = Bottleneck(link(50, 40), seed=6)
    flows = [bottleneck.add("bbr"), bottleneck.add("bbr")]
    for flow in flows:
        flow.sender.start()
    bottleneck.run_for(10)
    before = bottleneck.read()
    bottleneck.run_for(15)
    got = [after - at for after, at in zip(bottleneck.read(), before, strict=True)]
    assert min(got) > 0.4 * max(got)


def test_a_controller_chosen_in_mid_life_goes_on() -> None:
    bottleneck, flow = bulk(link(), 2)
    for name in ("cubic", "new_reno", "bbr"):
        window = flow.sender.open.stats()["window_bytes"]
        flow.sender.open.set_congestion(name, bottleneck.now_ns)
        assert flow.sender.open.congestion == name
        assert flow.sender.open.stats()["window_bytes"] == window
        assert goodput(bottleneck, 2) > 55 * MBIT
    with pytest.raises(ValueError, match="known: bbr, new_reno, cubic"):
        flow.sender.open.set_congestion("vegas", bottleneck.now_ns)
