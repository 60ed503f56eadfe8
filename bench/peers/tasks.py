"""The tasks, both sides of each, with every byte checked. Knows lines, not transports.

The README beside this file has them as a table; it holds for peers in other languages too.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from bench.peers.line import MESSAGE_BYTES, ContentError, Line

HEADER = struct.Struct("<QQQQ")
TWO = struct.Struct("<QQ")
ONE = struct.Struct("<Q")
NUMBERS = {
    "bulk": 1,
    "messages": 2,
    "request": 3,
    "realtime": 4,
    "response": 5,
    "handshake": 6,
}
CHUNK_BYTES = 64 * 1024
ANSWER_S = 10.0
# How long a message of the realtime task may take before it counts as missing.
PATIENCE_S = 5.0
CHANGED = (1 << 64) - 1
# What a header asks for beyond this is not one of ours.
MAX_COUNT = 1 << 32

PERIOD = 65521
PATTERN = bytes((j * 131 + (j >> 8) * 7) & 0xFF for j in range(PERIOD))
# So that any slice of a read is one piece.
_LONG = PATTERN * 20
MAX_SLICE = len(_LONG) - PERIOD


def pattern(offset: int, count: int) -> bytes:
    """Return the content's *count* bytes from *offset*, at most `MAX_SLICE`."""
    at = offset % PERIOD
    return _LONG[at : at + count]


def is_pattern(data: bytes, offset: int) -> bool:
    """Tell whether *data* is the content from *offset*."""
    pieces = range(0, len(data), MAX_SLICE)
    return all(
        data[at : at + MAX_SLICE] == pattern(offset + at, min(MAX_SLICE, len(data) - at))
        for at in pieces
    )


def messages(count: int) -> Iterator[bytes]:
    """Yield the messages: a number, then the pattern from there."""
    pack = ONE.pack
    for number in range(count):
        at = number % PERIOD
        yield pack(number) + _LONG[at : at + MESSAGE_BYTES - 8]


# ---- bulk ----


async def run_bulk(line: Line, start_ns: int, seconds: float) -> dict[str, Any]:
    """Send until *seconds* after *start_ns*; the server says how much had come by then."""
    until_ns = start_ns + int(seconds * 1e9)
    await line.write(HEADER.pack(NUMBERS["bulk"], start_ns, until_ns - start_ns, 0))
    sending = asyncio.create_task(_send_bulk(line, until_ns))
    try:
        # A write may wait for long after the end; the answer does not wait for it.
        async with asyncio.timeout(max(0.0, (until_ns - time.monotonic_ns()) / 1e9) + ANSWER_S):
            answer = await line.read_exactly(TWO.size)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    got, is_right = TWO.unpack(answer)
    if is_right != 1:
        raise ContentError(f"bulk: content changed before byte {got}")
    return {"bytes": got, "seconds": seconds, "ok": True, "stats": line.stats()}


async def _send_bulk(line: Line, until_ns: int) -> None:
    at = 0
    while time.monotonic_ns() < until_ns:
        await line.write(pattern(at, CHUNK_BYTES))
        at += CHUNK_BYTES


async def take_bulk(line: Line, start_ns: int, duration_ns: int, _: int) -> None:
    """Count what comes until the time is over, and say how much of it was right."""
    until_ns = start_ns + duration_ns
    got, is_right = 0, 1
    try:
        async with asyncio.timeout((until_ns - time.monotonic_ns()) / 1e9):
            while is_right and (data := await line.read()):
                if time.monotonic_ns() >= until_ns:
                    break
                is_right = int(is_pattern(data, got))
                got += len(data) if is_right else 0
    except TimeoutError:
        pass
    await line.write(TWO.pack(got, is_right))


# ---- messages ----


async def run_messages(line: Line, count: int) -> dict[str, Any]:
    """Send *count* messages without waiting for answers."""
    send = line.send
    await line.write(HEADER.pack(NUMBERS["messages"], count, 0, 0))
    began = time.monotonic_ns()
    for message in messages(count):
        await send(message)
    await line.flush()
    await _verdict(line, "messages")
    seconds = (time.monotonic_ns() - began) / 1e9
    return {"count": count, "seconds": seconds, "ok": True, "stats": line.stats()}


async def take_messages(line: Line, count: int, _: int, __: int) -> None:
    """Receive messages in any order; each number must come once, with the right body."""
    seen = bytearray(count)
    receive, unpack, long = line.receive, ONE.unpack_from, _LONG
    left, body = count, MESSAGE_BYTES - 8
    is_right = 1
    while left > 0:
        for message in await receive():
            number = unpack(message)[0]
            at = number % PERIOD
            if number >= count or seen[number] or message[8:] != long[at : at + body]:
                is_right = 0
            else:
                seen[number] = 1
            left -= 1
    await line.write(ONE.pack(is_right))


# ---- request ----


async def run_request(line: Line, count: int) -> dict[str, Any]:
    """Have *count* messages sent back, one after the other."""
    times = []
    await line.write(HEADER.pack(NUMBERS["request"], count, 0, 0))
    began = time.monotonic_ns()
    for message in messages(count):
        start = time.monotonic_ns()
        await line.send(message)
        answers = await line.receive()
        times.append((time.monotonic_ns() - start) / 1e3)
        if len(answers) != 1 or answers[0] != message:
            raise ContentError(f"request {len(times) - 1} came back changed")
    seconds = (time.monotonic_ns() - began) / 1e9
    return {"latencies_us": times, "count": count, "seconds": seconds, "ok": True}


async def take_request(line: Line, count: int, _: int, __: int) -> None:
    """Send every message back."""
    while count > 0:
        for message in await line.receive():
            await line.send(message)
            count -= 1


# ---- realtime ----


async def run_realtime(line: Line, count: int, hertz: float) -> dict[str, Any]:
    """Send a message every 1/*hertz* s, each with the time it was sent at."""
    interval_ns = int(1e9 / hertz)
    await line.write(HEADER.pack(NUMBERS["realtime"], count, interval_ns, 0))
    began = time.monotonic_ns()
    for number in range(count):
        due = began + number * interval_ns
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        stamp = TWO.pack(number, time.monotonic_ns())
        await line.send(stamp + pattern(number, MESSAGE_BYTES - TWO.size))
    await line.write(b"?")
    async with asyncio.timeout(PATIENCE_S + ANSWER_S):
        came = ONE.unpack(await line.read_exactly(ONE.size))[0]
        if came == CHANGED:
            raise ContentError("realtime: a message came changed, or twice")
        delays = struct.unpack(f"<{came}Q", await line.read_exactly(came * ONE.size))
    return {
        "delays_us": [delay / 1e3 for delay in delays],
        "missing": count - came,
        "ok": True,
        "stats": line.stats(),
    }


async def take_realtime(line: Line, count: int, interval_ns: int, _: int) -> None:
    """Note how long each message was under way."""
    seen = bytearray(count)
    delays: list[int] = []
    is_right = True
    try:
        async with asyncio.timeout(count * interval_ns / 1e9 + PATIENCE_S):
            while is_right and len(delays) < count:
                for message in await line.receive():
                    now = time.monotonic_ns()
                    number, sent = TWO.unpack_from(message)
                    body = pattern(number, MESSAGE_BYTES - TWO.size)
                    is_right = number < count and not seen[number] and message[16:] == body
                    if not is_right:
                        break
                    seen[number] = 1
                    delays.append(now - sent)
    except TimeoutError:
        pass
    await line.read_exactly(1)
    if not is_right:
        await line.write(ONE.pack(CHANGED))
        return
    await line.write(ONE.pack(len(delays)) + struct.pack(f"<{len(delays)}Q", *delays))


# ---- response ----


async def run_response(line: Line, count: int, size: int, pause_s: float) -> dict[str, Any]:
    """Ask *count* times for *size* bytes."""
    times: list[float] = []
    await line.write(HEADER.pack(NUMBERS["response"], count, size, int(pause_s * 1e9)))
    expected = pattern(0, size)
    for question in messages(count):
        began = time.monotonic_ns()
        await line.write(question)
        if await line.read_exactly(size) != expected:
            raise ContentError(f"response {len(times)} came changed")
        times.append((time.monotonic_ns() - began) / 1e3)
        await asyncio.sleep(pause_s)
    return {"times_us": times, "ok": True, "stats": line.stats()}


async def take_response(line: Line, count: int, size: int, _: int) -> None:
    """Answer every question with *size* bytes."""
    answer = pattern(0, size)
    for question in messages(count):
        if await line.read_exactly(MESSAGE_BYTES) != question:
            raise ContentError("a question came changed")
        await line.write(answer)


# ---- handshake ----


async def run_handshake(line: Line) -> None:
    """Exchange one byte."""
    await line.write(HEADER.pack(NUMBERS["handshake"], 0, 0, 0))
    await line.read_exactly(1)


async def take_handshake(line: Line, _: int, __: int, ___: int) -> None:
    """Answer with one byte."""
    await line.write(b"!")


_SERVERS: dict[int, Callable[[Line, int, int, int], Awaitable[None]]] = {
    1: take_bulk,
    2: take_messages,
    3: take_request,
    4: take_realtime,
    5: take_response,
    6: take_handshake,
}


async def answer_task(line: Line) -> None:
    """Serve one task on *line*.

    Raises:
        ContentError: the header makes no sense.
    """
    number, a, b, c = HEADER.unpack(await line.read_exactly(HEADER.size))
    if number not in _SERVERS or (number != 1 and a > MAX_COUNT):
        raise ContentError(f"no task has the number {number} and {a} of it")
    await _SERVERS[number](line, a, b, c)
    await line.flush()
    # The client ends the connection; if this end did, its answer might never leave.
    while await line.read():
        pass


async def _verdict(line: Line, task: str) -> None:
    if ONE.unpack(await line.read_exactly(ONE.size))[0] != 1:
        raise ContentError(f"{task}: something was missing, doubled or changed")
