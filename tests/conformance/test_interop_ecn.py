"""Core and oracle mark, count and judge marks, each in both roles."""

from typing import Any

import pytest

from interop.reference import Config
from interop.reference.ecn import Mark
from interop.reference.frames import Ack
from tests.support.core_end import CoreEnd
from tests.support.mixed_pair import MS, blob, both_roles, core_of, mixed, oracle_of
from tests.support.oracle import Pair
from tests.support.virtual_link import Path

MARKS = Config(mark_ect0=True)


def busy(core_is_client: bool, path: Path, seed: int = 0, config: Config = MARKS) -> Pair:
    """Return a pair whose ends both sent a good deal over *path*."""
    pair = mixed(core_is_client, path, config, config, seed)
    pair.establish()
    for end in (pair.client, pair.server):
        end.write_stream(end.open_stream(), blob(150_000), fin=True)
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 120)
    return pair


@both_roles
def test_a_clean_path_keeps_both_marking(core_is_client: bool) -> None:
    pair = busy(core_is_client, Path())
    assert oracle_of(pair).mark is Mark.ECT0
    assert core_of(pair).mark == 2
    assert oracle_of(pair).marker.congestion_events == 0
    counts = oracle_of(pair)._acknowledger.marks.counts
    assert counts is not None
    assert counts[0] > 100
    assert counts[1:] == (0, 0)


@both_roles
@pytest.mark.parametrize("seed", range(3))
def test_marks_survive_loss_duplication_and_congestion(core_is_client: bool, seed: int) -> None:
    path = Path(loss=0.05, duplication=0.05, corruption=0.02, congestion=0.05)
    pair = busy(core_is_client, path, seed)
    assert oracle_of(pair).mark is Mark.ECT0
    assert core_of(pair).mark == 2
    assert oracle_of(pair).marker.congestion_events > 0


@both_roles
def test_marks_survive_reordering(core_is_client: bool) -> None:
    pair = busy(core_is_client, Path(loss=0.05, jitter_ns=20 * MS), seed=1)
    assert oracle_of(pair).mark is Mark.ECT0
    assert core_of(pair).mark == 2


@both_roles
def test_a_path_that_takes_marks_away_stops_both(core_is_client: bool) -> None:
    pair = busy(core_is_client, Path(bleaches=True))
    assert oracle_of(pair).mark is Mark.NONE
    assert core_of(pair).mark == 0


@both_roles
def test_an_end_that_does_not_mark_counts_what_comes(core_is_client: bool) -> None:
    client = Config(mark_ect0=core_is_client)
    server = Config(mark_ect0=not core_is_client)
    pair = mixed(core_is_client, Path(), client, server)
    pair.establish()
    core_of(pair).write_stream(core_of(pair).open_stream(), blob(50_000), fin=True)
    pair.run_until(lambda: core_of(pair).is_flushed)
    assert core_of(pair).mark == 2
    assert oracle_of(pair).mark is Mark.NONE


def pinged(core: CoreEnd, now_ns: int) -> int:
    """Return the number of a packet that the core sends now."""
    core.ping()
    (data,) = core.poll_datagrams(now_ns)
    return int.from_bytes(data[22:26], "big")


def in_step(core_is_client: bool) -> tuple[CoreEnd, Any, int]:
    """Return core and oracle, the core having heard of all marks the oracle counted, and now."""
    pair = mixed(core_is_client, Path(), MARKS, MARKS)
    pair.establish()
    pair.run_for(1)
    core, oracle, now_ns = core_of(pair), oracle_of(pair), pair.link.now_ns
    number = pinged(core, now_ns)
    counts = oracle._acknowledger.marks.counts
    assert counts is not None
    oracle._acknowledger.marks.count(2)
    heard = Ack(((number, number),), 0, oracle._acknowledger.marks.counts)
    core.handle_datagram(oracle._seal([heard], now_ns), now_ns, None, 2)
    assert core.mark == 2
    return core, oracle, now_ns


Counts = tuple[int, int, int] | None


@both_roles
@pytest.mark.parametrize("counts", [(2, 0, 0), (1, 0, 1), (0, 0, 2), (7, 0, 0)])
def test_the_core_goes_on_marking_when_the_counts_rise_enough(
    core_is_client: bool, counts: Counts
) -> None:
    assert marks_after(core_is_client, counts)


@both_roles
def test_the_core_stops_marking_when_nothing_is_counted(core_is_client: bool) -> None:
    assert not marks_after(core_is_client, None)


@pytest.mark.parametrize("core_is_client", [True, False])
@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 0), (0, 9, 1)])
def test_the_core_stops_marking_when_the_counts_rise_too_little(
    core_is_client: bool, counts: Counts
) -> None:
    assert not marks_after(core_is_client, counts)


def marks_after(core_is_client: bool, counts: Counts) -> bool:
    """Tell whether the core goes on after a frame for two packets raised the counts so much."""
    core, oracle, now_ns = in_step(core_is_client)
    numbers = [pinged(core, now_ns) for _ in range(2)]
    before = oracle._acknowledger.marks.counts
    said = None
    if counts is not None:
        ect0, ect1, ce = before
        said = (ect0 + counts[0], ect1 + counts[1], ce + counts[2])
    ack = Ack(((min(numbers), max(numbers)),), 0, said)
    core.handle_datagram(oracle._seal([ack], now_ns), now_ns + 10 * MS, None, 2)
    return core.mark == 2


@pytest.mark.parametrize("core_is_client", [True, False])
def test_a_packet_acknowledged_by_a_header_is_not_held_against_an_older_frame(
    core_is_client: bool,
) -> None:
    core, oracle, now_ns = in_step(core_is_client)
    first, last = [pinged(core, now_ns) for _ in range(2)]
    ect0, ect1, ce = oracle._acknowledger.marks.counts
    older = oracle._seal([Ack(((first, first),), 0, (ect0 + 1, ect1, ce))], now_ns)
    oracle._acknowledger.handle_packet(last, True, now_ns)
    newer = oracle._seal([], now_ns)
    for data in (newer, older):
        core.handle_datagram(data, now_ns + 10 * MS, None, 2)
    assert core.mark == 2
