"""The tables of oracle and core are the same, and their citations are true.

What no table lists is refused; the matrix of that is a snapshot, so that a change of it is seen.
"""

import re
from collections.abc import Mapping
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cython_ext.core import (
    CONNECTION_TRANSITIONS,
    RECEIVE_TRANSITIONS,
    SEND_TRANSITIONS,
    ConnectionState,
    ConnectionTrigger,
    ReceiveState,
    ReceiveTrigger,
    SendState,
    SendTrigger,
)
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
from tests.support.snapshots import assert_snapshot

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)*) ", re.M)
# A formatter puts a space after the hash, so both forms count.
CITATION = re.compile(r"^\s*# ?= ([\d.]+): (.+?)\s*$", re.M)


def flat(text: str) -> str:
    return " ".join(text.split())


def sections() -> dict[str, str]:
    _, *parts = HEADING.split((ROOT / "docs/protocol.md").read_text())
    return {number: flat(body) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def citations(folder: str) -> list[tuple[str, str, str]]:
    return [
        (path.name, section, sentence)
        for path in sorted((ROOT / folder).rglob("*.py*"))
        if path.suffix in {".py", ".pyx", ".pxd"}
        for section, sentence in CITATION.findall(path.read_text())
    ]


def required() -> set[tuple[str, str]]:
    """Return (section, sentence) of every sentence with a MUST."""
    out = set()
    for section, body in sections().items():
        # The one sentence that speaks of MUST, and requires nothing, is in section 7.
        for sentence in re.split(r"(?<=\.)\s+(?=[A-Z])", body):
            if "MUST" in sentence and "no MUST" not in sentence:
                out.add((section, sentence))
    return out


def begins_with(cited: str, sentence: str) -> bool:
    return cited in sentence or sentence in cited


@pytest.mark.parametrize("row", [*CONNECTION, *SEND_HALF, *RECEIVE_HALF], ids=str)
def test_a_row_quotes_the_specification(row: Row) -> None:
    assert flat(row.sentence) in sections()[row.section]


@pytest.mark.parametrize(("folder", "least"), [("interop/reference", 50), ("cython_ext", 20)])
def test_every_citation_is_in_its_section(folder: str, least: int) -> None:
    text = sections()
    assert len(citations(folder)) > least
    assert not [c for c in citations(folder) if c[2] not in text.get(c[1], "")]


@pytest.mark.parametrize("folder", ["interop/reference", "cython_ext"])
def test_every_must_is_cited(folder: str) -> None:
    assert len(required()) > 25
    cited = citations(folder)
    assert not [
        (section, sentence)
        for section, sentence in required()
        if not any(s == section and begins_with(text, sentence) for _, s, text in cited)
    ]


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


# -- the core's tables against the oracle's

C, T = ConnectionState, ConnectionTrigger
TRIGGERS = {
    Trigger.SEND_HELLO: T.SEND_HELLO,
    Trigger.ANSWER_HELLO: T.ANSWER_HELLO,
    Trigger.VERIFY_SERVER_HELLO: T.VERIFY_HELLO,
    Trigger.VERIFY_FINISHED: T.VERIFY_FINISHED,
    Trigger.RECEIVE_DONE: T.RECEIVE_DONE,
    Trigger.SEND_CLOSE: T.SEND_CLOSE,
    Trigger.RECEIVE_CLOSE: T.RECEIVE_CLOSE,
    Trigger.RECEIVE_RESET: T.RECEIVE_RESET,
    Trigger.HANDSHAKE_TIMEOUT: T.TIME_OUT,
    Trigger.IDLE_TIMEOUT: T.TIME_OUT,
    Trigger.PERIOD_OVER: T.EXPIRE,
    # The core's close has one trigger, before and after it may send CLOSE.
    Trigger.ABANDON: T.SEND_CLOSE,
}
SEND_STATES = {
    Half.OPEN: SendState.SENDING,
    Half.FIN_KNOWN: SendState.DATA_SENT,
    Half.FINISHED: SendState.DATA_ACKED,
    Half.RESET: SendState.RESET_SENT,
    Half.RESET_FINISHED: SendState.RESET_ACKED,
}
SEND_TRIGGERS = {
    HalfTrigger.FIN: SendTrigger.FINISH,
    HalfTrigger.ALL_BYTES: SendTrigger.ALL_ACKED,
    HalfTrigger.RESET: SendTrigger.RESET,
    HalfTrigger.RESET_DONE: SendTrigger.RESET_IS_ACKED,
}
RECEIVE_STATES = {
    Half.OPEN: ReceiveState.RECEIVING,
    Half.FIN_KNOWN: ReceiveState.SIZE_KNOWN,
    Half.FINISHED: ReceiveState.DATA_RECEIVED,
    Half.RESET: ReceiveState.RESET_RECEIVED,
    Half.RESET_FINISHED: ReceiveState.RESET_READ,
}
RECEIVE_TRIGGERS = {
    HalfTrigger.FIN: ReceiveTrigger.RECEIVE_FIN,
    HalfTrigger.ALL_BYTES: ReceiveTrigger.RECEIVE_ALL,
    HalfTrigger.RESET: ReceiveTrigger.RECEIVE_RESET_STREAM,
    HalfTrigger.RESET_DONE: ReceiveTrigger.READ_RESET,
}
Moves = set[tuple[Enum, Enum, Enum]]


def moves(table: Mapping[Any, Mapping[Any, Any]]) -> Moves:
    """Return the rows of a table of the core."""
    return {(state, trigger, to) for state, row in table.items() for trigger, to in row.items()}


def translated(
    table: tuple[Row, ...], states: Mapping[Any, Enum], triggers: Mapping[Any, Enum]
) -> Moves:
    """Return the rows of a table of the oracle under the core's names."""
    return {(states[row.state], triggers[row.trigger], states[row.target]) for row in table}


def test_core_and_oracle_move_connections_alike() -> None:
    states = {state: ConnectionState[state.name] for state in State}
    # A connection of the core is never seen IDLE: it begins with its hello, or with its answer.
    unseen = {(C.IDLE, T.SEND_CLOSE, C.CLOSED)}
    assert moves(CONNECTION_TRANSITIONS) == translated(CONNECTION, states, TRIGGERS) - unseen


def test_core_and_oracle_move_sending_halves_alike() -> None:
    assert moves(SEND_TRANSITIONS) == translated(SEND_HALF, SEND_STATES, SEND_TRIGGERS)


def test_core_and_oracle_move_receiving_halves_alike() -> None:
    # The oracle hands bytes over as they come; the application of the core reads them later.
    read = {(ReceiveState.DATA_RECEIVED, ReceiveTrigger.READ_ALL, ReceiveState.DATA_READ)}
    expected = translated(RECEIVE_HALF, RECEIVE_STATES, RECEIVE_TRIGGERS) | read
    assert moves(RECEIVE_TRANSITIONS) == expected


def matrix(title: str, table: Mapping[Any, Mapping[Any, Any]], triggers: type[Enum]) -> str:
    """Return which trigger leads where from each state, and what is refused."""
    lines = [title]
    for state in table:
        lines.append(f"  {state.name}")
        for trigger in triggers:
            target = table[state].get(trigger)
            lines.append(f"    {trigger.name:21} {'refused' if target is None else target.name}")
    return "\n".join(lines) + "\n"


def test_the_refused_triggers_are_the_known_ones() -> None:
    tables = (
        ("connection", CONNECTION_TRANSITIONS, ConnectionState, ConnectionTrigger),
        ("sending half of a stream", SEND_TRANSITIONS, SendState, SendTrigger),
        ("receiving half of a stream", RECEIVE_TRANSITIONS, ReceiveState, ReceiveTrigger),
    )
    assert all(set(table) == set(states) for _, table, states, _ in tables)
    text = "\n".join(matrix(title, table, triggers) for title, table, _, triggers in tables)
    assert_snapshot("refused_triggers.txt", text)
