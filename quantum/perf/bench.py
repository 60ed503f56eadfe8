"""Runs measurements: one server process and one client process per peer, this process only waits.

Runs go round by round over all peers, so that what else the machine does falls on all alike, and
the median of the rounds counts.
"""

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from quantum.perf.measures import MEASURES
from quantum.perf.peer import Offer

# A worker that says nothing for so long has died or hangs; above its own timeout per run.
SILENCE_S = 300.0
START_S = 30.0


class BenchError(Exception):
    """A measurement could not be made; the message says which, and why."""


@dataclass(slots=True)
class Result:
    """All rounds of one measure on one peer."""

    peer: str
    measure: str
    count: int
    values: list[float] = field(default_factory=list)
    extras: list[dict[str, float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds, in the unit of the measure."""
        return statistics.median(self.values) / MEASURES[self.measure].scale

    def extra(self, name: str) -> float:
        """The median of an extra value."""
        return statistics.median(extra[name] for extra in self.extras)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Args:
        peers: names in `PEERS`; the first is the one that the others are compared with.
        measures: names in `MEASURES`.
        rounds: runs of each; the median counts.
        seconds: how long one run takes, about.
        loop: ``asyncio`` or ``uvloop``, for every peer.
        cores: (server, client) to pin to, or None to leave it to the system.
    """

    peers: Sequence[str]
    measures: Sequence[str]
    rounds: int = 3
    seconds: float = 1.0
    loop: str = "asyncio"
    cores: tuple[int, int] | None = None


async def run(plan: Plan, advance: Callable[[str], None]) -> list[Result]:
    """Carry out *plan*; *advance* is told what comes next before each of `steps(plan)` steps.

    Raises:
        BenchError: a process failed, or content arrived changed.
    """
    results: dict[tuple[str, str], Result] = {}
    async with _Benches(plan) as benches:
        for name in plan.measures:
            for peer in plan.peers:
                advance(f"{peer}: {MEASURES[name].title}, how much fits into {plan.seconds:g} s")
                trial = await benches.measure(peer, name, seconds=plan.seconds)
                count = max(1, int(trial["amount"] * plan.seconds / trial["seconds"]))
                results[peer, name] = Result(peer, name, count)
        for number in range(plan.rounds):
            for name in plan.measures:
                for peer in plan.peers:
                    advance(f"{peer}: {MEASURES[name].title}, round {number + 1}")
                    result = results[peer, name]
                    outcome = await benches.measure(peer, name, count=result.count)
                    result.values.append(outcome["value"])
                    result.extras.append(outcome["extra"])
    return list(results.values())


def steps(plan: Plan) -> int:
    """Return how often `run` calls *advance*."""
    return len(plan.peers) * len(plan.measures) * (plan.rounds + 1)


class _Benches:
    """A server and a client process per peer, ended together."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._clients: dict[str, _Worker] = {}
        self._offers: dict[str, Offer] = {}
        self._workers: list[_Worker] = []

    async def __aenter__(self) -> Self:
        try:
            for peer in self._plan.peers:
                server = await self._start("server", peer, 0)
                self._offers[peer] = await server.hear(START_S)
                self._clients[peer] = await self._start("client", peer, 1)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._end()

    async def measure(self, peer: str, name: str, **task: float) -> dict[str, Any]:
        """Have one measurement made."""
        client = self._clients[peer]
        await client.tell({"measure": name, "offer": self._offers[peer], **task})
        answer = await client.hear(SILENCE_S)
        if "error" in answer:
            raise BenchError(f"{peer}, {MEASURES[name].title}: {answer['error']}")
        return answer

    async def _start(self, role: str, peer: str, which: int) -> "_Worker":
        core = [] if self._plan.cores is None else [str(self._plan.cores[which])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "quantum.perf.worker",
            role,
            peer,
            self._plan.loop,
            *core,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # As this process finds the package, so must they, installed or not.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        )
        worker = _Worker(f"the {role} of {peer}", process)
        self._workers.append(worker)
        return worker

    async def _end(self) -> None:
        await asyncio.gather(*(worker.end() for worker in self._workers))


class _Worker:
    """One process and its two pipes."""

    def __init__(self, title: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._title = title
        self._process = process
        self._input = process.stdin
        self._output = process.stdout

    async def tell(self, task: dict[str, Any]) -> None:
        try:
            self._input.write(json.dumps(task).encode() + b"\n")
            await self._input.drain()
        except ConnectionError:
            raise BenchError(f"{self._title} has ended; its last words are above") from None

    async def hear(self, patience_s: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(patience_s):
                line = await self._output.readline()
        except TimeoutError:
            raise BenchError(f"{self._title} has said nothing for {patience_s:g} s") from None
        if not line:
            raise BenchError(f"{self._title} has ended; its last words are above")
        heard: dict[str, Any] = json.loads(line)
        return heard

    async def end(self) -> None:
        # The end of its input tells a worker to end; one that does not is killed.
        self._input.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
