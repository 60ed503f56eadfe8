"""Every reason for which the gateway closes a connection: its number, sentence and advice.

The numbers are WebSocket close codes (RFC 6455 and 4000-4999, which are ours) and are the
application error codes of every other transport, so a client needs one table.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a connection was closed."""

    sentence: str
    may_reconnect: bool

    def __new__(cls, number: int, sentence: str, may_reconnect: bool) -> "CloseCode":
        """Attach the sentence and the advice to the number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.sentence = sentence
        member.may_reconnect = may_reconnect
        return member

    NORMAL = 1000, "closed on request", False
    GOING_AWAY = 1001, "the gateway is stopping; connect again and resume", True
    PROTOCOL_ERROR = 1002, "the transport's rules were broken", False
    UNSUPPORTED_DATA = 1003, "this kind of data is not understood here", False
    POLICY = 1008, "refused by policy", False
    TOO_BIG = 1009, "a message was larger than the limit", False
    INTERNAL = 1011, "the gateway failed; connect again", True
    TRY_LATER = 1013, "the gateway is full; connect again later", True
    BAD_ENVELOPE = 4000, "too many messages could not be understood", False
    UNAUTHENTICATED = 4001, "the token or password was not accepted", False
    LOGIN_TIMEOUT = 4002, "no login within the time allowed", True
    SESSION_REPLACED = 4003, "the session goes on in another connection", False
    SESSION_EXPIRED = 4004, "the session has expired; log in again", True
    SLOW_CONSUMER = 4005, "messages were not read fast enough; connect again and resume", True
    RATE_LIMITED = 4006, "too many requests; connect again later", True
    IDLE = 4007, "nothing was heard for too long; connect again and resume", True
    REVOKED = 4008, "the account or its tokens were revoked", False
    REPLAYED = 4009, "an envelope's index was used before", False


def may_reconnect(number: int) -> bool:
    """Say whether a client that was closed with *number* should connect again.

    An unknown number, or none at all (a broken connection), is worth another try.
    """
    known = _BY_NUMBER.get(number)
    return known is None or known.may_reconnect


_BY_NUMBER = {int(code): code for code in CloseCode}
