"""The measurements: both sides of each, with every byte checked. Knows lines, not transports.

A client opens the stream with a request (what, how much), and the server's last word is a verdict
of 16 bytes: how much it got and how much of that was wrong. Time is taken by the client, from
before the request until after the verdict.
"""

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter_ns
from typing import NamedTuple

from quantum.perf.peer import MESSAGE_BYTES, ContentError, Line

REQUEST = struct.Struct("!cQ")
VERDICT = struct.Struct("!QQ")
MESSAGE = struct.Struct(f"!Q{MESSAGE_BYTES - 8}s")
CHUNK_BYTES = 64 * 1024
# A prime period, larger than any chunk: bytes that are lost, doubled or out of place never match.
PERIOD = 1_000_003
BODY = Random(7).randbytes(MESSAGE_BYTES - 8)


class Outcome(NamedTuple):
    """One run of one measurement."""

    amount: int
    """Bytes, messages or requests."""
    seconds: float
    value: float
    """In the unit of the measure."""
    extra: dict[str, float]


class _Pattern:
    """The bytes that bulk sends; compared slice by slice at the speed of memcmp."""

    def __init__(self) -> None:
        once = Random(11).randbytes(PERIOD)
        self._twice = once + once
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes, at most one period."""
        data = self._twice[self._at : self._at + count]
        self._at = (self._at + count) % PERIOD
        return data


async def send_bulk(line: Line, count: int) -> Outcome:
    """Send *count* bytes on one stream; the value is bits per second."""
    pattern = _Pattern()
    began = perf_counter_ns()
    await line.write(REQUEST.pack(b"b", count))
    left = count
    while left:
        size = min(CHUNK_BYTES, left)
        await line.write(pattern.take(size))
        left -= size
    seconds = await _verdict(line, count, began)
    return Outcome(count, seconds, count * 8 / seconds, {})


async def take_bulk(line: Line, count: int) -> None:
    """Receive bulk, compare it with the pattern, and say how it was."""
    pattern = _Pattern()
    got = wrong = 0
    while got < count:
        data = await line.read()
        if not data:
            break
        for at in range(0, len(data), PERIOD):
            part = data[at : at + PERIOD]
            wrong += part != pattern.take(len(part))
        got += len(data)
    await line.write(VERDICT.pack(got, wrong))


async def send_messages(line: Line, count: int) -> Outcome:
    """Send *count* messages of 64 bytes without waiting for answers; the value is messages/s."""
    began = perf_counter_ns()
    await line.write(REQUEST.pack(b"m", count))
    send, pack = line.send, MESSAGE.pack
    for number in range(count):
        await send(pack(number, BODY))
    await line.flush()
    seconds = await _verdict(line, count, began)
    return Outcome(count, seconds, count / seconds, {})


async def take_messages(line: Line, count: int) -> None:
    """Receive messages in any order; each number must come once, with the right body."""
    seen = bytearray(count)
    receive, unpack = line.receive, MESSAGE.unpack
    wrong = 0
    for _ in range(count):
        number, body = unpack(await receive())
        if number >= count or seen[number] or body != BODY:
            wrong += 1
            continue
        seen[number] = 1
    await line.write(VERDICT.pack(sum(seen), wrong))


async def send_requests(line: Line, count: int) -> Outcome:
    """Send *count* requests of 64 bytes, one after the other's answer; the value is p50 in us."""
    times = []
    await line.write(REQUEST.pack(b"r", count))
    began = perf_counter_ns()
    for number in range(count):
        message = MESSAGE.pack(number, BODY)
        start = perf_counter_ns()
        await line.send(message)
        answer = await line.receive()
        times.append(perf_counter_ns() - start)
        if answer != message:
            raise ContentError(f"request {number} came back changed")
    seconds = (perf_counter_ns() - began) / 1e9
    await _verdict(line, count, began)
    times.sort()
    return Outcome(
        count,
        seconds,
        times[count // 2] / 1e3,
        {"p99_us": times[min(count - 1, count * 99 // 100)] / 1e3},
    )


async def take_requests(line: Line, count: int) -> None:
    """Send every request back."""
    for _ in range(count):
        await line.send(await line.receive())
    await line.write(VERDICT.pack(count, 0))


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing to measure."""

    title: str
    client: Callable[[Line, int], Awaitable[Outcome]]
    first_count: int
    """Where calibration starts; small enough for the slowest transport."""
    unit: str
    scale: float
    """What the value is divided by to be in *unit*."""
    more_is_better: bool


MEASURES = {
    "bulk": Measure("one stream, bulk", send_bulk, 1_000_000, "Gbit/s", 1e9, True),
    "messages": Measure("64-byte messages", send_messages, 1000, "k/s", 1e3, True),
    "requests": Measure("64-byte request and answer, p50", send_requests, 200, "us", 1.0, False),
}
_SERVERS = {b"b": take_bulk, b"m": take_messages, b"r": take_requests}
# A request that asks for more is not one of ours.
MAX_COUNT = 1 << 40


async def answer(line: Line) -> None:
    """Serve one measurement on *line*.

    Raises:
        ContentError: the request makes no sense.
    """
    kind, count = REQUEST.unpack(await line.read_exactly(REQUEST.size))
    if kind not in _SERVERS or count > MAX_COUNT:
        raise ContentError(f"no measurement is called {kind!r} with {count}")
    await _SERVERS[kind](line, count)
    await line.flush()


async def _verdict(line: Line, count: int, began_ns: int) -> float:
    """Wait for the server's verdict and return the seconds since *began_ns*.

    Raises:
        ContentError: something was missing or wrong.
    """
    got, wrong = VERDICT.unpack(await line.read_exactly(VERDICT.size))
    seconds = (perf_counter_ns() - began_ns) / 1e9
    if got != count or wrong:
        raise ContentError(f"{got} of {count} arrived, {wrong} pieces of it changed or doubled")
    return seconds
