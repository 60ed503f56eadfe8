"""Reordering is not loss: thresholds grow, windows come back, nothing is delivered twice."""

import pytest

from tests.support.paths import MS, SECOND, established, path, payload

pytestmark = pytest.mark.simulation
DATA = payload(10_000_000)


@pytest.mark.parametrize("delay_ms", [2, 10, 40])
@pytest.mark.parametrize("controller", ["bbr", "new_reno"])
def test_reordering_costs_little(controller: str, delay_ms: int) -> None:
    plain = established(path(50), controller=controller, seed=3).exchange(DATA)
    bent = path(50, reorder=0.05, reorder_delay_ns=delay_ms * MS)
    pair = established(bent, controller=controller, seed=3)
    took = pair.exchange(DATA)
    stats = pair.client.open.stats()
    assert took < 1.6 * plain
    queue_drops = pair.network.link(("192.0.2.1", 50_000), ("192.0.2.2", 4_433)).stats.queue_full
    falsely_lost = stats["packets_lost"] - queue_drops
    assert falsely_lost < 0.02 * stats["packets_sent"]


def test_a_spurious_loss_is_recognised_and_raises_the_thresholds() -> None:
    pair = established(path(50, queue_ms=500, reorder=0.05, reorder_delay_ns=40 * MS), seed=1)
    pair.exchange(DATA)
    stats = pair.client.open.stats()
    assert stats["packets_spurious"] > 0
    # Nothing was really lost, so all losses were spurious but those not yet known to be.
    assert stats["packets_spurious"] >= 0.95 * stats["packets_lost"]
    early = stats["packets_spurious"]
    pair.exchange(DATA)
    assert pair.client.open.stats()["packets_spurious"] - early <= early


def test_duplicates_are_dropped_and_counted() -> None:
    pair = established(path(20, duplicate=0.5, duplicate_delay_ns=3 * MS))
    pair.exchange(payload(1_000_000))
    pair.run_for(SECOND)
    stats = pair.server.endpoint.stats()
    copies = pair.network.link(("192.0.2.1", 50_000), ("192.0.2.2", 4_433)).stats.duplicated
    assert copies > 100
    assert stats["replayed"] + stats["wrong_state"] + stats["hello_duplicate"] >= copies - 2
    assert pair.server.open.stats()["stream_bytes_received"] == 1_000_000


def test_jitter_that_keeps_order_loses_nothing() -> None:
    pair = established(path(50, queue_ms=500, jitter_ns=30 * MS))
    pair.exchange(payload(3_000_000), limit_ns=10 * SECOND)
    assert pair.client.open.stats()["packets_lost"] == 0
