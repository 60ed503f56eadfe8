"""How connections end: idleness, CLOSE, resets; and what keeps them."""

from dataclasses import replace
from random import Random

import pytest

from cython_ext.core import CloseCause, ConnectionState, Endpoint, EventKind, Params
from quantum.testing import Pair, Peer
from quantum.testing.pair import CLIENT, SERVER
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
FIN, RST = 0x04, 0x08
REASON = "grüße".encode()


def both_closed(pair: Pair) -> bool:
    return is_closed(pair.client) and is_closed(pair.server)


# -- idleness


@pytest.mark.parametrize(
    ("ours", "theirs", "effective"), [(30, 30, 30), (5, 30, 5), (30, 4, 4), (0, 6, 6)]
)
def test_an_idle_connection_ends_after_the_smaller_timeout(
    ours: int, theirs: int, effective: int
) -> None:
    pair = Pair(
        path(20),
        client_params=Params(idle_timeout_ns=ours * SECOND),
        server_params=Params(idle_timeout_ns=theirs * SECOND),
    ).connect()
    pair.exchange(payload(10_000), payload(10_000))
    took = pair.drive(lambda: both_closed(pair), 60 * SECOND)
    assert abs(took - effective * SECOND) < SECOND // 2
    for peer in (pair.client, pair.server):
        assert peer.open.cause == CloseCause.IDLE_TIMEOUT
        pair.run_for(1)
        assert peer.saw(EventKind.CONNECTION_CLOSED)
        assert peer.endpoint.connections() == []


def test_without_a_timeout_a_connection_idles_for_ever() -> None:
    pair = established(idle_timeout_ns=0)
    pair.run_for(1_000_000 * SECOND)
    assert pair.is_established()
    pair.exchange(payload(1_000), payload(1_000))


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_keepalive_of_one_end_keeps_both(loss: float) -> None:
    pair = Pair(path(20, loss=loss), client_params=Params(keepalive_ns=10 * SECOND)).connect()
    sent = pair.client.datagrams_sent
    pair.run_for(600 * SECOND)
    assert pair.is_established()
    # A PING and its probes, every ten seconds, and nothing else.
    assert 55 <= pair.client.datagrams_sent - sent <= (200 if loss else 70)


def test_sending_into_silence_does_not_put_off_the_end() -> None:
    pair = established(idle_timeout_ns=10 * SECOND)
    pair.server.tap = lambda number, data: []
    start = pair.now_ns
    for _ in range(40):
        pair.client.open.ping()
        pair.run_for(SECOND // 2)
    assert pair.client.open.cause == CloseCause.IDLE_TIMEOUT
    assert is_closed(pair.client)
    assert pair.now_ns - start < 21 * SECOND


# -- closing


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("from_client", [True, False])
def test_the_last_bytes_arrive_before_the_end(from_client: bool, loss: float) -> None:
    data = payload(1_500_000)
    pair = established(path(40, loss=loss), seed=5)
    closer, other = (pair.client, pair.server) if from_client else (pair.server, pair.client)
    stream_id = closer.send_stream(data)
    closer.send_messages([b"last words"])
    pair.drive(lambda: not closer.writes_waiting(), 20 * SECOND)
    if not closer.open.request_flush():
        pair.drive(lambda: closer.saw(EventKind.EVERYTHING_ACKED), 30 * SECOND)
    closer.open.close(42, REASON, True, pair.now_ns)
    pair.drive(lambda: is_closed(closer), 10 * SECOND)
    assert other.received[stream_id] == data
    assert other.messages == [b"last words"]
    if not loss:
        pair.drive(lambda: is_closed(other), 10 * SECOND)
        assert other.open.cause == CloseCause.PEER_CLOSE
        assert other.open.close_frame == (42, True, REASON)
        assert other.saw(EventKind.CONNECTION_CLOSED)
    assert closer.open.cause == CloseCause.LOCAL_CLOSE


def test_what_came_before_the_close_can_still_be_read() -> None:
    pair = established()
    pair.server.reads_streams = pair.server.reads_messages = False
    stream_id = pair.client.send_stream(payload(5_000))
    pair.client.send_messages([b"m"])
    pair.run_for(SECOND)
    pair.client.open.close(0, b"", True, pair.now_ns)
    pair.drive(lambda: both_closed(pair), 5 * SECOND)
    pair.server.read(stream_id)
    assert pair.server.received[stream_id] == payload(5_000)
    assert pair.server.open.receive_messages() == [b"m"]


def test_both_ends_may_close_at_once() -> None:
    pair = established()
    pair.client.open.close(1, b"client", True, pair.now_ns)
    pair.server.open.close(2, b"server", True, pair.now_ns)
    pair.drive(lambda: both_closed(pair), 5 * SECOND)
    assert pair.client.open.cause == pair.server.open.cause == CloseCause.LOCAL_CLOSE
    assert pair.client.open.close_frame[0] in (1, 2)
    for peer in (pair.client, pair.server):
        pair.run_for(1)
        assert [e[0] for e in peer.events].count(EventKind.CONNECTION_CLOSED) == 1
        assert peer.endpoint.stats()["connections"] == 0


def test_a_lost_close_is_said_again_to_whoever_still_sends() -> None:
    pair = established(path(40))
    lost = 0

    def losing_closes(number: int, data: bytes) -> list[bytes]:
        nonlocal lost
        if data[5] & FIN and lost < 3:
            lost += 1
            return []
        return [data]

    pair.client.tap = losing_closes
    pair.server.send_stream(payload(3_000_000), bidirectional=False)
    pair.run_for(SECOND // 5)
    pair.client.open.close(9, b"", True, pair.now_ns)
    pair.drive(lambda: is_closed(pair.server), 5 * SECOND)
    assert lost == 3
    assert pair.server.open.cause == CloseCause.PEER_CLOSE
    assert pair.server.open.close_frame[0] == 9


def test_a_close_that_never_arrives_leaves_the_peer_to_its_idle_timeout() -> None:
    pair = established()
    pair.client.tap = lambda number, data: []
    pair.client.open.close(9, b"", True, pair.now_ns)
    pair.drive(lambda: both_closed(pair), 31 * SECOND)
    assert pair.server.open.cause == CloseCause.IDLE_TIMEOUT


def test_closing_and_draining_last_three_probe_timeouts() -> None:
    pair = established(path(40))
    pair.exchange(payload(50_000), payload(50_000))
    pair.run_for(SECOND)
    timeouts = {peer: probe_timeout_ns(peer.open) for peer in (pair.client, pair.server)}
    pair.client.open.close(0, b"", True, pair.now_ns)
    start = pair.now_ns
    assert pair.client.open.state == ConnectionState.CLOSING
    pair.drive(lambda: pair.server.open.state == ConnectionState.DRAINING, SECOND)
    drained = pair.now_ns
    sent = pair.server.datagrams_sent
    ended: dict[Peer, int] = {}

    def over() -> bool:
        for peer in (pair.client, pair.server):
            if is_closed(peer):
                ended.setdefault(peer, pair.now_ns)
        return len(ended) == 2

    pair.drive(over, 5 * SECOND)
    assert ended[pair.client] - start == 3 * timeouts[pair.client]
    assert ended[pair.server] - drained == 3 * timeouts[pair.server]
    assert pair.server.datagrams_sent == sent


@pytest.mark.parametrize("after_ms", [0, 5])
def test_a_close_before_the_handshake_is_done_ends_in_silence(after_ms: int) -> None:
    pair = Pair(path())
    handle = pair.begin()
    pair.run_for(after_ms * MS)
    handle.close(1, b"changed my mind", True, pair.now_ns)
    assert handle.state == ConnectionState.CLOSED
    pair.run_for(20 * SECOND)
    assert pair.client.saw(EventKind.CONNECTION_CLOSED)
    # The hello had left; the server waited for the rest of the handshake and gave up.
    assert [c.cause for c in pair.server.connections] == [CloseCause.HANDSHAKE_TIMEOUT]
    for peer in (pair.client, pair.server):
        assert peer.endpoint.stats()["connections"] == 0


def test_nothing_can_be_sent_after_the_end() -> None:
    pair = established()
    stream_id = pair.client.send_stream(b"x", finish=False)
    pair.client.open.close(0, b"", True, pair.now_ns)
    handle = pair.client.open
    assert handle.open_stream() is None
    assert handle.stream_write(stream_id, b"y") == -1
    assert handle.send_message(b"m") is False
    assert handle.send_datagram(b"d") is False
    handle.stream_finish(stream_id)
    handle.stream_reset(stream_id, 1)
    handle.stream_stop(stream_id, 1)
    handle.close(7, b"again", True, pair.now_ns)
    pair.drive(lambda: both_closed(pair), 5 * SECOND)
    assert pair.server.open.close_frame[0] == 0


@pytest.mark.parametrize("code", [-1, 1 << 62])
def test_a_code_out_of_range_is_the_callers_error(code: int) -> None:
    pair = established()
    with pytest.raises(ValueError, match="is not between 0 and"):
        pair.client.open.close(code, b"", True, pair.now_ns)


# -- stateless reset


def restarted(pair: Pair, seed: bytes) -> Peer:
    """Let the server's process die and another with *seed* take its place."""
    pair.network.remove(SERVER)
    fresh = Peer(Endpoint(Params(), Random("restarted").randbytes, seed))
    pair.network.add(SERVER, fresh)
    return fresh


def test_a_restarted_server_ends_its_former_connections_at_once() -> None:
    pair = established()
    pair.exchange(payload(10_000))
    restarted(pair, pair.server_seed)
    pair.client.send_stream(payload(10_000))
    took = pair.drive(lambda: pair.client.open.cause == CloseCause.STATELESS_RESET, SECOND)
    assert took < 100 * MS
    assert pair.client.open.state == ConnectionState.DRAINING
    pair.drive(lambda: is_closed(pair.client), SECOND)


def test_a_server_with_another_key_cannot_reset() -> None:
    pair = established()
    pair.exchange(payload(10_000))
    restarted(pair, bytes(range(32)))
    pair.client.send_stream(payload(10_000))
    pair.run_for(5 * SECOND)
    assert pair.client.open.state == ConnectionState.ESTABLISHED
    assert pair.client.endpoint.stats()["bad_reset"] > 0


def test_a_reset_with_a_flipped_token_is_dropped() -> None:
    pair = established()
    pair.exchange(payload(10_000))
    fresh = restarted(pair, pair.server_seed)
    fresh.tap = lambda number, data: (
        [data[:-1] + bytes([data[-1] ^ 1])] if data[5] == RST else [data]
    )
    pair.client.send_stream(payload(10_000))
    pair.run_for(5 * SECOND)
    assert pair.client.open.state == ConnectionState.ESTABLISHED
    assert pair.client.endpoint.stats()["bad_reset"] > 0


# -- one way only


@pytest.mark.parametrize("one_way", ["datagrams", "pings"])
def test_an_end_that_only_acknowledges_keeps_a_short_ledger(one_way: str) -> None:
    pair = established(path(20))
    longest = 0
    for _ in range(3_000):
        if one_way == "pings":
            pair.client.open.ping()
        else:
            pair.client.open.send_datagram(b"position")
        pair.run_for(5 * MS)
        longest = max(longest, pair.server.open.stats()["ledger_packets"])
    assert longest < 100
    assert pair.client.open.stats()["ledger_packets"] < 100


def test_two_idle_ends_do_not_acknowledge_each_other_for_ever() -> None:
    pair = established(replace(path(20)), idle_timeout_ns=0)
    pair.exchange(payload(500_000), payload(500_000))
    pair.run_for(5 * SECOND)
    sent = pair.client.datagrams_sent, pair.server.datagrams_sent
    pair.run_for(100 * SECOND)
    assert (pair.client.datagrams_sent, pair.server.datagrams_sent) == sent
    assert pair.server.open.peer_address == CLIENT
