"""The peers of others: those that are here do every task, and their content checks see a fault."""

from dataclasses import replace
from typing import Any

import pytest

from bench.children import RunError
from bench.peers.program import NativeProgram
from bench.peers.registry import PEERS
from bench.runner import run_once
from bench.scenarios import SCENARIOS, Pin, Scenario

pytestmark = pytest.mark.integration
BY_TASK = {scenario.task: scenario for scenario in SCENARIOS.values()}
OURS = {"quantum", "quantum-uvloop", "tcp-cubic", "tcp-bbr", "tls", "tls-uvloop"}
OTHERS = [(peer.name, task) for peer in PEERS.values() for task in sorted(peer.tasks)]
OTHERS = [(name, task) for name, task in OTHERS if name not in OURS]
# Written in other languages: their checks are not those that the tests of tasks.py have seen fail.
NATIVE = [
    (name, task)
    for name, task in OTHERS
    if isinstance(PEERS[name].program, NativeProgram) and task != "hold"
]


def brief(task: str, **changes: Any) -> Scenario:
    short = {"forward": None, "seconds": 0.3, "runs": 1, "has_baseline": False, "pin": Pin.FREE}
    counted = {"count": 0 if task == "bulk" else 20, "profile": "loopback"}
    return replace(BY_TASK[task], **short | counted | changes)


def skip_unless_here(name: str) -> None:
    if reason := PEERS[name].program.missing():
        pytest.skip(reason)


@pytest.mark.parametrize(("name", "task"), OTHERS)
async def test_another_peer_does_every_task(name: str, task: str) -> None:
    skip_unless_here(name)
    profile = "realtime" if task == "realtime" else "loopback"
    outcome = await run_once(brief(task, profile=profile), PEERS[name], 1)
    assert outcome.client["ok"] is True


@pytest.mark.parametrize(("name", "task"), NATIVE)
async def test_another_peer_notices_a_flipped_byte(
    name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_here(name)
    monkeypatch.setenv("BENCH_PLANT_FAULT", "1")
    with pytest.raises(RunError, match="the content is wrong"):
        await run_once(brief(task), PEERS[name], 1)
