from enum import IntEnum

class TransportError(IntEnum):
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
