from enum import IntEnum

class KeyResult(IntEnum):
    OPENED = 0
    NOT_OPENED = 1
    OPENED_NEXT = 2

def expand(secret: bytes, label: bytes, length: int) -> bytes: ...
