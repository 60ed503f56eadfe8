"""Congestion controllers: they fill the link, keep the queue short and share with each other."""

import pytest

from quantum.testing import Pair
from quantum.testing.pair import CLIENT, SERVER
from tests.support.paths import SECOND, established, path, payload

pytestmark = pytest.mark.simulation
LINK_MBPS = 100
DATA = payload(1_000_000) * 90


def steady_goodput(pair: Pair, seconds: int = 3) -> float:
    """Return Mbit/s over *seconds* after two seconds of start-up."""
    pair.client.send_stream(DATA, bidirectional=False)
    pair.run_for(2 * SECOND)
    before = pair.client.open.stats()["delivered_bytes"]
    pair.run_for(seconds * SECOND)
    return (pair.client.open.stats()["delivered_bytes"] - before) * 8 / seconds / 1e6


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_bbr_fills_a_long_link_despite_loss(loss: float) -> None:
    pair = established(path(50, loss=loss), seed=7)
    assert steady_goodput(pair) >= 0.85 * LINK_MBPS


def test_bbr_keeps_the_queue_short() -> None:
    pair = established(path(50, queue_ms=500), seed=7)
    goodput = steady_goodput(pair)
    stats = pair.client.open.stats()
    assert goodput >= 0.9 * LINK_MBPS
    # A queue of half a second stands ready, and at most a quarter round trip of it is used.
    assert stats["rtt_smoothed_ns"] < 1.25 * 50_000_000
    assert stats["packets_lost"] == 0


def test_bbr_starts_fast() -> None:
    pair = established(path(50), seed=7)
    pair.client.send_stream(DATA, bidirectional=False)
    pair.run_for(SECOND)
    assert pair.client.open.stats()["delivered_bytes"] * 8 / 1e6 > 0.4 * LINK_MBPS


@pytest.mark.parametrize("queue_ms", [25, 50, 100])
def test_bbr_loses_little_to_a_small_queue(queue_ms: int) -> None:
    pair = established(path(50, queue_ms=queue_ms), seed=7)
    steady_goodput(pair)
    before = pair.client.open.stats()
    pair.run_for(SECOND)
    after = pair.client.open.stats()
    lost = after["packets_lost"] - before["packets_lost"]
    assert lost <= 0.05 * (after["packets_sent"] - before["packets_sent"])


def test_bbr_follows_a_link_that_becomes_slower_and_faster() -> None:
    pair = established(path(50), seed=7)
    steady_goodput(pair)
    pair.impair(path(50, rate_bps=20_000_000))
    pair.run_for(4 * SECOND)
    before = pair.client.open.stats()["delivered_bytes"]
    pair.run_for(2 * SECOND)
    slow = (pair.client.open.stats()["delivered_bytes"] - before) * 8 / 2e6
    assert 17 <= slow <= 20
    pair.impair(path(50))
    pair.run_for(8 * SECOND)
    before = pair.client.open.stats()["delivered_bytes"]
    pair.client.send_stream(DATA, bidirectional=False)
    pair.run_for(2 * SECOND)
    assert (pair.client.open.stats()["delivered_bytes"] - before) * 8 / 2e6 > 60


def test_new_reno_fills_a_link_without_loss() -> None:
    pair = established(path(50), controller="new_reno", seed=7)
    assert steady_goodput(pair) >= 0.7 * LINK_MBPS


def test_new_reno_halves_on_loss_and_lives() -> None:
    pair = established(path(50, loss=0.01), controller="new_reno", seed=7)
    goodput = steady_goodput(pair)
    # Mathis: MSS / RTT * 1.22 / sqrt(p) is 2.4 Mbit/s here.
    assert 0.8 <= goodput <= 8


@pytest.mark.parametrize("controller", ["bbr", "new_reno"])
def test_never_more_is_in_flight_than_the_window_and_probes(controller: str) -> None:
    pair = established(path(50, loss=0.02), controller=controller, seed=7)
    pair.client.send_stream(DATA, bidirectional=False)
    worst = 0

    def watch() -> bool:
        nonlocal worst
        stats = pair.client.open.stats()
        # The window may shrink below what is already under way; it is the growth that counts.
        if pair.client.datagrams_sent != watch_state[0]:
            watch_state[0] = pair.client.datagrams_sent
            excess = stats["in_flight_bytes"] - max(stats["window_bytes"], watch_state[1])
            worst = max(worst, excess)
        watch_state[1] = max(stats["window_bytes"], stats["in_flight_bytes"])
        return pair.now_ns > stop

    watch_state = [0, 0]
    stop = pair.now_ns + 2 * SECOND
    pair.drive(watch, 3 * SECOND)
    assert worst <= 8 * 1_232


def test_an_idle_connection_resumes_at_its_rate() -> None:
    pair = established(path(50), seed=7)
    pair.exchange(payload(8_000_000))
    pair.run_for(2 * SECOND)
    took = pair.exchange(payload(4_000_000))
    assert 4_000_000 * 8e3 / took > 0.5 * LINK_MBPS


def test_the_link_is_what_was_asked_for() -> None:
    pair = established(path(50), seed=7)
    steady_goodput(pair)
    stats = pair.network.link(CLIENT, SERVER).stats
    assert stats.sent == stats.delivered + stats.queue_full


@pytest.mark.parametrize("burst", [1, 5])
def test_bbr_does_not_fade_away_under_heavy_random_loss(burst: int) -> None:
    wide = {"max_stream_data": 64 << 20, "max_data": 128 << 20}
    pair = established(path(50, loss=0.3, burst=burst), seed=7, **wide)
    pair.client.send_stream(DATA * 2, bidirectional=False)
    pair.run_for(15 * SECOND)
    before = pair.client.open.stats()["delivered_bytes"]
    pair.run_for(5 * SECOND)
    # 70 of the link's 100 Mbit/s can arrive at all.
    assert (pair.client.open.stats()["delivered_bytes"] - before) * 8 / 5e6 >= 40
