"""Round trips to a server, measured by connecting.

Every attempt is a connection of its own that carries no application data, so that any server can be
asked without knowing what it serves. Prints nothing itself: lines go to ``say``.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence

from quantum.client import connect
from quantum.errors import QuantumError


async def run(
    address: str,
    pin: str,
    *,
    count: int,
    interval_s: float,
    timeout_s: float,
    say: Callable[[str], None],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> int:
    """Connect *count* times and return the exit status: 0 when an attempt succeeded."""
    handshakes: list[float] = []
    for attempt in range(count):
        if attempt:
            await asyncio.sleep(interval_s)
        started = clock_ns()
        try:
            async with connect(address, pin=pin, timeout=timeout_s) as connection:
                took = (clock_ns() - started) / 1e6
                round_trip = connection.stats().rtt_ns / 1e6
        except (QuantumError, OSError, TimeoutError) as error:
            say(f"{address}  no: {error or type(error).__name__}")
            continue
        handshakes.append(took)
        say(f"{address}  handshake {took:.2f} ms  round trip {round_trip:.2f} ms")
    say(summary(handshakes, count))
    return 0 if handshakes else 1


def summary(handshakes: Sequence[float], count: int) -> str:
    """Return the last line: how many attempts succeeded, and the spread of their times in ms."""
    if not handshakes:
        return f"0 of {count} connected: check the port, the pin, and that UDP is let through"
    spread = (min(handshakes), statistics.median(handshakes), max(handshakes))
    times = " / ".join(f"{value:.2f}" for value in spread)
    return f"{len(handshakes)} of {count} connected; handshake least / median / most {times} ms"
