"""Messages arrive exactly once whatever happens; datagrams at most once and never pile up."""

from collections import Counter
from random import Random

import pytest

from cython_ext.core import Params
from quantum.testing import Impairment, Pair
from tests.support.paths import MS, SECOND, established, path, payload

pytestmark = pytest.mark.simulation
LIMIT = 300_000


def mixture(count: int, seed: int) -> list[bytes]:
    """Return messages of all sizes, empty ones and the largest among them."""
    rng = Random(seed)
    sizes = [0, 1, LIMIT, *(int(2 ** rng.uniform(0, 15)) for _ in range(count))]
    return [
        n.to_bytes(4, "big")[: min(4, size)] + rng.randbytes(max(size - 4, 0))
        for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    "bad",
    [
        path(20),
        path(20, loss=0.2, duplicate=0.1, reorder=0.1, reorder_delay_ns=8 * MS),
        path(20, loss=0.3, burst=5),
        path(5, corrupt=0.1, jitter_ns=4 * MS),
    ],
    ids=["clean", "lossy", "bursts", "corrupt"],
)
def test_every_message_arrives_exactly_once(bad: Impairment) -> None:
    params = Params(max_message_bytes=LIMIT, max_message_data=800_000, message_buffer_bytes=200_000)
    pair = Pair(bad, client_params=params, server_params=params, seed=4).connect(60 * SECOND)
    up, down = mixture(1_200, 1), mixture(1_200, 2)
    pair.client.send_messages(up)
    pair.server.send_messages(down)
    pair.drive(
        lambda: len(pair.server.messages) >= len(up) and len(pair.client.messages) >= len(down),
        120 * SECOND,
    )
    pair.run_for(SECOND)
    assert Counter(pair.server.messages) == Counter(up)
    assert Counter(pair.client.messages) == Counter(down)


def test_messages_do_not_wait_for_each_other() -> None:
    pair = established(path(50))
    pair.client.tap = lambda number, data: [] if number == lost else [data]
    lost = pair.client.datagrams_sent
    pair.client.send_messages([payload(1_000, "first")])
    pair.run_for(MS)
    pair.client.tap = None
    pair.client.send_messages([payload(1_000, "second")])
    pair.drive(lambda: bool(pair.server.messages), SECOND)
    assert pair.server.messages == [payload(1_000, "second")]
    pair.drive(lambda: len(pair.server.messages) == 2, SECOND)


def test_a_message_larger_than_the_peer_accepts_is_the_callers_error() -> None:
    pair = Pair(path(), server_params=Params(max_message_bytes=100)).connect()
    assert pair.client.open.max_message_bytes == 100
    with pytest.raises(ValueError, match="max_message_bytes = 100; send it on a stream"):
        pair.client.open.send_message(bytes(101))
    pair.client.send_messages([bytes(100), b""])
    pair.drive(lambda: len(pair.server.messages) == 2, SECOND)


def test_a_receiver_that_does_not_take_messages_stops_the_sender() -> None:
    params = Params(max_message_bytes=1_000, max_message_data=50_000, message_buffer_bytes=20_000)
    pair = Pair(path(10), server_params=params, client_params=params).connect()
    pair.server.reads_messages = False
    pair.client.send_messages(payload(1_000, n) for n in range(200))
    pair.run_for(5 * SECOND)
    assert pair.client.open.stats()["messages_sent"] == 50_000 // 1_001
    assert pair.client.writes_waiting()
    pair.server.reads_messages = True
    pair.server.messages += pair.server.open.receive_messages()
    pair.drive(lambda: len(pair.server.messages) == 200, 5 * SECOND)
    assert Counter(pair.server.messages) == Counter(payload(1_000, n) for n in range(200))


def test_streams_and_messages_share_the_connection() -> None:
    pair = established(path(20))
    pair.client.send_stream(payload(30_000_000), bidirectional=False)
    pair.run_for(SECOND)
    pair.client.send_messages([payload(900, "urgent")])
    waited = pair.drive(lambda: bool(pair.server.messages), SECOND)
    assert waited < 100 * MS


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_datagrams_arrive_at_most_once_and_unchanged(loss: float) -> None:
    bad = path(20, loss=loss, duplicate=0.2, corrupt=0.05 if loss else 0)
    pair = established(bad)
    sent = [n.to_bytes(4, "big") + payload(n % 1_100, n) for n in range(3_000)]
    for data in sent:
        assert pair.client.open.send_datagram(data)
        pair.run_for(MS)
    pair.run_for(SECOND)
    arrived = Counter(pair.server.datagrams)
    assert max(arrived.values()) == 1
    assert set(arrived) <= set(sent)
    assert len(arrived) >= (0.7 * len(sent) if loss else len(sent))


def test_a_full_queue_of_datagrams_refuses_more() -> None:
    pair = established(path(50), datagram_queue=10)
    taken = [pair.client.open.send_datagram(bytes([n])) for n in range(30)]
    assert taken == [True] * 10 + [False] * 20
    assert pair.client.open.stats()["datagrams_dropped"] == 20
    pair.run_for(SECOND)
    assert pair.server.datagrams == [bytes([n]) for n in range(10)]


def test_a_datagram_that_does_not_fit_is_the_callers_error() -> None:
    pair = established()
    most = pair.client.open.max_datagram_bytes
    with pytest.raises(ValueError, match="send a message instead"):
        pair.client.open.send_datagram(bytes(most + 1))
    pair.client.open.send_datagram(payload(most))
    pair.client.open.send_datagram(b"")
    pair.run_for(SECOND)
    assert pair.server.datagrams == [payload(most), b""]
