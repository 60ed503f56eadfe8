"""The life of a client as a table; every move between states is made here. Pure.

A client is CONNECTED until it logs in or resumes, READY while it may do everything, DRAINING once
it was told to move (what is in flight is finished), and CLOSED for good.
"""

from enum import StrEnum


class ClientState(StrEnum):
    """Where a client is in its life."""

    CONNECTED = "connected"
    READY = "ready"
    DRAINING = "draining"
    CLOSED = "closed"


class Trigger(StrEnum):
    """What can happen to a client."""

    AUTHENTICATE = "authenticate"
    LOG_OUT = "log_out"
    DRAIN = "drain"
    CLOSE = "close"


_S, _T = ClientState, Trigger

TRANSITIONS: dict[tuple[ClientState, Trigger], ClientState] = {
    (_S.CONNECTED, _T.AUTHENTICATE): _S.READY,
    (_S.CONNECTED, _T.DRAIN): _S.DRAINING,
    (_S.CONNECTED, _T.CLOSE): _S.CLOSED,
    (_S.READY, _T.LOG_OUT): _S.CONNECTED,
    (_S.READY, _T.DRAIN): _S.DRAINING,
    (_S.READY, _T.CLOSE): _S.CLOSED,
    (_S.DRAINING, _T.DRAIN): _S.DRAINING,
    (_S.DRAINING, _T.LOG_OUT): _S.DRAINING,
    (_S.DRAINING, _T.CLOSE): _S.CLOSED,
    (_S.CLOSED, _T.CLOSE): _S.CLOSED,
    (_S.CLOSED, _T.DRAIN): _S.CLOSED,
}


class IllegalTransition(Exception):
    """The table has no such move."""


def advance(state: ClientState, trigger: Trigger) -> ClientState:
    """Return the state after *trigger*; raises `IllegalTransition` where the table has none."""
    after = TRANSITIONS.get((state, trigger))
    if after is None:
        raise IllegalTransition(f"a client that is {state} cannot {trigger.replace('_', ' ')}")
    return after
