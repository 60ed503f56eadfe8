"""Counts of marks, and when the oracle stops marking."""

import pytest

from interop.reference import Config
from interop.reference.ecn import Mark, MarkCounter, Marker
from tests.support.oracle import Pair, pair
from tests.support.virtual_link import Path

MARKS = Config(mark_ect0=True)


def busy(path: Path, seed: int = 0) -> Pair:
    """Return a pair whose marking client sent a good deal over *path*."""
    both = pair(path, client_config=MARKS, seed=seed)
    both.establish()
    both.client.write_stream(both.client.open_stream(), bytes(150_000), fin=True)
    both.run_until(lambda: both.client.is_flushed)
    return both


def test_no_counts_are_said_before_a_mark_came() -> None:
    counter = MarkCounter()
    counter.count(Mark.NONE)
    assert counter.counts is None
    for mark in (Mark.CE, Mark.ECT0, Mark.CE, Mark.ECT1):
        counter.count(mark)
    assert counter.counts == (1, 1, 2)


@pytest.mark.parametrize("counts", [None, (1, 0, 0), (0, 9, 1)])
def test_counts_that_raise_too_little_end_the_marking(counts: tuple[int, int, int] | None) -> None:
    marker = Marker(wanted=True)
    marker.handle_ack(5, 2, counts)
    assert marker.mark is Mark.NONE


@pytest.mark.parametrize("counts", [(4, 0, 5), (9, 0, 2), (9, 1, 4), None])
def test_counts_that_fall_end_the_marking(counts: tuple[int, int, int] | None) -> None:
    marker = Marker(wanted=True)
    marker.handle_ack(5, 8, (5, 2, 3))
    assert marker.mark is Mark.ECT0
    marker.handle_ack(6, 0, counts)
    assert marker.mark is Mark.NONE


def test_a_frame_that_was_overtaken_is_not_judged() -> None:
    marker = Marker(wanted=True)
    marker.handle_ack(9, 4, (4, 0, 0))
    marker.handle_ack(5, 0, (2, 0, 0))
    assert marker.mark is Mark.ECT0


def test_more_counted_than_acknowledged_is_no_contradiction() -> None:
    marker = Marker(wanted=True)
    marker.handle_ack(9, 1, (7, 0, 3))
    assert marker.mark is Mark.ECT0
    assert marker.congestion_events == 1


@pytest.mark.parametrize("seed", range(4))
def test_marks_survive_loss_reordering_and_duplication(seed: int) -> None:
    path = Path(loss=0.1, duplication=0.1, jitter_ns=30_000_000, congestion=0.1)
    both = busy(path, seed)
    assert both.client.mark is Mark.ECT0
    assert both.client.marker.congestion_events > 0
    assert both.server.mark is Mark.NONE


def test_a_path_without_congestion_reports_none() -> None:
    both = busy(Path())
    assert both.client.marker.congestion_events == 0
    assert both.client.mark is Mark.ECT0


def test_a_path_that_bleaches_ends_the_marking() -> None:
    assert busy(Path(bleaches=True)).client.mark is Mark.NONE
