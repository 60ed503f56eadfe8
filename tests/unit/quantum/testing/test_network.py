"""The virtual-time network keeps its promises: shares, order, time, and the same run per seed."""

import itertools
from collections.abc import Iterable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.testing import Endpoint, Impairment, Link, LinkStats, Network

MS = 1_000_000


class Sink:
    """Remembers what arrives and sends what it is given."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bytes, Endpoint]] = []
        self.outbox: list[tuple[Endpoint, bytes]] = []
        self.wakes: list[int] = []
        self.woken: list[int] = []

    def handle_datagram(self, now_ns: int, data: bytes, source: Endpoint) -> None:
        self.got.append((now_ns, data, source))

    def handle_timeout(self, now_ns: int) -> None:
        self.woken.append(now_ns)
        self.wakes = [w for w in self.wakes if w > now_ns]

    def poll_datagrams(self, now_ns: int) -> Iterator[tuple[Endpoint, bytes]]:
        outbox, self.outbox = self.outbox, []
        yield from outbox

    def next_timeout(self) -> int | None:
        return min(self.wakes, default=None)


class TrainSink(Sink):
    """Takes whole trains."""

    def __init__(self) -> None:
        super().__init__()
        self.trains: list[list[bytes]] = []

    def handle_datagrams(self, now_ns: int, train: list[bytes], source: Endpoint) -> None:
        self.trains.append(train)
        for data in train:
            self.handle_datagram(now_ns, data, source)


def fates(impairment: Impairment, count: int = 60_000, seed: int = 1) -> list[bool]:
    """Tell of each of *count* datagrams whether it arrived."""
    link = Link(impairment, Random(seed))
    return [bool(link.send(0, b"x")) for _ in range(count)]


def two_sinks(impairment: Impairment, seed: int = 0) -> tuple[Network, Sink, Sink]:
    network, a, b = Network(seed), Sink(), Sink()
    network.add("a", a)
    network.add("b", b)
    network.join("a", "b", impairment)
    return network, a, b


def test_a_perfect_wire_delivers_after_the_delay_and_in_order() -> None:
    network, a, b = two_sinks(Impairment(delay_ns=25 * MS))
    a.outbox = [("b", bytes([i])) for i in range(5)]
    assert network.run_until(lambda: len(b.got) == 5, 100 * MS)
    assert b.got == [(25 * MS, bytes([i]), "a") for i in range(5)]
    assert network.now_ns == 25 * MS


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("burst", [1.0, 5.0])
def test_losses_have_their_share_and_their_mean_burst(loss: float, burst: float) -> None:
    arrived = fates(Impairment(loss=loss, burst=burst), 200_000)
    runs = [len(list(group)) for ok, group in itertools.groupby(arrived) if not ok]
    assert sum(runs) / len(arrived) == pytest.approx(loss, rel=0.1)
    # Independent losses form runs by chance; their mean is 1 / (1 - loss).
    expected = burst if burst > 1 else 1 / (1 - loss)
    assert sum(runs) / len(runs) == pytest.approx(expected, rel=0.1)


def test_extremes_are_exact() -> None:
    assert all(fates(Impairment(), 1000))
    assert not any(fates(Impairment(loss=1), 1000))
    assert not any(fates(Impairment(loss=1, burst=5), 1000))


def test_duplicates_and_corruption_have_their_share() -> None:
    link = Link(Impairment(duplicate=0.05, corrupt=0.01, duplicate_delay_ns=7), Random(3))
    data = bytes(100)
    copies = [link.send(0, data) for _ in range(50_000)]
    doubled = [c for c in copies if len(c) == 2]
    damaged = [d for c in copies for _, d in c[:1] if d != data]
    assert len(doubled) / len(copies) == pytest.approx(0.05, rel=0.1)
    assert len(damaged) / len(copies) == pytest.approx(0.01, rel=0.2)
    assert all(len(d) == 100 and sum(x != 0 for x in d) == 1 for d in damaged)
    assert all(c[1] == (7, c[0][1]) for c in doubled)
    assert link.stats.duplicated == len(doubled)
    assert link.stats.corrupted == len(damaged)
    assert link.stats.delivered == 50_000 + len(doubled)


def test_reordering_holds_back_its_share() -> None:
    network, a, b = two_sinks(Impairment(delay_ns=MS, reorder=0.1, reorder_delay_ns=5 * MS))
    sent = [i.to_bytes(4, "big") for i in range(10_000)]
    for data in sent:
        a.outbox.append(("b", data))
        network.run_for(MS // 10)
    network.run_for(20 * MS)
    got = [data for _, data, _ in b.got]
    assert sorted(got) == sent
    assert got != sent
    late = [at for at, data, _ in b.got if at > int.from_bytes(data, "big") * MS // 10 + MS]
    assert len(late) / len(sent) == pytest.approx(0.1, rel=0.15)


def test_jitter_spreads_delays_and_keeps_order() -> None:
    link = Link(Impairment(delay_ns=10 * MS, jitter_ns=4 * MS), Random(5))
    times = [link.send(i * 1000, b"x")[0][0] - i * 1000 for i in range(5000)]
    arrivals = [t + i * 1000 for i, t in enumerate(times)]
    assert arrivals == sorted(arrivals)
    assert min(times) >= 10 * MS
    assert max(times) <= 14 * MS
    assert max(times) > 13 * MS


def test_a_bottleneck_paces_and_drops_from_its_tail() -> None:
    link = Link(Impairment(rate_bps=8_000_000, queue_bytes=10_000), Random(0))  # 1 byte per us
    times = [at for _ in range(20) for at, _ in link.send(0, bytes(1000))]
    assert times == [i * MS for i in range(1, 11)]
    assert link.stats.queue_full == 10
    assert link.send(5 * MS, bytes(1000)) == [(11 * MS, bytes(1000))], "half the queue is free"
    assert link.send(100 * MS, bytes(1000)) == [(101 * MS, bytes(1000))]


def test_what_exceeds_the_mtu_vanishes() -> None:
    link = Link(Impairment(mtu=1200), Random(0))
    assert link.send(0, bytes(1200))
    assert not link.send(0, bytes(1201))
    assert link.stats.too_big == 1


def test_a_black_hole_swallows_and_lets_go() -> None:
    link = Link(Impairment(blackholes=((10, 20), (30, 40))), Random(0))
    assert [t for t in range(0, 50, 5) if link.send(t, b"x")] == [0, 5, 20, 25, 40, 45]
    assert link.stats.blackholed == 4


def test_an_impairment_can_change_under_way() -> None:
    link = Link(Impairment(loss=1), Random(0))
    assert not link.send(0, b"x")
    link.impairment = Impairment(delay_ns=3)
    assert link.send(0, b"x") == [(3, b"x")]
    assert link.impairment.delay_ns == 3


def test_a_timeout_fires_on_time_and_only_then() -> None:
    network, a, b = two_sinks(Impairment(delay_ns=MS))
    a.wakes, b.wakes = [5 * MS], [7 * MS, 9 * MS]
    network.run_for(8 * MS)
    assert (a.woken, b.woken) == ([5 * MS], [7 * MS])
    assert network.now_ns == 8 * MS


def test_what_happens_between_steps_is_noticed() -> None:
    network, a, b = two_sinks(Impairment(delay_ns=MS))
    network.run_for(50 * MS)
    a.outbox = [("b", b"later")]
    assert network.run_until(lambda: bool(b.got), 10 * MS)
    assert b.got == [(51 * MS, b"later", "a")]


def test_run_until_gives_up_at_its_limit() -> None:
    network, _, b = two_sinks(Impairment())
    assert not network.run_until(lambda: bool(b.got), 3 * MS)
    assert network.now_ns == 3 * MS


def test_a_clock_that_cannot_move_is_reported() -> None:
    class Stuck(Sink):
        def next_timeout(self) -> int | None:
            return 0

    network = Network()
    network.add("stuck", Stuck())
    with pytest.raises(RuntimeError, match="clock stands"):
        network.run_for(MS)


def test_datagrams_to_nobody_are_counted() -> None:
    network, a, _ = two_sinks(Impairment())
    a.outbox = [("nowhere", b"x"), ("b", b"y")]
    network.step()
    assert network.unroutable == 1
    network.remove("b")
    a.outbox = [("b", b"z")]
    network.step()
    assert network.unroutable == 2


def test_an_endpoint_is_taken_once() -> None:
    network, *_ = two_sinks(Impairment())
    with pytest.raises(ValueError, match="taken"):
        network.add("a", Sink())


def test_a_train_sent_at_one_instant_arrives_in_one_call() -> None:
    network, a, b = Network(), Sink(), TrainSink()
    network.add("a", a)
    network.add("b", b)
    network.join("a", "b", Impairment(delay_ns=MS), back=Impairment(delay_ns=2 * MS))
    a.outbox = [("b", bytes([i])) for i in range(40)]
    network.run_for(MS)
    assert b.trains == [[bytes([i]) for i in range(40)]]
    assert network.link("b", "a").impairment.delay_ns == 2 * MS


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("loss", 1.5, "share from 0 to 1"),
        ("corrupt", -0.1, "share from 0 to 1"),
        ("delay_ns", -1, "cannot be negative"),
        ("burst", 0.5, "at least 1"),
        ("reorder", 0.1, "reorder_delay_ns"),
        ("rate_bps", 0, "must exceed 0"),
        ("mtu", 0, "must exceed 0"),
        ("blackholes", ((2, 1),), "ends after it starts"),
    ],
)
def test_an_impossible_impairment_says_what_is_wrong(
    field: str, value: object, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Impairment(**{field: value})  # type: ignore[arg-type]


def test_a_loss_that_its_bursts_cannot_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="raise burst"):
        Impairment(loss=0.9, burst=2)


IMPAIRMENTS = st.builds(
    Impairment,
    delay_ns=st.integers(0, 1000),
    jitter_ns=st.sampled_from([0, 500]),
    loss=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    burst=st.sampled_from([1.0, 5.0]),
    reorder=st.sampled_from([0.0, 0.1, 1.0]),
    reorder_delay_ns=st.integers(1, 1000),
    duplicate=st.sampled_from([0.0, 0.1, 1.0]),
    duplicate_delay_ns=st.sampled_from([0, 5]),
    corrupt=st.sampled_from([0.0, 0.1, 1.0]),
    rate_bps=st.sampled_from([None, 10**9]),
    queue_bytes=st.sampled_from([200, 10**6]),
    mtu=st.sampled_from([None, 50]),
    blackholes=st.sampled_from([(), ((100, 200),)]),
)
TRAINS = st.lists(st.lists(st.binary(max_size=80), min_size=1, max_size=8), max_size=60)


def passage(
    impairment: Impairment, seed: int, trains: Iterable[list[bytes]]
) -> tuple[list[tuple[int, list[bytes]]], LinkStats]:
    link = Link(impairment, Random(seed))
    found = [r for i, train in enumerate(trains) for r in link.send_train(i * 10, list(train))]
    return found, link.stats


@settings(max_examples=200)
@given(IMPAIRMENTS, st.integers(0, 9), TRAINS)
def test_every_datagram_is_accounted_for_and_a_seed_repeats_the_run(
    impairment: Impairment, seed: int, trains: list[list[bytes]]
) -> None:
    found, stats = passage(impairment, seed, trains)
    assert (found, stats) == passage(impairment, seed, trains)
    assert stats.sent == sum(map(len, trains))
    assert stats.delivered == sum(len(run) for _, run in found)
    assert stats.delivered - stats.duplicated == stats.sent - (
        stats.lost + stats.queue_full + stats.too_big + stats.blackholed
    )
    assert all(at >= impairment.delay_ns for at, _ in found)
    assert all(run for _, run in found)


def test_two_seeds_give_two_runs() -> None:
    impairment = Impairment(loss=0.3)
    assert fates(impairment, 200, seed=1) != fates(impairment, 200, seed=2)
