"""The main job, as `make run` starts it."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "demo", *arguments,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def output_of(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    return output.decode()


async def test_the_demo_ends_by_itself_and_both_sides_agree() -> None:
    process = await start("--seconds", "4", "--loss", "5%", "--delay", "10ms", "--seed", "3")
    output = await output_of(process)
    assert process.returncode == 0, output
    assert "CONVERGED: both clients and the server have the same" in output
    assert "alice over quantum" in output
    assert "bob over websocket" in output
    assert re.search(r"operations +\d+ durable", output)
    assert "\x1b" not in output


async def test_the_demo_can_stay_up_and_ends_with_ctrl_c() -> None:
    process = await start("--seconds", "1", "--loss", "0", "--delay", "1ms", "--serve")
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while "a token" not in (lines[-1] if lines else ""):
            line = (await process.stdout.readline()).decode()
            assert line, "".join(lines)
            lines.append(line)
    text = "".join(lines)
    assert re.search(r"quantum://127\.0\.0\.1:\d+\?pin=[0-9a-f]{64}", text)
    assert "ws://127.0.0.1" in text
    process.send_signal(signal.SIGINT)
    rest = await output_of(process)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest


async def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    process = await start("--seconds", "60")
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"both type" not in await process.stdout.readline():
            pass
    process.send_signal(signal.SIGINT)
    rest = await output_of(process)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    "arguments",
    [["--seconds", "0"], ["--loss", "90%"], ["--delay", "25"], ["--seed", "x"], ["--x"]],
)
async def test_wrong_options_give_one_sentence_and_status_2(arguments: list[str]) -> None:
    process = await start(*arguments)
    output = await output_of(process)
    assert process.returncode == 2
    assert output.count("\n") == 1
    assert "--help" in output
