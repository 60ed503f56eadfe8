"""How many parities a block gets: enough, and not one too many."""

from itertools import product

import pytest

from cython_ext.probe import repair_parities

MS = 1_000_000
MOST = 20


def chance_of_a_miss(share: float, burst: float, sources: int, parities: int) -> float:
    """Return the chance that more than *parities* of a block's packets are lost, from every
    pattern's own probability (Gilbert: runs of mean length *burst*)."""
    go_on = max(1 - 1 / burst, share)
    begin = share * (1 - go_on) / (1 - share)
    states = {(0, False): 1 - share, (1, True): share}
    for _ in range(sources + parities - 1):
        following: dict[tuple[int, bool], float] = {}
        for ((lost, losing), chance), next_lost in product(states.items(), (False, True)):
            on = go_on if losing else begin
            key = (lost + next_lost, next_lost)
            following[key] = following.get(key, 0.0) + chance * (on if next_lost else 1 - on)
        states = following
    return sum(chance for (lost, _), chance in states.items() if lost > parities)


@pytest.mark.parametrize("sources", [1, 2, 5, 10, 18, 20])
@pytest.mark.parametrize(("share", "burst"), [(0.01, 1), (0.05, 1), (0.1, 1), (0.05, 1.5)])
def test_a_block_gets_the_fewest_parities_that_make_a_miss_rare(
    share: float, burst: float, sources: int
) -> None:
    parities = repair_parities(share, burst, 50 * MS, sources)
    assert parities > 0
    assert chance_of_a_miss(share, burst, sources, parities) <= 0.002
    assert chance_of_a_miss(share, burst, sources, parities - 1) > 0.002


def test_a_packet_alone_gets_its_copies() -> None:
    assert [repair_parities(share, 1, 50 * MS, 1) for share in (0.04, 0.05, 0.12)] == [1, 2, 2]


def test_nothing_is_added_where_next_to_nothing_is_lost() -> None:
    assert repair_parities(0, 1, 50 * MS, 20) == 0
    assert repair_parities(0.0001, 1, 50 * MS, 20) == 0


def test_runs_of_losses_and_long_round_trips_get_more() -> None:
    assert repair_parities(0.05, 3, 50 * MS, 10) > repair_parities(0.05, 1, 50 * MS, 10)
    by_round_trip = [repair_parities(0.03, 1, rtt * MS, 20) for rtt in (1, 10, 50, 500)]
    assert by_round_trip == sorted(by_round_trip)
    assert by_round_trip[0] < by_round_trip[-1]


@pytest.mark.parametrize(("share", "burst"), [(0.5, 8.0), (1.0, 50.0), (0.3, 2.0)])
def test_what_cannot_be_repaired_is_not_tried_without_end(share: float, burst: float) -> None:
    for sources in range(1, 21):
        assert repair_parities(share, burst, 50 * MS, sources) <= max(8, min(sources + 3, MOST))
