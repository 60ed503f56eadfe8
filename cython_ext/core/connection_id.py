"""Connection ids: UUIDv7 with a blinded time (docs/protocol.md section 2.3)."""

from collections.abc import Callable

DAY_MS = 86_400_000
# Virtual and monotonic clocks start anywhere: ids only need some plausible, blinded milliseconds.
CLOCK_OFFSET_MS = 1_700_000_000_000


def make_connection_id(
    entropy: Callable[[int], bytes], now_ns: int, worker: int | None = None
) -> bytes:
    """Return 16 bytes; *worker* (0 to 4,095) stands in a server's ids, randomness in a client's.

    *entropy* returns as many random bytes as it is asked for.
    """
    random = int.from_bytes(entropy(16), "big")
    blind = (random >> 96) % DAY_MS
    milliseconds = max(now_ns // 1_000_000 + CLOCK_OFFSET_MS - blind, 0) & ((1 << 48) - 1)
    rand_a = (random >> 84) & 0xFFF if worker is None else worker
    rand_b = random & ((1 << 62) - 1)
    return (milliseconds << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | rand_b).to_bytes(16, "big")
