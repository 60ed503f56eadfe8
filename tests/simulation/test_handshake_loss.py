"""The handshake under loss: it completes, or says within its time-out that it did not."""

import pytest

from cython_ext.core import CloseCause, ConnectionState, EventKind
from quantum.testing import Impairment, Pair
from tests.support.paths import MS, SECOND, path, payload

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("from_client", range(16))
def test_losing_any_of_the_first_packets_only_delays(from_client: int) -> None:
    for from_server in range(16):
        pair = Pair(path(50), seed=from_client)
        for peer, mask in ((pair.client, from_client), (pair.server, from_server)):
            lost = {n for n in range(4) if mask >> n & 1}
            peer.tap = lambda number, data, lost=lost: [] if number in lost else [data]
        pair.connect(10 * SECOND)
        pair.exchange(payload(20_000), payload(20_000), 5 * SECOND)


@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_every_packet_change_nothing(copies: int) -> None:
    pair = Pair(path(50))
    for peer in (pair.client, pair.server):
        peer.tap = lambda number, data: [data] * copies
    pair.connect(SECOND)
    pair.exchange(payload(20_000), payload(20_000))
    assert len(pair.server.connections) == len(pair.client.connections) == 1
    assert [e[0] for e in pair.server.events].count(EventKind.CONNECTED) == 1


@pytest.mark.parametrize("seed", range(5))
def test_packets_in_any_order_change_nothing(seed: int) -> None:
    bent = Impairment(delay_ns=10 * MS, reorder=0.5, reorder_delay_ns=40 * MS, duplicate=0.3)
    pair = Pair(bent, seed=seed)
    pair.begin()
    # The client may send as soon as it has the server's hello: data overtakes the Finished.
    pair.drive(lambda: pair.client.open.state >= ConnectionState.FINISHED_SENT, 5 * SECOND)
    stream_id = pair.client.send_stream(payload(8_000), bidirectional=False)
    pair.drive(lambda: stream_id in pair.server.ended, 5 * SECOND)
    assert pair.server.received[stream_id] == payload(8_000)


@pytest.mark.parametrize(("loss", "burst"), [(0.3, 1), (0.3, 3), (0.5, 1), (0.5, 3)])
def test_under_heavy_loss_every_handshake_ends_in_time(loss: float, burst: int) -> None:
    completed = 0
    for seed in range(40):
        pair = Pair(path(30, loss=loss, burst=burst), seed=seed)
        handle = pair.begin()
        start = pair.now_ns
        over = {ConnectionState.ESTABLISHED, ConnectionState.CLOSED}
        pair.drive(lambda: handle.state in over, 10 * SECOND)  # noqa: B023
        if handle.state == ConnectionState.CLOSED:
            assert handle.cause == CloseCause.HANDSHAKE_TIMEOUT
            assert pair.now_ns - start == 10 * SECOND
        else:
            completed += 1
        pair.run_for(40 * SECOND)
        assert pair.client.endpoint.connections() == []
        assert pair.server.endpoint.stats()["half_open"] == 0
    assert completed >= (39 if loss < 0.5 else 30)


def test_nobody_there_is_told_after_the_timeout_and_leaves_nothing() -> None:
    pair = Pair(path(loss=1.0))
    handle = pair.begin()
    assert pair.drive(lambda: handle.state == ConnectionState.CLOSED, 11 * SECOND) == 10 * SECOND
    pair.step(pair.now_ns + SECOND)
    assert handle.cause == CloseCause.HANDSHAKE_TIMEOUT
    assert pair.client.saw(EventKind.CONNECTION_CLOSED)
    assert pair.client.endpoint.connections() == []
    assert pair.client.endpoint.next_timeout() is None


def test_a_wrong_pin_is_told_after_the_timeout() -> None:
    pair = Pair(path(), pin=bytes(range(32)))
    handle = pair.begin()
    pair.run_for(11 * SECOND)
    assert handle.cause == CloseCause.HANDSHAKE_TIMEOUT
    stats = pair.server.endpoint.stats()
    assert (stats["hello_mac"], stats["connections"]) == (10, 0)


def test_a_client_that_falls_silent_leaves_no_half_open_state() -> None:
    pair = Pair(path())
    pair.client.tap = lambda number, data: [data] if number == 0 else []
    pair.begin()
    pair.run_for(SECOND)
    assert pair.server.endpoint.stats()["half_open"] == 1
    pair.run_for(10 * SECOND)
    assert pair.server.endpoint.stats()["half_open"] == 0
    assert pair.server.endpoint.connections() == []
