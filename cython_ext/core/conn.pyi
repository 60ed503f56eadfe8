from enum import IntEnum

class CloseCause(IntEnum):
    OPEN = 0
    LOCAL_CLOSE = 1
    LOCAL_ERROR = 2
    PEER_CLOSE = 3
    PEER_ERROR = 4
    IDLE_TIMEOUT = 5
    HANDSHAKE_TIMEOUT = 6
    STATELESS_RESET = 7
