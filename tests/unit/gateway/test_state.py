"""The table of a client's states."""

import pytest

from gateway.state import TRANSITIONS, ClientState, IllegalTransition, Trigger, advance


def test_every_state_can_be_reached_and_closed() -> None:
    assert set(TRANSITIONS.values()) == set(ClientState)
    assert all(advance(state, Trigger.CLOSE) is ClientState.CLOSED for state in ClientState)


def test_nothing_leads_out_of_closed() -> None:
    after = {then for (state, _), then in TRANSITIONS.items() if state is ClientState.CLOSED}
    assert after == {ClientState.CLOSED}


def test_a_client_cannot_log_in_twice() -> None:
    with pytest.raises(IllegalTransition, match="a client that is ready cannot authenticate"):
        advance(ClientState.READY, Trigger.AUTHENTICATE)
