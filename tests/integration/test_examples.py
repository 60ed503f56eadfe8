"""Every example runs as its docstring says."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.process import GatewayProcess

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_echo_brings_back_what_was_sent() -> None:
    assert run("echo.py").startswith("hello (round trip ")


def test_echo_says_in_one_sentence_that_nobody_is_there() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "echo.py"), "connect", "nowhere", "--pin", "00"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("echo: ")
    assert done.stderr.count("\n") == 1


def test_an_embedded_gateway_shares_its_services() -> None:
    assert run("embedded.py") == "Dear all, hello from inside.\n"


def test_cursors_are_seen_and_dots_are_kept() -> None:
    said = run("shared_cursor.py", "--seconds", "1.5")
    assert "both boards are the same" in said
    assert "alice saw" in said


def test_a_store_of_ones_own_keeps_and_notes_every_operation() -> None:
    lines = run("custom_store.py").splitlines()
    assert lines[:3] == [f"version {n} is kept (D2)" for n in (1, 2, 3)]
    assert [json.loads(line)["version"] for line in lines[3:]] == [1, 2, 3]


def test_a_strategy_of_ones_own_decides() -> None:
    said = run("custom_strategy.py")
    assert "pushed aside: [90]" in said
    assert said.endswith("the bid that stands: 120\n")


async def test_two_people_chat(tmp_path: Path) -> None:
    async with GatewayProcess(tmp_path / "data", store="memory") as gateway:
        people = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "examples" / "chat.py"),
                gateway.urls[door],
                "--user",
                user,
                env=ENVIRONMENT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for user, door in (("alice", "quantum"), ("bob", "websocket"))
        ]
        async with asyncio.timeout(30):
            for person in people:
                assert person.stdout is not None
                assert b"an empty line leaves" in await person.stdout.readline()
            alice, bob = people
            assert alice.stdin is not None
            assert bob.stdin is not None
            assert bob.stdout is not None
            alice.stdin.write("hello bob \U0001f44b\n".encode())
            assert await bob.stdout.readline() == "alice: hello bob \U0001f44b\n".encode()
            for person in people:
                assert person.stdin is not None
                person.stdin.write(b"\n")
                assert await person.wait() == 0
