"""Traffic keys change under way, at both ends, in any weather."""

import pytest

from cython_ext.core import Params
from quantum.testing import Impairment, Pair
from tests.support.paths import MS, path, payload

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize(
    "bad",
    [
        path(20),
        path(20, loss=0.1),
        path(20, loss=0.2, burst=5, reorder=0.1, reorder_delay_ns=15 * MS, duplicate=0.05),
    ],
    ids=["clean", "lossy", "worse"],
)
@pytest.mark.parametrize("suite", [1, 2])
def test_keys_change_many_times_during_a_transfer(bad: Impairment, suite: int) -> None:
    params = Params(key_update_packets=100, suites=(suite,))
    pair = Pair(bad, client_params=params, server_params=params, seed=2).connect()
    pair.exchange(payload(3_000_000, "up"), payload(3_000_000, "down"))
    updates = pair.client.open.stats()["key_updates"], pair.server.open.stats()["key_updates"]
    assert min(updates) >= 8
    assert abs(updates[0] - updates[1]) <= 1


@pytest.mark.parametrize("client_updates", [True, False])
def test_one_end_alone_may_drive_the_updates(client_updates: bool) -> None:
    eager, calm = Params(key_update_packets=60), Params()
    pair = Pair(
        path(20, loss=0.05),
        client_params=eager if client_updates else calm,
        server_params=calm if client_updates else eager,
    ).connect()
    pair.exchange(payload(1_500_000, "up"), payload(1_500_000, "down"))
    driver = pair.client if client_updates else pair.server
    assert driver.open.stats()["key_updates"] >= 5


def test_an_update_waits_until_the_peer_has_the_present_keys() -> None:
    params = Params(key_update_packets=1)
    pair = Pair(path(100), client_params=params, server_params=params).connect()
    took = pair.exchange(payload(500_000, "up"), payload(500_000, "down"))
    round_trips = took / (100 * MS)
    # At most one update per round trip and end, however eager both are.
    assert 2 <= pair.client.open.stats()["key_updates"] <= 2 * round_trips + 2
