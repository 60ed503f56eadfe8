"""The life of a session as a table; every move between states is made here. Pure.

Reading order: `TRANSITIONS`, then `advance`. A reconnect within the time-out brings a DISCONNECTING
session back to ACTIVE; nothing leaves CLOSED or EXPIRED.
"""

from enum import StrEnum

from session.api import IllegalTransition, SessionState


class Trigger(StrEnum):
    """What can happen to a session."""

    ACTIVATE = "activate"
    REST = "rest"
    DISCONNECT = "disconnect"
    CLOSE = "close"
    TIME_OUT = "time_out"


_S, _T = SessionState, Trigger

TRANSITIONS: dict[tuple[SessionState, Trigger], SessionState] = {
    (_S.CONNECTING, _T.ACTIVATE): _S.ACTIVE,
    (_S.CONNECTING, _T.DISCONNECT): _S.DISCONNECTING,
    (_S.CONNECTING, _T.CLOSE): _S.CLOSED,
    (_S.CONNECTING, _T.TIME_OUT): _S.EXPIRED,
    (_S.ACTIVE, _T.ACTIVATE): _S.ACTIVE,
    (_S.ACTIVE, _T.REST): _S.IDLE,
    (_S.ACTIVE, _T.DISCONNECT): _S.DISCONNECTING,
    (_S.ACTIVE, _T.CLOSE): _S.CLOSED,
    (_S.ACTIVE, _T.TIME_OUT): _S.EXPIRED,
    (_S.IDLE, _T.ACTIVATE): _S.ACTIVE,
    (_S.IDLE, _T.REST): _S.IDLE,
    (_S.IDLE, _T.DISCONNECT): _S.DISCONNECTING,
    (_S.IDLE, _T.CLOSE): _S.CLOSED,
    (_S.IDLE, _T.TIME_OUT): _S.EXPIRED,
    (_S.DISCONNECTING, _T.ACTIVATE): _S.ACTIVE,
    (_S.DISCONNECTING, _T.DISCONNECT): _S.DISCONNECTING,
    (_S.DISCONNECTING, _T.CLOSE): _S.CLOSED,
    (_S.DISCONNECTING, _T.TIME_OUT): _S.EXPIRED,
    (_S.CLOSED, _T.CLOSE): _S.CLOSED,
    (_S.EXPIRED, _T.CLOSE): _S.EXPIRED,
}

_ASKING_FOR = {
    SessionState.ACTIVE: Trigger.ACTIVATE,
    SessionState.IDLE: Trigger.REST,
    SessionState.DISCONNECTING: Trigger.DISCONNECT,
    SessionState.CLOSED: Trigger.CLOSE,
}


def advance(state: SessionState, trigger: Trigger) -> SessionState:
    """Return the state after *trigger*; raises `IllegalTransition` where the table has none."""
    after = TRANSITIONS.get((state, trigger))
    if after is None:
        raise IllegalTransition(f"a session that is {state} cannot {trigger.replace('_', ' ')}")
    return after


def trigger_for(state: SessionState) -> Trigger:
    """Return the trigger that a caller means by asking for *state*."""
    trigger = _ASKING_FOR.get(state)
    if trigger is None:
        raise IllegalTransition(f"a session cannot be put in state {state} by a caller")
    return trigger
