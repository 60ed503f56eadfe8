"""Does the link do what it is asked to? Measured from outside, with plain UDP sockets."""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from bench.link.path import Path
from bench.link.wan import ADDRESSES, MTU, LinkError, WanLink, open_link

# What a sleeping process of a busy machine may add to a single delay, and to their median.
MEDIAN_TOLERANCE_MS = 0.5
SIGMAS = 4.5


class Came(NamedTuple):
    """One datagram that arrived."""

    number: int
    delay_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise of the link, and what was measured."""

    what: str
    asked: str
    measured: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A path, the traffic that shows what it does, and who judges what came of it."""

    title: str
    path: Path
    count: int
    size: int
    hertz: float
    judge: Callable[["Check", list[Came]], list[Finding]]


async def check_link(seed: int = 1) -> AsyncIterator[Finding]:
    """Yield what was found, check by check.

    Raises:
        LinkError: this machine cannot have a link.
    """
    for check in CHECKS:
        async for finding in run_check(check, seed):
            yield finding


async def run_check(check: Check, seed: int) -> AsyncIterator[Finding]:
    """Yield what one check found; see `check_link`."""
    async with open_link(check.path, Path(), seed) as link:
        came = await _traffic(link, check)
        stats = await link.stats()
    for finding in check.judge(check, came):
        yield finding
    counted = stats["a"]["delivered_packets"]
    yield Finding(
        f"{check.title}: the link counts what arrives",
        str(counted),
        str(len(came)),
        counted == len(came) and not stats["devices_dropped"],
    )


async def _traffic(link: WanLink, check: Check) -> list[Came]:
    here = [sys.executable, "-m", "bench.link.probe"]
    receiver = await asyncio.create_subprocess_exec(
        *link.command("b"), *here, "receive", stdout=asyncio.subprocess.PIPE, limit=64 << 20
    )
    assert receiver.stdout is not None
    try:
        await receiver.stdout.readline()
        words = (ADDRESSES["b"], check.count, check.size, check.hertz)
        sender = await asyncio.create_subprocess_exec(
            *link.command("a"), *here, "send", *map(str, words)
        )
        if await sender.wait():
            raise LinkError("the sender of the check failed; its last words are above")
        came = json.loads(await receiver.stdout.readline())
    finally:
        if receiver.returncode is None:
            receiver.kill()
        await receiver.wait()
    return [Came(*one) for one in came]


def _share(what: str, asked: float, found: int, count: int) -> Finding:
    """Judge a share of *count* independent decisions."""
    spread = SIGMAS * math.sqrt(asked * (1 - asked) / count)
    is_kept = abs(found / count - asked) <= spread
    return Finding(what, f"{asked:.2%} +- {spread:.2%}", f"{found / count:.2%}", is_kept)


def _delays(check: Check, came: list[Came]) -> list[Finding]:
    delays = sorted(one.delay_ns / 1e6 for one in came)
    middle, asked = delays[len(delays) // 2], check.path.delay * 1e3
    p99 = delays[len(delays) * 99 // 100]
    return [
        Finding(
            "delay, median",
            f"{asked:.2f} ms",
            f"{middle:.2f} ms",
            0 <= middle - asked < MEDIAN_TOLERANCE_MS,
        ),
        Finding("delay, least", f"{asked:.2f} ms", f"{delays[0]:.2f} ms", delays[0] >= asked),
        Finding("delay, p99 (this machine's noise)", "", f"{p99:.2f} ms", True),
    ]


def _rate(check: Check, came: list[Came]) -> list[Finding]:
    span_s = (came[-1].at_ns - came[0].at_ns) / 1e9
    rate = (len(came) - 1) * check.size * 8 / span_s / 1e6
    asked, queue_ms = check.path.rate / 1e6, check.path.queue * 8 / check.path.rate * 1e3
    # Offered 1.5 x the rate, it is full long before the second half.
    waits = sorted(one.delay_ns / 1e6 for one in came[len(came) // 2 :])
    wait = waits[len(waits) // 2] - check.path.delay * 1e3
    return [
        Finding(
            "rate",
            f"{asked:.1f} Mbit/s",
            f"{rate:.2f} Mbit/s",
            abs(rate / asked - 1) < 0.01,
        ),
        Finding(
            "drop-tail queue, when full",
            f"{queue_ms:.1f} ms",
            f"{wait:.1f} ms",
            abs(wait - queue_ms) < 2,
        ),
    ]


def _losses(check: Check, came: list[Came]) -> list[Finding]:
    return [_share("random loss", check.path.loss, check.count - len(came), check.count)]


def _bursts(check: Check, came: list[Came]) -> list[Finding]:
    numbers = [one.number for one in came]
    lengths = [b - a - 1 for a, b in pairwise(numbers) if b - a > 1]
    n = check.path.burst
    odd = sum(length != n for length in lengths)
    whole = _share("burst loss", check.path.loss, sum(lengths) // n, check.count // n)
    return [
        whole,
        Finding("bursts of exactly", f"{n} packets", f"{odd} of {len(lengths)} others", not odd),
    ]


def _late(check: Check, came: list[Came]) -> list[Finding]:
    path = check.path
    # Others were sent after it and came before it; a delay by itself may be this machine's noise.
    latest = accumulate((one.number for one in came), max)
    late = [one for one, most in zip(came, latest, strict=True) if one.number < most]
    delays = sorted(one.delay_ns / 1e6 for one in late)
    asked = (path.delay + path.late) * 1e3
    middle = delays[len(delays) // 2] if delays else 0.0
    return [
        _share("late packets", path.reorder, len(late), check.count),
        Finding(
            "late packets, delay",
            f"{asked:.2f} ms",
            f"{middle:.2f} ms",
            0 <= middle - asked < MEDIAN_TOLERANCE_MS,
        ),
    ]


def _copies(check: Check, came: list[Came]) -> list[Finding]:
    return [_share("duplicates", check.path.duplicate, len(came) - check.count, check.count)]


def _policed(check: Check, came: list[Came]) -> list[Finding]:
    # By the times of sending: a receiver that was kept waiting sees a burst that was none.
    first, last = (one.at_ns - one.delay_ns for one in (came[0], came[-1]))
    span_s = (last - first) / 1e9
    most = (check.path.police * span_s / 8 + check.path.bucket) / check.size
    asked = check.path.police / 1e6
    rate = (len(came) * check.size - check.path.bucket) * 8 / span_s / 1e6
    # A sender or a link that was kept waiting leaves tokens unused, or uses them later.
    is_kept = most * 0.95 <= len(came) <= most * 1.02 + 2
    return [Finding("policer", f"{asked:.1f} Mbit/s", f"{rate:.2f} Mbit/s", is_kept)]


CHECKS = (
    Check("delay", Path(delay=0.025), 1000, 100, 500, _delays),
    Check("rate", Path(delay=0.025, rate=100e6, queue=625_000), 25_000, MTU, 12_500, _rate),
    Check("loss", Path(delay=0.005, loss=0.05), 20_000, 100, 10_000, _losses),
    Check("bursts", Path(delay=0.005, loss=0.02, burst=5), 20_000, 100, 10_000, _bursts),
    Check("late", Path(delay=0.025, reorder=0.05, late=0.005), 5_000, 100, 2_500, _late),
    Check("copies", Path(delay=0.005, duplicate=0.05), 10_000, 100, 10_000, _copies),
    Check("policer", Path(delay=0.005, police=20e6, bucket=25_000), 10_000, MTU, 5_000, _policed),
)
