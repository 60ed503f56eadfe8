"""What one direction of the link does to packets, in virtual time."""

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.link.path import Path, bdp
from tests.support.path_model import LOST, PASSED, POLICED, QUEUE_FULL, PathModel

MS = 1_000_000


def runs_of(fate: int, fates: list[int]) -> list[int]:
    return [len(list(group)) for kind, group in groupby(fates) if kind == fate]


def test_a_packet_comes_out_after_the_delay() -> None:
    verdict = PathModel(Path(delay=0.025)).admit(7 * MS)
    assert (verdict.fate, verdict.copies, verdict.release_ns) == (PASSED, 1, 32 * MS)


@settings(max_examples=20, deadline=None)
@given(loss=st.sampled_from([0.01, 0.05, 0.3]), seed=st.integers(1, 1000))
def test_random_loss_takes_the_share_asked_for(loss: float, seed: int) -> None:
    count = 20_000
    lost = PathModel(Path(loss=loss), seed).fates(count).count(LOST)
    assert abs(lost - count * loss) < 6 * (count * loss * (1 - loss)) ** 0.5


@settings(max_examples=20, deadline=None)
@given(loss=st.sampled_from([0.02, 0.1, 0.3]), burst=st.integers(2, 8), seed=st.integers(1, 1000))
def test_bursts_have_exactly_the_length_asked_for(loss: float, burst: int, seed: int) -> None:
    fates = PathModel(Path(loss=loss, burst=burst), seed).fates(20_000)
    lengths = runs_of(LOST, fates[: len(fates) - burst])
    assert set(lengths[:-1]) == {burst}
    assert fates.count(LOST) / len(fates) == pytest.approx(loss, rel=0.35)


def test_geometric_bursts_have_the_mean_asked_for_and_differ() -> None:
    fates = PathModel(Path(loss=0.1, burst=4, geometric=True)).fates(200_000)
    lengths = runs_of(LOST, fates)
    assert sum(lengths) / len(lengths) == pytest.approx(4, rel=0.05)
    assert len(set(lengths)) > 10
    assert fates.count(LOST) / len(fates) == pytest.approx(0.1, rel=0.1)


def test_full_loss_loses_everything() -> None:
    assert set(PathModel(Path(loss=1)).fates(100)) == {LOST}


def test_one_seed_decides_the_same_again_and_another_differently() -> None:
    path = Path(loss=0.3, reorder=0.2, late=0.001)
    assert PathModel(path, 5).fates(1000) == PathModel(path, 5).fates(1000)
    assert PathModel(path, 5).fates(1000) != PathModel(path, 6).fates(1000)


def test_another_knob_leaves_which_packets_are_lost_as_it_was() -> None:
    path = {"loss": 0.1, "delay": 0.01}
    also = Path(jitter=0.002, reorder=0.1, late=0.005, duplicate=0.1, **path)
    assert PathModel(Path(**path)).fates(2000) == PathModel(also).fates(2000)


def test_packets_leave_at_the_rate() -> None:
    model = PathModel(Path(rate=12e6, queue=15_000))
    # 1,500 bytes take a millisecond.
    assert [model.admit(0).release_ns for _ in range(3)] == [1 * MS, 2 * MS, 3 * MS]


def test_the_queue_holds_as_many_bytes_as_asked_for() -> None:
    model = PathModel(Path(rate=12e6, queue=15_000))
    verdicts = [model.admit(0) for _ in range(12)]
    assert [v.fate for v in verdicts] == [PASSED] * 10 + [QUEUE_FULL] * 2
    assert verdicts[9].queue_ns == 9 * MS
    assert model.admit(1 * MS).fate == PASSED, "room for one has become free"


def test_what_is_lost_has_used_up_the_rate() -> None:
    model = PathModel(Path(rate=12e6, queue=1 << 20, loss=0.5))
    passed = [v.release_ns for _ in range(100) if (v := model.admit(0)).fate == PASSED]
    assert passed[-1] > 90 * MS


def test_a_packet_is_marked_above_the_threshold_alone() -> None:
    model = PathModel(Path(rate=12e6, queue=1 << 20, ce=3000))
    assert [model.admit(0).mark for _ in range(6)] == [0, 0, 0, 1, 1, 1]


def test_a_policer_passes_its_bucket_and_then_its_rate() -> None:
    model = PathModel(Path(police=12e6, bucket=3000))
    fates = [model.admit(0).fate for _ in range(3)]
    assert fates == [PASSED, PASSED, POLICED]
    assert [model.admit(n * MS).fate for n in (1, 2, 3)] == [PASSED] * 3
    assert model.admit(3 * MS).fate == POLICED


def test_nobody_waits_at_a_policer() -> None:
    verdict = PathModel(Path(police=12e6, bucket=3000, delay=0.01)).admit(0)
    assert (verdict.queue_ns, verdict.release_ns) == (0, 10 * MS)


def test_late_packets_are_overtaken_and_the_others_keep_their_order() -> None:
    model = PathModel(Path(delay=0.025, reorder=0.05, late=0.005))
    verdicts = [model.admit(n * MS) for n in range(5000)]
    late = [n for n, v in enumerate(verdicts) if v.late]
    assert len(late) == pytest.approx(250, rel=0.3)
    assert all(verdicts[n].release_ns == (n + 30) * MS for n in late)
    others = [v.release_ns for v in verdicts if not v.late]
    assert others == sorted(others)


def test_jitter_keeps_the_order_only_where_it_is_asked_to() -> None:
    def released(*, keep_order: bool) -> list[int]:
        model = PathModel(Path(delay=0.02, jitter=0.01, keep_order=keep_order))
        return [model.admit(n * MS).release_ns for n in range(1000)]

    kept, free = released(keep_order=True), released(keep_order=False)
    assert kept == sorted(kept)
    assert free != sorted(free)
    assert all(20 * MS <= at - n * MS <= 30 * MS for n, at in enumerate(free))


def test_duplicates_come_twice() -> None:
    model = PathModel(Path(duplicate=0.1))
    copies = [model.admit(n * MS).copies for n in range(10_000)]
    assert set(copies) == {1, 2}
    assert copies.count(2) == pytest.approx(1000, rel=0.2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"loss": 1.1}, "share"),
        ({"delay": -1.0}, "negative"),
        ({"rate": 1e6}, "queue"),
        ({"police": 1e6}, "bucket"),
        ({"loss": 0.1, "geometric": True}, "mean length"),
    ],
)
def test_a_path_that_makes_no_sense_is_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Path(**values)


def test_a_bdp_is_what_fills_the_path() -> None:
    assert bdp(100e6, 0.05) == 625_000
