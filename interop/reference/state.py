"""Every state and every transition, transcribed from docs/protocol.md; each row with its sentence.

A test compares the sentences with the specification, so a row cannot outlive the text that
licenses it. What the tables do not list is refused by `advance`.
"""

from enum import Enum
from typing import NamedTuple, TypeVar


class State(Enum):
    """States of a connection (section 6.1)."""

    IDLE = "IDLE"
    HELLO_SENT = "HELLO_SENT"
    HELLO_ANSWERED = "HELLO_ANSWERED"
    FINISHED_SENT = "FINISHED_SENT"
    ESTABLISHED = "ESTABLISHED"
    CLOSING = "CLOSING"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"


class Trigger(Enum):
    """What moves a connection."""

    SEND_HELLO = "client sends SYN"
    ANSWER_HELLO = "server answers a valid SYN"
    VERIFY_SERVER_HELLO = "client verified the server hello"
    VERIFY_FINISHED = "server verified the client's Finished"
    RECEIVE_DONE = "client received DONE"
    SEND_CLOSE = "CLOSE sent"
    RECEIVE_CLOSE = "CLOSE received"
    RECEIVE_RESET = "stateless reset received"
    HANDSHAKE_TIMEOUT = "handshake time-out"
    IDLE_TIMEOUT = "idle time-out"
    PERIOD_OVER = "three probe timeouts passed"
    ABANDON = "the application gives up before it may send CLOSE"


class Half(Enum):
    """States of one direction of a stream (section 5.3)."""

    OPEN = "OPEN"
    FIN_KNOWN = "FIN_KNOWN"
    FINISHED = "FINISHED"
    RESET = "RESET"
    RESET_FINISHED = "RESET_FINISHED"


class HalfTrigger(Enum):
    """What moves one direction of a stream."""

    FIN = "FIN sent, or received"
    ALL_BYTES = "all bytes acknowledged, or received"
    RESET = "RESET_STREAM sent, or received"
    RESET_DONE = "RESET_STREAM acknowledged, or reported to the application"


class Row(NamedTuple):
    """One line of a table: where from, why, where to, and what the specification says of it."""

    state: Enum
    trigger: Enum
    target: Enum
    section: str
    sentence: str


_STATES = "6.1"
_CLOSING = "6.3"
_SENT = "HELLO_SENT (client: SYN sent)"
_ANSWERED = "HELLO_ANSWERED (server: SYN+ACK sent)"
_FINISHED = "FINISHED_SENT (client: server hello verified)"
_SERVER_UP = "ESTABLISHED (server: Finished verified; client: DONE received)"
_CLOSE_SENT = "CLOSING (CLOSE sent)"
_DRAINING = "DRAINING (CLOSE or a stateless reset received)"
_HANDSHAKE = (
    "Until ESTABLISHED a handshake time-out (10 s by default) ends the connection in silence."
)
_IDLE = "for that long moves to CLOSED in silence."
_ENDS = "After it sent CLOSE an endpoint is CLOSING for three probe timeouts"
_DRAINS = "is DRAINING for three probe timeouts, and sends nothing more."
_SILENCE = "A connection that is closed before it may send protected packets ends in silence."

CONNECTION = (
    Row(State.IDLE, Trigger.SEND_HELLO, State.HELLO_SENT, _STATES, _SENT),
    Row(State.IDLE, Trigger.ANSWER_HELLO, State.HELLO_ANSWERED, _STATES, _ANSWERED),
    Row(State.HELLO_SENT, Trigger.VERIFY_SERVER_HELLO, State.FINISHED_SENT, _STATES, _FINISHED),
    Row(State.HELLO_ANSWERED, Trigger.VERIFY_FINISHED, State.ESTABLISHED, _STATES, _SERVER_UP),
    Row(State.FINISHED_SENT, Trigger.RECEIVE_DONE, State.ESTABLISHED, _STATES, _SERVER_UP),
    Row(State.FINISHED_SENT, Trigger.SEND_CLOSE, State.CLOSING, _STATES, _CLOSE_SENT),
    Row(State.ESTABLISHED, Trigger.SEND_CLOSE, State.CLOSING, _STATES, _CLOSE_SENT),
    Row(State.FINISHED_SENT, Trigger.RECEIVE_CLOSE, State.DRAINING, _STATES, _DRAINING),
    Row(State.ESTABLISHED, Trigger.RECEIVE_CLOSE, State.DRAINING, _STATES, _DRAINING),
    Row(State.CLOSING, Trigger.RECEIVE_CLOSE, State.DRAINING, _STATES, _DRAINING),
    Row(State.ESTABLISHED, Trigger.RECEIVE_RESET, State.DRAINING, _STATES, _DRAINING),
    Row(State.CLOSING, Trigger.RECEIVE_RESET, State.DRAINING, _STATES, _DRAINING),
    Row(State.HELLO_SENT, Trigger.HANDSHAKE_TIMEOUT, State.CLOSED, "6.2", _HANDSHAKE),
    Row(State.HELLO_ANSWERED, Trigger.HANDSHAKE_TIMEOUT, State.CLOSED, "6.2", _HANDSHAKE),
    Row(State.FINISHED_SENT, Trigger.HANDSHAKE_TIMEOUT, State.CLOSED, "6.2", _HANDSHAKE),
    Row(State.ESTABLISHED, Trigger.IDLE_TIMEOUT, State.CLOSED, "6.2", _IDLE),
    Row(State.CLOSING, Trigger.PERIOD_OVER, State.CLOSED, _CLOSING, _ENDS),
    Row(State.DRAINING, Trigger.PERIOD_OVER, State.CLOSED, _CLOSING, _DRAINS),
    Row(State.IDLE, Trigger.ABANDON, State.CLOSED, _CLOSING, _SILENCE),
    Row(State.HELLO_SENT, Trigger.ABANDON, State.CLOSED, _CLOSING, _SILENCE),
    Row(State.HELLO_ANSWERED, Trigger.ABANDON, State.CLOSED, _CLOSING, _SILENCE),
)

_FIN = "bit 01 is FIN"
_RESET_ENDS = "RESET_STREAM ends the sending half"
_AS_IF = "its final size counts in flow control as if all bytes had arrived."
_UNLESS = "unless all its data was sent with FIN and acknowledged."
_IGNORED = "Frames for streams that ended are ignored."

SEND_HALF = (
    Row(Half.OPEN, HalfTrigger.FIN, Half.FIN_KNOWN, "5", _FIN),
    Row(Half.FIN_KNOWN, HalfTrigger.ALL_BYTES, Half.FINISHED, "5.3", _UNLESS),
    Row(Half.OPEN, HalfTrigger.RESET, Half.RESET, "5.3", _RESET_ENDS),
    Row(Half.FIN_KNOWN, HalfTrigger.RESET, Half.RESET, "5.3", _RESET_ENDS),
    Row(Half.RESET, HalfTrigger.RESET_DONE, Half.RESET_FINISHED, "5.3", _IGNORED),
)

RECEIVE_HALF = (
    Row(Half.OPEN, HalfTrigger.FIN, Half.FIN_KNOWN, "5", _FIN),
    Row(Half.FIN_KNOWN, HalfTrigger.ALL_BYTES, Half.FINISHED, "5.3", _IGNORED),
    Row(Half.OPEN, HalfTrigger.RESET, Half.RESET, "5.3", _AS_IF),
    Row(Half.FIN_KNOWN, HalfTrigger.RESET, Half.RESET, "5.3", _AS_IF),
    Row(Half.RESET, HalfTrigger.RESET_DONE, Half.RESET_FINISHED, "5.3", _IGNORED),
)

S = TypeVar("S", State, Half)


class TransitionError(RuntimeError):
    """The oracle itself tried a move that the specification does not know."""


def advance(table: tuple[Row, ...], state: S, trigger: Trigger | HalfTrigger) -> S:
    """Return the state that follows, or raise `TransitionError`."""
    for row in table:
        if row.state is state and row.trigger is trigger:
            assert isinstance(row.target, type(state))
            return row.target
    raise TransitionError(f"{state.name} knows no {trigger.name}")


# = 4.4: A server MUST NOT send protected packets or deliver application data before it verified
MAY_SEND_PROTECTED = {
    True: {State.FINISHED_SENT, State.ESTABLISHED, State.CLOSING},
    False: {State.ESTABLISHED, State.CLOSING},
}
"""States in which the client (True) or the server (False) seals with its traffic key."""
