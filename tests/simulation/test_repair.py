"""Repairs over lossy paths in virtual time: tails come in time, and bulk does not pay for it."""

from collections.abc import Callable
from random import Random

import pytest

from cython_ext.core import Params
from quantum import realtime, wan
from quantum.testing import Impairment, Pair
from tests.support.tail_bars import ANSWER, MS, SECOND, Caller, measure, path

FEC = 0x10
Tap = Callable[[int, bytes], list[bytes]]


def is_source(packet: bytes) -> bool:
    """Tell whether *packet* has the flag FEC, and no flag of the handshake."""
    return bool(packet[5] & FEC) and not packet[5] & 0x29


def both(caller: Caller, name: str) -> int:
    """Return the sum of a counter over both ends."""
    return sum(int(peer.open.stats()[name]) for peer in (caller.client, caller.server))


@pytest.fixture(scope="module")
def loss_free_ms() -> float:
    return measure(path(0), 60, fec="off").at(0.5)


# -- bars ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fec", ["auto", "always"])
def test_answers_come_in_time_at_five_percent_of_loss(fec: str, loss_free_ms: float) -> None:
    times = measure(path(0.05), 400, fec=fec)
    assert times.at(0.5) < 1.1 * loss_free_ms
    # The bar is 1.5 and the aim 1.2; without repairs it is above 3.
    assert times.at(0.99) < 1.3 * loss_free_ms
    assert times.recovered > 200


def test_answers_come_in_time_at_one_percent_of_loss(loss_free_ms: float) -> None:
    assert measure(path(0.01), 300, fec="auto").at(0.99) < 1.3 * loss_free_ms


def test_bursts_hurt_far_less_than_without_repairs() -> None:
    plain = measure(path(0.05, 3), 300, fec="off").at(0.99)
    assert measure(path(0.05, 3), 300, fec="auto").at(0.99) < plain / 2


@pytest.mark.parametrize("which", ["first", "last", "middle"])
def test_a_lost_packet_of_an_answer_costs_milliseconds(which: str, loss_free_ms: float) -> None:
    caller = Caller(path(0), fec="always")
    for _ in range(20):
        caller.exchange()
        caller.pair.run_for(20 * MS)
    sources: list[int] = []

    def count(number: int, packet: bytes) -> list[bytes]:
        if is_source(packet):
            sources.append(number)
        return [packet]

    caller.server.tap = count
    caller.exchange()
    total, seen = len(sources), 0
    doomed = {"first": 0, "last": total - 1, "middle": total // 2}[which]

    def drop(_: int, packet: bytes) -> list[bytes]:
        nonlocal seen
        if is_source(packet):
            seen += 1
            if seen == doomed + 1:
                return []
        return [packet]

    before = caller.server.open.stats()
    caller.server.tap = drop
    caller.pair.run_for(20 * MS)
    took = caller.exchange() / MS
    caller.pair.run_for(500 * MS)
    after = caller.server.open.stats()
    assert took < 1.2 * loss_free_ms
    assert after["fec_recovered_by_peer"] - before["fec_recovered_by_peer"] == 1
    # For the controller it was lost, and nothing was sent twice.
    assert after["packets_lost"] - before["packets_lost"] == 1
    assert after["bytes_retransmitted"] == before["bytes_retransmitted"]
    assert after["packets_spurious"] == 0


def test_a_lost_request_costs_milliseconds(loss_free_ms: float) -> None:
    caller = Caller(path(0), fec="always")
    for _ in range(20):
        caller.exchange()
        caller.pair.run_for(20 * MS)
    dropped: list[bytes] = []

    def drop(_: int, packet: bytes) -> list[bytes]:
        if is_source(packet) and not dropped:
            dropped.append(packet)
            return []
        return [packet]

    caller.client.tap = drop
    assert caller.exchange() / MS < 1.2 * loss_free_ms
    assert dropped


def test_the_first_answer_of_a_realtime_connection_is_protected() -> None:
    caller = Caller(path(0), answer=ANSWER[:6_000], fec="auto", assumed_loss=0.05)
    seen = 0

    def drop_the_second(_: int, packet: bytes) -> list[bytes]:
        nonlocal seen
        seen += is_source(packet)
        return [] if is_source(packet) and seen == 2 else [packet]

    caller.server.tap = drop_the_second
    assert caller.exchange() < 75 * MS
    assert both(caller, "fec_packets_recovered") == 1


def test_profiles_say_whether_losses_are_expected() -> None:
    assert realtime().assumed_loss == 0.05
    assert (wan().fec, wan().assumed_loss) == ("auto", 0.02)


# -- cost ----------------------------------------------------------------------------------------


def test_nothing_is_added_where_nothing_is_lost() -> None:
    caller = Caller(path(0), fec="auto")
    for _ in range(30):
        caller.exchange()
    caller.pair.exchange(bytes(2_000_000), bytes(2_000_000))
    assert both(caller, "fec_packets_protected") == 0
    assert both(caller, "fec_repairs_sent") == 0


@pytest.mark.parametrize("fec", ["auto", "always"])
def test_bulk_at_five_percent_of_loss_pays_less_than_one_percent(fec: str) -> None:
    params = Params(fec=fec)
    pair = Pair(path(0.05), seed=3, client_params=params, server_params=params).connect()
    pair.exchange(upward=Random(1).randbytes(6_000_000))
    stats = pair.client.open.stats()
    assert stats["packets_lost"] > 100
    assert 0 < stats["fec_repair_bytes"] < stats["bytes_sent"] / 100


def test_a_sender_whose_buffer_runs_dry_all_the_time_is_bounded() -> None:
    # 256 KB of buffer where 25 MB would fill the path: the sender runs dry all the time.
    params = Params(send_buffer_bytes=1 << 18, max_stream_data=1 << 18, max_data=1 << 20)
    slow = Impairment(delay_ns=100 * MS, loss=0.03, rate_bps=1_000_000_000, queue_bytes=1 << 24)
    pair = Pair(slow, seed=5, client_params=params, server_params=params).connect()
    pair.exchange(upward=Random(1).randbytes(8_000_000), limit_ns=300 * SECOND)
    stats = pair.client.open.stats()
    assert stats["fec_repair_bytes"] < stats["bytes_sent"] / 25


def test_a_peer_that_does_not_repair_gets_neither_flag_nor_repair() -> None:
    params, plain = Params(fec="always"), Params(repair_sources=0, fec="always")
    pair = Pair(path(0), seed=2, client_params=params, server_params=plain)
    flags: set[int] = set()

    def note(_: int, packet: bytes) -> list[bytes]:
        flags.add(packet[5])
        return [packet]

    pair.client.tap = note
    pair.connect()
    pair.exchange(bytes(5_000), bytes(5_000))
    assert not any(flag & FEC for flag in flags)
    assert pair.client.open.stats()["fec_packets_recovered"] == 0
    # The other way the client repairs, and may be sent them.
    assert pair.server.open.stats()["fec_repairs_sent"] > 0


def test_nothing_is_held_by_a_connection_that_became_quiet() -> None:
    caller = Caller(path(0.05), fec="always")
    for _ in range(10):
        caller.exchange()
    caller.pair.run_for(5 * SECOND)
    for peer in (caller.client, caller.server):
        stats = peer.open.stats()
        assert stats["fec_repairs_sent"] > 0
        # Nothing but the idle time-out is left to do: no block, no repair, nothing kept.
        due = peer.next_timeout()
        assert due is not None
        assert due > caller.pair.now_ns + 10 * SECOND


# -- exactness -----------------------------------------------------------------------------------

PATHS = {
    "loss": Impairment(delay_ns=20 * MS, loss=0.1),
    "bursts": Impairment(delay_ns=20 * MS, loss=0.1, burst=4),
    "reordering": Impairment(delay_ns=20 * MS, loss=0.05, reorder=0.2, reorder_delay_ns=12 * MS),
    "duplication": Impairment(delay_ns=20 * MS, loss=0.1, duplicate=0.2, duplicate_delay_ns=3 * MS),
    "corruption": Impairment(delay_ns=20 * MS, loss=0.05, corrupt=0.05),
    "everything": Impairment(
        delay_ns=20 * MS,
        jitter_ns=4 * MS,
        loss=0.1,
        burst=2,
        reorder=0.1,
        reorder_delay_ns=8 * MS,
        duplicate=0.1,
        duplicate_delay_ns=2 * MS,
        corrupt=0.02,
        rate_bps=20_000_000,
        queue_bytes=1 << 17,
    ),
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_streams_and_messages_arrive_exactly_whatever_the_path_does(name: str, seed: int) -> None:
    random = Random(seed)
    params = Params(fec="always", handshake_timeout_ns=60 * SECOND)
    pair = Pair(PATHS[name], seed=seed, client_params=params, server_params=params)
    pair.connect(60 * SECOND)
    sent: list[bytes] = []
    for _ in range(25):
        batch = [random.randbytes(random.choice((0, 60, 900, 5_000))) for _ in range(4)]
        sent += batch
        pair.client.send_messages(batch)
        pair.exchange(
            random.randbytes(random.choice((1, 1_000, 40_000))),
            random.randbytes(random.choice((1, 300, 25_000))),
        )
        pair.run_for(random.choice((0, 5, 80)) * MS)
    pair.drive(lambda: len(pair.server.messages) >= len(sent), 60 * SECOND)
    assert sorted(pair.server.messages) == sorted(sent)
    ends = [peer.open.stats() for peer in (pair.client, pair.server)]
    assert sum(end["fec_packets_recovered"] for end in ends) > 20
    # Every packet that one end rebuilt the other learns of, unless the report was lost or late.
    for one, other in (ends, ends[::-1]):
        assert other["fec_recovered_by_peer"] <= one["fec_packets_recovered"]
        assert other["fec_recovered_by_peer"] > one["fec_packets_recovered"] * 0.5


def test_a_packet_that_is_only_late_counts_as_a_spurious_loss() -> None:
    caller = Caller(path(0), fec="always")
    held: list[bytes] = []

    def hold_one(_: int, packet: bytes) -> list[bytes]:
        if is_source(packet) and not held:
            held.append(packet)
            return []
        return [packet]

    for _ in range(3):
        caller.exchange()
    before = caller.server.open.stats()
    caller.server.tap = hold_one
    caller.exchange()
    caller.pair.run_for(30 * MS)
    caller.client.handle_datagram(caller.pair.now_ns, held[0], ("192.0.2.2", 4_433))
    caller.pair.run_for(200 * MS)
    after = caller.server.open.stats()
    assert after["fec_recovered_by_peer"] - before["fec_recovered_by_peer"] == 1
    assert after["packets_spurious"] - before["packets_spurious"] == 1
    assert after["bytes_retransmitted"] == before["bytes_retransmitted"]
    assert caller.client.open.stats()["fec_recovered_late"] == 1
    caller.exchange()
