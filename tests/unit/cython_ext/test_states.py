"""The compiled tables are the tables, and the tables have the shape that the machines need."""

import itertools
from collections.abc import Callable, Mapping
from enum import IntEnum

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
from cython_ext.probe import step_connection, step_receive, step_send

Table = Mapping[IntEnum, Mapping[IntEnum, IntEnum]]
Step = Callable[[int, int], int | None]
MACHINES = [
    (CONNECTION_TRANSITIONS, ConnectionState, ConnectionTrigger, step_connection),
    (SEND_TRANSITIONS, SendState, SendTrigger, step_send),
    (RECEIVE_TRANSITIONS, ReceiveState, ReceiveTrigger, step_receive),
]
FIRST: dict[type[IntEnum], set[IntEnum]] = {
    ConnectionState: {ConnectionState.IDLE},
    SendState: {SendState.NO_SEND, SendState.SENDING},
    ReceiveState: {ReceiveState.NO_RECEIVE, ReceiveState.RECEIVING},
}


@pytest.mark.parametrize(("table", "states", "triggers", "step"), MACHINES)
def test_the_machine_does_what_the_table_says_and_refuses_the_rest(
    table: Table, states: type[IntEnum], triggers: type[IntEnum], step: Step
) -> None:
    assert set(table) == set(states)
    for state, trigger in itertools.product(states, triggers):
        assert step(state, trigger) == table[state].get(trigger), (state, trigger)


@pytest.mark.parametrize(("table", "states", "triggers", "step"), MACHINES)
def test_every_state_is_reached_and_every_trigger_used(
    table: Table, states: type[IntEnum], triggers: type[IntEnum], step: Step
) -> None:
    reached = {target for row in table.values() for target in row.values()}
    assert reached | FIRST[states] == set(states)
    assert {trigger for row in table.values() for trigger in row} == set(triggers)


def test_nothing_leaves_closed_and_everything_leads_there() -> None:
    assert CONNECTION_TRANSITIONS[ConnectionState.CLOSED] == {}
    ends = {ConnectionState.CLOSED}
    for _ in ConnectionState:
        ends |= {s for s, row in CONNECTION_TRANSITIONS.items() if set(row.values()) & ends}
    assert ends == set(ConnectionState)
