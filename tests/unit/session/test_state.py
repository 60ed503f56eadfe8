"""The table of session states."""

from collections import deque

import pytest

from session.api import IllegalTransition, SessionState
from session.state import TRANSITIONS, Trigger, advance, trigger_for


def test_every_state_is_reached_from_connecting() -> None:
    reached, todo = {SessionState.CONNECTING}, deque([SessionState.CONNECTING])
    while todo:
        here = todo.popleft()
        for (before, _), after in TRANSITIONS.items():
            if before is here and after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(SessionState)


def test_nothing_leaves_a_final_state() -> None:
    for (before, _), after in TRANSITIONS.items():
        if before.is_final:
            assert after is before


def test_every_session_that_lives_can_be_closed_and_can_expire() -> None:
    for state in SessionState:
        if not state.is_final:
            assert advance(state, Trigger.CLOSE) is SessionState.CLOSED
            assert advance(state, Trigger.TIME_OUT) is SessionState.EXPIRED


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("trigger", Trigger)
def test_what_the_table_does_not_have_is_refused(state: SessionState, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert advance(state, trigger) is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(IllegalTransition, match=state.value):
            advance(state, trigger)


def test_a_caller_asks_for_states_that_callers_may_ask_for() -> None:
    assert trigger_for(SessionState.ACTIVE) is Trigger.ACTIVATE
    for state in (SessionState.CONNECTING, SessionState.EXPIRED):
        with pytest.raises(IllegalTransition):
            trigger_for(state)
