"""Marks instead of losses: the queue stays short, and a path that does not carry them is found out."""

import pytest

from quantum.testing import Capable, Impairment
from tests.support.bottleneck import Bottleneck, Bulk, Flow
from tests.support.congestion_bars import link
from tests.support.paths import MS, SECOND, established, path, payload

pytestmark = pytest.mark.simulation
# A queue of four round trips that marks above a tenth of one.
MARKING = link(50, 40, 4, mark_bytes=25_000)


def bulk(there: Impairment, congestion: str, seconds: float = 8, **values: object) -> Flow:
    """Return a flow that has sent for *seconds*."""
    bottleneck = Bottleneck(there, seed=5)
    flow = bottleneck.add(congestion, **values)
    flow.sender.start()
    bottleneck.run_for(seconds)
    return flow


@pytest.mark.parametrize("congestion", ["bbr", "cubic", "new_reno"])
def test_marks_keep_the_queue_short_without_a_loss(congestion: str) -> None:
    stats = bulk(MARKING, congestion).sender.open.stats()
    assert stats["ecn_ce_reported"] > 0
    assert stats["ecn_marking"]
    assert stats["packets_lost"] == 0
    assert stats["rtt_smoothed_ns"] < 70 * MS


def test_without_marks_cubic_fills_the_same_queue() -> None:
    unmarked = bulk(MARKING, "cubic", ecn=False, seconds=20).sender.open.stats()
    assert unmarked["ecn_marking"] == 0
    assert unmarked["ecn_ce_reported"] == 0
    assert unmarked["packets_lost"] > 0


def test_the_receiver_counts_what_came_marked() -> None:
    flow = bulk(MARKING, "cubic")
    sender, receiver = flow.sender.open.stats(), flow.receiver.open.stats()
    assert receiver["ecn_ce_received"] >= sender["ecn_ce_reported"] > 0


def test_a_path_that_bleaches_marks_gets_none_any_more() -> None:
    pair = established(path(50))
    pair.exchange(payload(100_000))
    stats = pair.client.open.stats()
    # The pair's network carries no marks, so the server's ACKs have no counts.
    assert stats["ecn_failed"]
    assert not stats["ecn_marking"]


class Dropping(Bulk):
    """A receiver behind a path that drops every datagram with a mark."""

    def handle_datagrams(self, now_ns: int, train: list[bytes], source: object) -> None:
        super().handle_datagrams(now_ns, [d for d in train if not isinstance(d, Capable)], source)


def test_a_path_that_drops_marked_packets_is_used_without_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.support.bottleneck.Bulk", Dropping)
    bottleneck = Bottleneck(link(10, 40), seed=2)
    flow = bottleneck.add()
    flow.sender.start(total=200_000)
    bottleneck.run_for(5)
    assert flow.receiver.bytes_read == 200_000
    assert flow.sender.open.stats()["ecn_failed"]


def test_the_time_of_the_handshake_is_the_first_round_trip() -> None:
    pair = established(path(80))
    for peer in (pair.client, pair.server):
        stats = peer.open.stats()
        assert 80 * MS <= stats["rtt_smoothed_ns"] < 90 * MS
    assert pair.now_ns < 2 * SECOND
