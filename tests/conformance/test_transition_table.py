"""The oracle's tables and citations are sentences of the specification, in the section named."""

import re
from enum import Enum
from itertools import product
from pathlib import Path

import pytest

from interop.reference.state import (
    CONNECTION,
    RECEIVE_HALF,
    SEND_HALF,
    Half,
    HalfTrigger,
    Row,
    State,
    TransitionError,
    Trigger,
    advance,
)

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)*) ", re.M)
# A formatter puts a space after the hash, so both forms count.
CITATION = re.compile(r"^\s*# ?= ([\d.]+): (.+?)\s*$", re.M)


def flat(text: str) -> str:
    return " ".join(text.split())


def sections() -> dict[str, str]:
    _, *parts = HEADING.split((ROOT / "docs/protocol.md").read_text())
    return {number: flat(body) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def citations() -> list[tuple[str, str, str]]:
    return [
        (path.name, section, sentence)
        for path in sorted((ROOT / "interop/reference").glob("*.py"))
        for section, sentence in CITATION.findall(path.read_text())
    ]


@pytest.mark.parametrize("row", [*CONNECTION, *SEND_HALF, *RECEIVE_HALF], ids=str)
def test_a_row_quotes_the_specification(row: Row) -> None:
    assert flat(row.sentence) in sections()[row.section]


def test_every_citation_is_in_its_section() -> None:
    text = sections()
    assert len(citations()) > 50
    assert not [c for c in citations() if c[2] not in text.get(c[1], "")]


def test_every_state_is_named_by_the_specification_and_can_be_reached() -> None:
    named = set(re.findall(r"\b[A-Z]+_?[A-Z]{3,}\b", sections()["6.1"])) - {"SYN", "ACK", "DONE"}
    assert {state.value for state in State} <= named
    reached: set[Enum] = {State.IDLE}
    for _ in State:
        reached |= {row.target for row in CONNECTION if row.state in reached}
    assert reached == set(State)


def test_what_no_row_allows_is_refused() -> None:
    for state, trigger in product(State, Trigger):
        if any((row.state, row.trigger) == (state, trigger) for row in CONNECTION):
            continue
        with pytest.raises(TransitionError):
            advance(CONNECTION, state, trigger)
    with pytest.raises(TransitionError):
        advance(SEND_HALF, Half.FINISHED, HalfTrigger.RESET)
    assert not [row for row in CONNECTION if row.state is State.CLOSED]


def test_no_table_has_two_rows_for_one_trigger() -> None:
    for table in (CONNECTION, SEND_HALF, RECEIVE_HALF):
        keys = [(row.state, row.trigger) for row in table]
        assert len(keys) == len(set(keys))
