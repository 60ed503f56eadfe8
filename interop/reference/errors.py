"""Why the oracle refuses something: a packet is dropped, or a connection is closed.

Both are exceptions only inside the oracle. Nothing that a peer sent leaves ``handle_datagram`` as
an exception: `DropError` is counted there, `ViolationError` becomes a CLOSE.
"""

from enum import IntEnum, StrEnum


class Drop(StrEnum):
    """Reason for which a datagram had no effect."""

    TOO_SHORT = "too_short"
    MAGIC = "magic"
    LENGTH = "length"
    VERSION = "version"
    ZERO_ID = "zero_id"
    FLAGS = "flags"
    UNKNOWN_ID = "unknown_id"
    ADDRESS = "address"
    ROLE = "role"
    STATE = "state"
    RETRY = "retry"
    REPLAY = "replay"
    UNOPENED = "unopened"
    EARLY = "early"
    HELLO_SIZE = "hello_size"
    HELLO_MALFORMED = "hello_malformed"
    HELLO_PADDING = "hello_padding"
    HELLO_KEY_ID = "hello_key_id"
    HELLO_MAC = "hello_mac"
    HELLO_VERSION = "hello_version"
    HELLO_SUITE = "hello_suite"
    HELLO_GROUP = "hello_group"
    HELLO_DIFFERS = "hello_differs"
    HELLO_REPEATED = "hello_repeated"
    HELLO_LIMIT = "hello_limit"
    SHARED_SECRET = "shared_secret"
    IDENTITY = "identity"
    SIGNATURE = "signature"
    FINISHED = "finished"
    TOKEN = "token"
    RATE = "rate"
    SACK = "sack"


class Code(IntEnum):
    """Error codes of the transport (section 6.4)."""

    NO_ERROR = 0
    INTERNAL = 1
    PROTOCOL_VIOLATION = 2
    FRAME_ENCODING = 3
    FLOW_CONTROL = 4
    STREAM_LIMIT = 5
    STREAM_STATE = 6
    FINAL_SIZE = 7
    MESSAGE_LIMIT = 8
    AEAD_LIMIT = 9
    REFUSED = 10
    TOO_MANY_GAPS = 11


class DropError(Exception):
    """The datagram has no effect but this count."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason.value)
        self.reason = reason


class ViolationError(Exception):
    """The peer broke a rule; the connection closes with *code*."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason
