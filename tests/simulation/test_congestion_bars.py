"""The bars of congestion control; `python -m tests.support.congestion_bars` measures more seeds.

Shares between two flows depend on chance, so they are averaged over a few seeds.
"""

from statistics import mean

import pytest

from tests.support.congestion_bars import SCENARIOS

pytestmark = pytest.mark.simulation
SEEDS = {"fair": 3, "policer-shared": 2, "loss-5": 3}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_bar_is_kept(name: str) -> None:
    scenario = SCENARIOS[name]
    measured = [scenario.run(seed, "bbr") for seed in range(1, SEEDS.get(name, 1) + 1)]
    for bar in scenario.bars:
        value = mean(run[bar.measure] for run in measured)
        assert bar.verdict(value) != "MISSED", (bar, value)
