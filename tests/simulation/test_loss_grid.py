"""The grid: ten megabytes each way at once, byte for byte, over every bad path of the issue.

What counts as a stall: a direction stands still from the moment its sender last learned of newly
delivered bytes until it learns of the next ones, or until its last byte arrived. Such a gap, taken
in steps of 2 ms of virtual time, may last ten probe timeouts. The probe timeout is the sender's own
at the beginning of the gap, without back-off: smoothed + max(4 x variation, 1 ms) + 25 ms (section
7). Bursts come from a Gilbert model that steps per datagram, so a burst also hits what is sent to
end it.
"""

import json
import os

import pytest

from tests.support.loss_grid import CELLS, SNAPSHOT, Cell, run

pytestmark = pytest.mark.simulation

SALTS = range(3) if os.environ.get("QUANTUM_GRID") == "full" else range(1)
EXPECTED: dict[str, float] = json.loads(SNAPSHOT.read_text())


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_ten_megabytes_each_way_arrive_exactly_and_never_stall(cell: Cell, salt: int) -> None:
    outcome = run(cell, salt)
    assert outcome.is_exact
    assert outcome.longest_stall <= 10, outcome
    # The table guards against a collapse: with two other seeds (576 runs) the worst was 0.46 of it.
    assert outcome.goodput_mbps >= 0.4 * EXPECTED[str(cell)], outcome
