"""Paths that go away and come back, and what the probes do meanwhile."""

from dataclasses import replace
from itertools import pairwise

import pytest

from cython_ext.core import CloseCause
from quantum.testing import Stalled
from tests.support.paths import (
    MS,
    SECOND,
    established,
    is_closed,
    path,
    payload,
    probe_timeout_ns,
)

pytestmark = pytest.mark.simulation
DATA = payload(20_000_000)


@pytest.mark.parametrize("outage_s", [2, 5, 29])
def test_a_transfer_survives_an_outage_shorter_than_the_idle_timeout(outage_s: int) -> None:
    pair = established()
    hole = (pair.now_ns + 700 * MS, pair.now_ns + 700 * MS + outage_s * SECOND)
    pair.impair(replace(path(), blackholes=(hole,)))
    stream_id = pair.client.send_stream(DATA, bidirectional=False)
    pair.run_for(hole[1] - pair.now_ns)
    before = pair.server.bytes_read
    assert 0 < before < len(DATA)
    # Half a second is the cap of the back-off at an idle time-out of 30 s; then a round trip.
    pair.drive(lambda: pair.server.bytes_read > before, SECOND)
    pair.drive(lambda: stream_id in pair.server.ended, 10 * SECOND)
    assert pair.server.received[stream_id] == DATA


@pytest.mark.parametrize("outage_s", [31, 60])
def test_an_outage_longer_than_the_idle_timeout_ends_both_ends(outage_s: int) -> None:
    pair = established()
    hole = (pair.now_ns + 700 * MS, pair.now_ns + 700 * MS + outage_s * SECOND)
    pair.impair(replace(path(), blackholes=(hole,)))
    pair.client.send_stream(DATA, bidirectional=False)
    pair.drive(lambda: is_closed(pair.client) and is_closed(pair.server), 40 * SECOND)
    assert pair.client.open.cause == pair.server.open.cause == CloseCause.IDLE_TIMEOUT
    ended = (pair.now_ns - hole[0]) / SECOND
    assert 29.9 < ended < 31
    assert pair.client.endpoint.stats()["connections"] == 0


def test_probes_keep_their_pace_at_first_and_back_off_up_to_the_cap() -> None:
    pair = established()
    pair.exchange(payload(200_000))
    pair.run_for(SECOND)
    timeout = probe_timeout_ns(pair.client.open)
    moments: list[int] = []

    def swallow(number: int, data: bytes) -> list[bytes]:
        if not moments or moments[-1] != pair.now_ns:
            moments.append(pair.now_ns)
        return []

    pair.client.tap = swallow
    pair.client.open.ping()
    pair.run_for(20 * SECOND)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert gaps[:11] == [timeout] * 11
    cap = 30 * SECOND // 64
    assert gaps[11] == 2 * timeout
    assert max(gaps) == cap
    assert gaps[-5:] == [cap] * 5
    # 1, 2 and 4 packets, then 8 at a time.
    assert pair.client.open.stats()["probes_sent"] == 7 + 8 * (len(gaps) - 3)


def test_an_acknowledgement_ends_the_back_off() -> None:
    pair = established()
    pair.exchange(payload(200_000))
    pair.client.tap = lambda number, data: []
    pair.client.open.ping()
    pair.run_for(5 * SECOND)
    backed_off = pair.client.open.stats()["probe_timeout_ns"]
    assert backed_off == 30 * SECOND // 64
    pair.client.tap = None
    pair.run_for(SECOND)
    assert pair.client.open.stats()["probe_timeout_ns"] < backed_off // 2
    assert pair.client.open.stats()["in_flight_bytes"] == 0


@pytest.mark.parametrize("controller", ["bbr", "new_reno"])
def test_persistent_congestion_shrinks_the_window_and_it_grows_again(controller: str) -> None:
    pair = established(controller=controller)
    hole = (pair.now_ns + 900 * MS, pair.now_ns + 900 * MS + 2 * SECOND)
    pair.impair(replace(path(), blackholes=(hole,)))
    pair.client.send_stream(DATA, bidirectional=False)
    pair.run_for(hole[0] - pair.now_ns)
    before = pair.client.open.stats()
    pair.drive(
        lambda: pair.client.open.stats()["persistent_congestion"] > before["persistent_congestion"],
        4 * SECOND,
    )
    shrunk = pair.client.open.stats()["window_bytes"]
    # What was acknowledged along with the news counts already: bytes in flight when it began.
    assert shrunk < before["window_bytes"] // 3
    goal = 0.8 * before["window_bytes"] if controller == "bbr" else 20 * shrunk
    pair.drive(lambda: pair.client.open.stats()["window_bytes"] > goal, 3 * SECOND)


def test_a_short_gap_is_no_persistent_congestion() -> None:
    pair = established()
    hole = (pair.now_ns + 900 * MS, pair.now_ns + 1_000 * MS)
    pair.impair(replace(path(), blackholes=(hole,)))
    pair.exchange(DATA)
    assert pair.client.open.stats()["persistent_congestion"] == 0


def test_a_path_that_never_comes_back_is_given_up_and_not_waited_for() -> None:
    pair = established()
    pair.client.tap = pair.server.tap = lambda number, data: []
    pair.client.send_stream(payload(1_000))
    with pytest.raises(Stalled, match="does not hold after 20"):
        pair.drive(lambda: bool(pair.server.received), 20 * SECOND)
    pair.run_for(20 * SECOND)
    assert pair.client.open.cause == CloseCause.IDLE_TIMEOUT
