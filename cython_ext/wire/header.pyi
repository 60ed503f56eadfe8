from enum import IntEnum

MAX_SACK_BLOCKS: int

class Verdict(IntEnum):
    ACCEPTED = 0
    TOO_SHORT = 1
    BAD_MAGIC = 2
    BAD_LENGTH = 3
    BAD_VERSION = 4
    BAD_FLAGS = 5
    ZERO_ID = 6
    UNKNOWN_ID = 7
    NOT_ACCEPTING = 8
    VERSION_ONE = 9
    HELLO_SIZE = 10
    HELLO_MAC = 11
    HELLO_MALFORMED = 12
    HELLO_UNACCEPTABLE = 13
    HELLO_DUPLICATE = 14
    HELLO_CONFLICT = 15
    HALF_OPEN_LIMIT = 16
    CONNECTION_LIMIT = 17
    WRONG_STATE = 18
    DOES_NOT_OPEN = 19
    BAD_IDENTITY = 20
    BAD_SIGNATURE = 21
    BAD_FINISHED = 22
    REPLAYED = 23
    OUT_OF_WINDOW = 24
    EARLY_LIMIT = 25
    BACKLOG_LIMIT = 26
    BAD_RESET = 27
    RETRY_IGNORED = 28
    VERSION_NEGOTIATION = 29
    CLOSED_CONNECTION = 30
    FRAME_REFUSED = 31
    WRONG_ADDRESS = 32
    VERDICTS = 33

def decode_packet_number(truncated: int, expected: int) -> int: ...
def encode_header(
    version: int, flags: int, connection_id: bytes, sequence: int, ack: int, length: int
) -> bytes: ...
def decode_header(
    datagram: bytes,
) -> tuple[Verdict, tuple[int, int, bytes, int, int, int] | None]: ...
def encode_v1(
    flags: int,
    connection_id: bytes,
    sequence: int,
    ack: int,
    sack_blocks: list[tuple[int, int]],
    payload: bytes,
) -> bytes: ...
def decode_v1(
    datagram: bytes,
) -> tuple[int, bytes, int, int, list[tuple[int, int]], bytes] | None: ...
