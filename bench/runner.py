"""Makes the runs: peers in turns, each with fresh processes and, on a bad link, a fresh link.

The order is A B C A B C, so that what else the machine does falls on all alike.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bench.children import Child, RunError, child
from bench.link import LinkError, WanLink, open_link
from bench.link.wan import ADDRESSES
from bench.machine import processor_time
from bench.measures import Values
from bench.outcome import Outcome, flow
from bench.peers.program import Peer
from bench.peers.registry import PEERS
from bench.scenarios import Pin, Scenario

# Growing counts, long recoveries and the ten seconds that an answer may take.
SLACK_S = 150.0
RESPONSES_PER_SECOND = 10
HELD_BY_ONE = 4000
LOOPBACK = "127.0.0.1"

_Beside = Callable[[], Coroutine[Any, Any, tuple[dict[str, Any], int]]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave no numbers."""

    peer: str
    seed: int
    reason: str


@dataclass(slots=True)
class Row:
    """All runs of a scenario."""

    scenario: Scenario
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def peers(self) -> list[str]:
        """Those that gave numbers, in the order of the scenario."""
        return [name for name, outcomes in self.outcomes.items() if outcomes]


def present(names: Sequence[str], task: str) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can be measured, and why the others cannot."""
    found, missing = [], {}
    for name in names:
        if name not in PEERS:
            missing[name] = "nothing is called so in bench/peers/registry.py"
        elif task not in PEERS[name].tasks:
            missing[name] = f"it has no task {task}"
        elif reason := PEERS[name].program.missing():
            missing[name] = reason
        else:
            found.append(PEERS[name])
    return found, missing


async def run(
    scenarios: Sequence[Scenario],
    peers: Sequence[str] | None,
    advance: Callable[[str, float], None],
) -> AsyncIterator[Row]:
    """Yield each scenario's runs. *peers* replaces those that the scenario names; *advance* is told
    after each run what it was and about how many seconds of work it stood for.
    """
    for scenario in scenarios:
        found, missing = present(peers or scenario.peers, scenario.task)
        row = Row(scenario, {peer.name: [] for peer in found}, missing=missing)
        gate = asyncio.Semaphore(scenario.at_once)
        cost = scenario.expected_seconds(1) / scenario.runs

        async def one(
            peer: Peer,
            seed: int,
            *,
            row: Row = row,
            gate: asyncio.Semaphore = gate,
            cost: float = cost,
        ) -> None:
            async with gate:
                title = f"{row.scenario.name}, {peer.name}, run {seed}"
                try:
                    outcome = await run_once(row.scenario, peer, seed)
                    values = _judged(row.scenario, outcome)
                except (RunError, LinkError) as error:
                    row.failures.append(Failure(peer.name, seed, str(error)))
                    advance(f"{title}: {error}", cost)
                else:
                    row.outcomes[peer.name].append(outcome)
                    name = next(iter(values))
                    advance(f"{title}: {values[name]:.4g} {name}", cost)

        async with asyncio.TaskGroup() as tasks:
            for seed in range(1, scenario.runs + 1):
                for peer in found:
                    tasks.create_task(one(peer, seed))
        for outcomes in row.outcomes.values():
            outcomes.sort(key=lambda outcome: outcome.seed)
        yield row


def _judged(scenario: Scenario, outcome: Outcome) -> Values:
    try:
        return scenario.judge([outcome])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(
            f"what {outcome.peer} printed is not what the task asks for: {error!r}"
        ) from None


async def run_once(scenario: Scenario, peer: Peer, seed: int) -> Outcome:
    """Make one run.

    Raises:
        RunError: a process failed, or content was wrong.
        LinkError: there is no link.
    """
    async with AsyncExitStack() as stack:
        link = None
        if scenario.forward is not None:
            path, back = scenario.forward, scenario.backward or scenario.forward
            link = await stack.enter_async_context(open_link(path, back, seed))
        place = _Place(scenario, link)
        server, offer = await stack.enter_async_context(place.server(peer))
        outcome = Outcome(peer.name, seed, {}, scenario.seconds, peer.full_packet, scenario.forward)
        if scenario.has_baseline:
            await _baseline(scenario, place, peer, offer, outcome)
        beside = await stack.enter_async_context(_beside(scenario, place))
        if link is not None:
            await link.reset()
        idle, worked, before = server.memory(), server.cpu(), processor_time()
        others = asyncio.create_task(beside())
        try:
            async with AsyncExitStack() as clients:
                for options in _options(scenario):
                    client = await clients.enter_async_context(place.client(peer, offer, options))
                    said = await client.hear(scenario.seconds * 3 + SLACK_S)
                    held = outcome.client.get("held", 0) + said.get("held", 0)
                    outcome.client = said | ({"held": held} if held else {})
                outcome.server_bytes = server.memory() - idle
                outcome.server_cpu_s = server.cpu() - worked
            outcome.beside, other_port = await others
            used, whole = (now - then for now, then in zip(processor_time(), before, strict=True))
            outcome.busy = used / max(1, whole)
        finally:
            others.cancel()
        if not outcome.client.get("ok"):
            raise RunError(f"{peer.name} does not say that the content was right")
        if full := outcome.client.get("stats", {}).get("full_packet"):
            outcome.full_packet = (int(full[0]), int(full[1]))
        if link is not None:
            stats = await link.stats()
            port = int(offer["port"])
            outcome.sent = flow(stats["a"], peer.protocol, port, towards=True)
            outcome.answered = flow(stats["b"], peer.protocol, port, towards=False)
            if not outcome.sent or not outcome.answered:
                raise RunError(f"the link saw nothing of {peer.name} at port {port}")
            if other_port:
                protocol = PEERS[scenario.beside].protocol
                counts = flow(stats["a"], protocol, other_port, towards=True)
                outcome.beside["link"] = counts
            for way in ("a", "b"):
                del stats[way]["flows"]
            outcome.link = stats
    return outcome


@dataclass(slots=True)
class _Place:
    """Where the processes of a run live."""

    scenario: Scenario
    link: WanLink | None

    @asynccontextmanager
    async def server(self, peer: Peer) -> AsyncIterator[tuple[Child, dict[str, Any]]]:
        """Start the peer's server; yield it and its offer."""
        address = ADDRESSES["b"] if self.link else LOOPBACK
        command = peer.serve(address, 0, self.scenario.profile)
        title = f"the server of {peer.name}"
        prefix = self.link.command("b") if self.link else []
        async with child(title, [*prefix, *command], self._cores(0)) as started:
            yield started, await started.hear(30)

    def client(
        self, peer: Peer, offer: dict[str, Any], options: list[str]
    ) -> AbstractAsyncContextManager[Child]:
        """Start the peer's client."""
        address = ADDRESSES["b"] if self.link else LOOPBACK
        port = int(offer["port"])
        command = peer.run(
            self.scenario.task, address, port, json.dumps(offer), options, self.scenario.profile
        )
        prefix = self.link.command("a") if self.link else []
        return child(f"the client of {peer.name}", [*prefix, *command], self._cores(1))

    def _cores(self, which: int) -> frozenset[int] | None:
        usable = sorted(os.sched_getaffinity(0))
        if self.scenario.pin is Pin.FREE:
            return None
        if self.scenario.pin is Pin.ONE or len(usable) < 2:
            return frozenset(usable[:1])
        return frozenset((usable[which],))


def _options(scenario: Scenario) -> list[list[str]]:
    """Return the options of each client process: one, unless it would need too many files."""
    if scenario.task == "hold":
        shares = range(0, scenario.count, HELD_BY_ONE)
        return [["--count", str(min(HELD_BY_ONE, scenario.count - at))] for at in shares]
    return [_task_options(scenario)]


def _task_options(scenario: Scenario) -> list[str]:
    task, seconds = scenario.task, scenario.seconds
    if task == "realtime":
        return ["--count", str(round(seconds * 60)), "--rate", "60"]
    if task == "response":
        count = max(20, round(seconds * RESPONSES_PER_SECOND))
        return ["--count", str(count), "--size", "20480"]
    options = ["--count", str(scenario.count)] if scenario.count else ["--seconds", f"{seconds:g}"]
    return [*options, "--parallel", str(scenario.parallel)] if task == "handshake" else options


async def _baseline(
    scenario: Scenario, place: _Place, peer: Peer, offer: dict[str, Any], outcome: Outcome
) -> None:
    """Run without loss, on the same link and server."""
    assert place.link is not None
    assert scenario.forward is not None
    back = scenario.backward or scenario.forward
    await place.link.set(replace(scenario.forward, loss=0), replace(back, loss=0))
    shorter = replace(scenario, seconds=scenario.seconds / 4)
    async with place.client(peer, offer, _task_options(shorter)) as client:
        outcome.baseline = await client.hear(scenario.seconds + SLACK_S)
    await place.link.set(scenario.forward, back)


@asynccontextmanager
async def _beside(scenario: Scenario, place: _Place) -> AsyncIterator[_Beside]:
    """Yield what sends bulk beside the peer and returns its result and its server's port."""
    if not scenario.beside:
        yield _nothing_beside
        return
    found, missing = present([scenario.beside], "bulk")
    if missing:
        raise RunError(f"{scenario.beside} is needed beside it: {missing[scenario.beside]}")
    peer = found[0]
    async with place.server(peer) as (_, offer):

        async def send() -> tuple[dict[str, Any], int]:
            options = ["--seconds", f"{scenario.seconds:g}"]
            async with place.client(peer, offer, options) as client:
                result = await client.hear(scenario.seconds * 3 + SLACK_S)
            return {"client": result}, int(offer["port"])

        yield send


async def _nothing_beside() -> tuple[dict[str, Any], int]:
    return {}, 0
