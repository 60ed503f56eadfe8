"""Credit: slow readers hold senders back, nobody starves, and nothing is lost meanwhile."""

import pytest

from cython_ext.core import EventKind, Params
from quantum.testing import Pair
from tests.support.memory import resident_bytes
from tests.support.paths import SECOND, established, path, payload

pytestmark = pytest.mark.simulation


def test_a_reader_that_does_not_read_stops_the_sender_at_the_streams_credit() -> None:
    data = payload(3_000_000)
    pair = established(max_stream_data=100_000, max_data=1_000_000, send_buffer_bytes=50_000)
    pair.server.reads_streams = False
    before = resident_bytes()
    stream_id = pair.client.send_stream(data)
    pair.run_for(5 * SECOND)
    assert pair.client.open.stats()["stream_bytes_sent"] == 100_000
    assert pair.client.writes_waiting()
    assert resident_bytes() - before < 4 << 20
    # A byte or two free no credit worth a frame; half the window does.
    pair.server.read(stream_id, limit=2)
    pair.server.open.ping()
    pair.run_for(SECOND)
    assert pair.client.open.stats()["stream_bytes_sent"] == 100_000
    while stream_id not in pair.server.ended:
        pair.server.read(stream_id, limit=60_000)
        pair.run_for(SECOND // 5)
        assert pair.client.open.stats()["stream_bytes_sent"] <= len(data)
        unread = pair.client.open.stats()["stream_bytes_sent"] - pair.server.bytes_read
        assert unread <= 100_000
    assert pair.server.received[stream_id] == data


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_the_connections_credit_bounds_all_streams_together(loss: float) -> None:
    pair = established(path(20, loss=loss), max_stream_data=100_000, max_data=150_000)
    pair.server.reads_streams = False
    sent = {pair.client.send_stream(payload(90_000, n)): payload(90_000, n) for n in range(10)}
    pair.run_for(5 * SECOND)
    assert pair.client.open.stats()["stream_bytes_sent"] == 150_000
    pair.server.reads_streams = True
    for stream_id in sent:
        pair.server.read(stream_id)
    pair.drive(lambda: pair.server.ended >= set(sent), 10 * SECOND)
    assert {n: bytes(data) for n, data in pair.server.received.items()} == sent


def test_a_blocked_stream_does_not_hold_up_another() -> None:
    pair = established(max_stream_data=50_000, max_data=1_000_000)
    pair.server.reads_streams = False
    blocked = pair.client.send_stream(payload(200_000))
    pair.run_for(SECOND)
    pair.server.reads_streams = True
    free = pair.client.send_stream(payload(400_000, "free"))
    pair.drive(lambda: free in pair.server.ended, 5 * SECOND)
    assert blocked not in pair.server.ended
    pair.server.read(blocked)
    pair.drive(lambda: blocked in pair.server.ended, 5 * SECOND)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_thousand_streams_pass_through_a_limit_of_twenty(bidirectional: bool) -> None:
    pair = established(
        path(10, loss=0.05), max_streams_bidi=20, max_streams_uni=20, max_data=500_000
    )
    opened: dict[int, bytes] = {}
    most = 0

    def everything_passed() -> bool:
        nonlocal most
        while len(opened) < 1_000:
            stream_id = pair.client.open.open_stream(bidirectional)
            if stream_id is None:
                break
            opened[stream_id] = payload(700, len(opened))
            pair.client.write(stream_id, opened[stream_id])
        most = max(most, pair.server.open.stats()["streams"])
        if bidirectional:
            for _, stream_id, _ in pair.server.events:
                pair.server.open.stream_finish(stream_id)
            pair.server.events.clear()
        return len(pair.server.ended) == 1_000

    pair.drive(everything_passed, 60 * SECOND)
    assert {n: bytes(data) for n, data in pair.server.received.items()} == opened
    assert most <= 20
    pair.run_for(2 * SECOND)
    assert pair.server.open.stats()["streams"] == 0
    assert pair.client.saw(EventKind.STREAMS_ALLOWED)


def test_a_peer_that_offers_nothing_gets_nothing() -> None:
    nothing = Params(max_data=0, max_stream_data=0, max_streams_bidi=0, max_streams_uni=0)
    pair = Pair(path(), server_params=nothing).connect()
    assert pair.client.open.open_stream() is None
    assert pair.client.open.open_stream(False) is None
    # The other direction is free.
    pair.exchange(downward=payload(100_000))


def test_reset_streams_give_their_credit_back() -> None:
    pair = established(max_stream_data=60_000, max_data=100_000)
    pair.server.reads_streams = False
    for number in range(20):
        stream_id = pair.client.send_stream(payload(60_000, number), finish=False)
        pair.run_for(SECOND // 2)
        assert pair.client.open.stats()["stream_bytes_sent"] == 60_000 * (number + 1)
        pair.client.open.stream_reset(stream_id, 7)
        pair.run_for(SECOND // 2)
        assert (EventKind.STREAM_RESET_BY_PEER, stream_id, 7) in pair.server.events


def test_stopped_streams_give_their_credit_back_and_are_forgotten() -> None:
    pair = established(path(20, loss=0.1), max_stream_data=60_000, max_data=100_000)
    pair.server.reads_streams = False
    for number in range(20):
        stream_id = pair.client.send_stream(
            payload(70_000, number), bidirectional=False, finish=number % 2 == 0
        )
        pair.run_for(SECOND // 2)
        pair.server.open.stream_stop(stream_id, 9)
        pair.drive(
            lambda: (EventKind.STREAM_STOPPED_BY_PEER, stream_id, 9) in pair.client.events,  # noqa: B023
            5 * SECOND,
        )
        pair.run_for(SECOND)
    assert pair.server.open.stats()["streams"] == 0
    assert pair.client.open.stats()["streams"] == 0


def test_a_write_after_a_stop_is_refused() -> None:
    pair = established()
    stream_id = pair.client.send_stream(payload(10_000), finish=False)
    pair.run_for(SECOND)
    pair.server.open.stream_stop(stream_id, 1)
    pair.run_for(SECOND)
    assert pair.client.open.stream_write(stream_id, b"more") == -1


def test_interleaved_streams_share_the_connection() -> None:
    pair = established(path(20))
    first = pair.client.send_stream(payload(4_000_000, 1), bidirectional=False)
    second = pair.client.send_stream(payload(4_000_000, 2), bidirectional=False)

    def shares() -> list[int]:
        return [len(pair.server.received.get(n, b"")) for n in (first, second)]

    pair.drive(lambda: sum(shares()) > 4_000_000, 5 * SECOND)
    assert min(shares()) > 0.4 * max(shares())
