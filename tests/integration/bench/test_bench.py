"""``python -m bench`` with its real processes, briefly."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.peers.program import ROOT, TASKS
from bench.peers.registry import PEERS
from bench.results import as_result
from bench.runner import run, run_once
from bench.scenarios import SCENARIOS, Pin, Scenario
from tests.support.waiting import until

pytestmark = pytest.mark.integration
# What a client prints of each task.
MEASURED = {
    "bulk": "bytes",
    "messages": "count",
    "request": "latencies_us",
    "realtime": "delays_us",
    "response": "times_us",
    "handshake": "count",
    "hold": "held",
}
BY_TASK = {scenario.task: scenario for scenario in SCENARIOS.values()}


def brief(scenario: Scenario, **changes: Any) -> Scenario:
    short = {"forward": None, "seconds": 0.2, "runs": 1, "has_baseline": False}
    return replace(scenario, **short | {"profile": "loopback", "pin": Pin.FREE} | changes)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("peer", ["quantum", "tcp-cubic", "tls"])
async def test_a_peer_does_every_task(peer: str, task: str) -> None:
    scenario = brief(BY_TASK[task], count=0 if task == "bulk" else 20)
    outcome = await run_once(scenario, PEERS[peer], 1)
    assert outcome.client["ok"] is True
    found = outcome.client[MEASURED[task]]
    assert (len(found) if isinstance(found, list) else found) >= 12


@pytest.mark.usefixtures("link_here")
async def test_bulk_over_a_bad_link_is_counted_on_both_sides() -> None:
    scenario = replace(SCENARIOS["goodput-5"], seconds=1.5, runs=1)
    (row,) = [row async for row in run([scenario], ["quantum", "tcp-cubic"], lambda *_: None)]
    assert row.failures == []
    for peer in ("quantum", "tcp-cubic"):
        (outcome,) = row.outcomes[peer]
        assert outcome.sent["lost"] > 0
        assert outcome.sent["delivered_bytes"] >= outcome.client["bytes"] > 0
    values = as_result(row)["peers"]["quantum"]["values"]
    assert 0 < values["% of link"]["median"] < 100


@pytest.mark.usefixtures("link_here")
async def test_a_flow_beside_it_has_counts_of_its_own() -> None:
    scenario = replace(SCENARIOS["fairness"], seconds=1.5, runs=1)
    (row,) = [row async for row in run([scenario], ["quantum"], lambda *_: None)]
    assert row.failures == []
    (outcome,) = row.outcomes["quantum"]
    assert outcome.beside["client"]["bytes"] > 0
    assert outcome.beside["link"]["protocol"] == 6
    assert outcome.sent["protocol"] == 17


@pytest.mark.usefixtures("link_here")
async def test_an_answer_under_loss_has_a_baseline_without() -> None:
    scenario = replace(SCENARIOS["response"], seconds=1.0, runs=1)
    (row,) = [row async for row in run([scenario], ["tcp-cubic"], lambda *_: None)]
    assert row.failures == []
    (outcome,) = row.outcomes["tcp-cubic"]
    assert min(outcome.baseline["times_us"]) > 50_000
    assert outcome.sent["lost"] + outcome.answered["lost"] > 0


def test_the_command_leaves_results_that_the_report_takes(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    arguments = ("--only", "bulk", "--peers", "quantum,tls", "--runs", "1", "--seconds", "0.2")
    done = bench(*arguments, "--json", str(target))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(target.read_text())["rows"]
    assert set(row["peers"]) == {"quantum", "tls"}
    told = bench("report", "--print", str(target))
    assert "| bulk, one stream | Quantum (asyncio) |" in told.stdout
    assert f"python -m bench {' '.join(arguments)}" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "everything"), "nothing is called 'everything'"),
        (("--peers", "pigeon"), "nothing is called 'pigeon'"),
        (("report", "/nonexistent.json"), "holds no results"),
    ],
)
def test_bad_usage_gets_one_clear_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_of_a_bench_that_is_interrupted(number: signal.Signals) -> None:
    command = ["-m", "bench", "--only", "bulk", "--peers", "tcp-cubic", "--seconds", "60"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
    )
    await until(lambda: len(_children(process.pid)) == 2, 30)
    children = _children(process.pid)
    process.send_signal(number)
    status = await process.wait()
    assert status == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    await until(lambda: not any(_is_running(pid) for pid in children), 30)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_machine_without_a_link_is_told_what_is_missing() -> None:
    # Another user than root may not make one; as root, the answer is that it can.
    done = bench("link")
    expected = "can have a link" if os.geteuid() == 0 else "run it as root"
    assert expected in done.stdout + done.stderr
