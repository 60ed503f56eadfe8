"""One process of a measurement: ``python -m quantum.perf.worker (server|client) PEER LOOP [CORE]``.

Speaks JSON lines on its standard streams with `quantum.perf.bench`. A server prints its offer and
serves until its input ends, so that it cannot outlive whoever started it; a client answers each
line of input with one line.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

from quantum.errors import QuantumError
from quantum.perf.measures import MEASURES, Outcome, answer
from quantum.perf.peer import ContentError, Line, Offer, Peer
from quantum.perf.peers import load_peer

RUN_TIMEOUT_S = 60.0
# What a run may end with that is a result of the measurement, not a fault of this program.
FAILURES = (ContentError, QuantumError, OSError, EOFError, TimeoutError)


async def serve(peer: Peer) -> None:
    """Print the offer and serve until standard input ends."""
    async with peer.serve(_handle) as offer:
        _say(offer)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def measure(peer: Peer) -> None:
    """Read tasks from standard input and print outcomes, one line each."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = json.loads(line)
        try:
            outcome = await _perform(peer, task)
        except FAILURES as failure:
            _say({"error": f"{type(failure).__name__}: {failure}"})
        else:
            _say(outcome._asdict())


async def _perform(peer: Peer, task: dict[str, Any]) -> Outcome:
    """Run one measurement; without a count, grow it until a run takes the seconds asked for."""
    name, offer = task["measure"], task["offer"]
    if task.get("count"):
        return await _once(peer, offer, name, task["count"])
    seconds = float(task["seconds"])
    count = MEASURES[name].first_count
    while True:
        outcome = await _once(peer, offer, name, count)
        if outcome.seconds >= seconds / 4:
            return outcome
        # Short runs tell little of the pace; never trust one for more than a factor of eight.
        count = int(count * min(8.0, max(2.0, seconds / 2 / max(outcome.seconds, 1e-6))))


async def _once(peer: Peer, offer: Offer, name: str, count: int) -> Outcome:
    async with asyncio.timeout(RUN_TIMEOUT_S), peer.connect(offer) as line:
        return await MEASURES[name].client(line, count)


async def _handle(line: Line) -> None:
    # The client reports what went wrong; here the connection just ends.
    with contextlib.suppress(*FAILURES):
        await answer(line)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(argv: list[str]) -> int:
    """Run as the process that the arguments describe."""
    # An interrupt of the terminal reaches every process; whoever started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    role, name, loop, *core = argv
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    peer = load_peer(name)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(peer) if role == "server" else measure(peer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
