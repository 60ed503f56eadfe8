"""``quantum ping`` against a real server, a wrong pin, and nobody."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

import quantum
from quantum import ping

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


async def idle(connection: quantum.Connection) -> None:
    await connection.wait_closed()


async def run(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "quantum",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def test_ping_shows_each_handshake_and_a_summary() -> None:
    identity = quantum.Identity.generate()
    async with await quantum.serve(idle, "127.0.0.1", 0, identity=identity) as listener:
        status, out, error = await run(
            "ping", f"127.0.0.1:{listener.port}", "--pin", identity.pin, "--interval", "0.01"
        )
    assert (status, error) == (0, "")
    *attempts, summary = out.splitlines()
    assert len(attempts) == 4
    assert all("handshake" in line and "round trip" in line for line in attempts)
    assert summary.startswith("4 of 4 connected")


async def test_ping_of_a_server_with_another_pin_fails_in_one_sentence() -> None:
    other = quantum.Identity.generate().pin
    lines: list[str] = []
    identity = quantum.Identity.generate()
    async with await quantum.serve(idle, "127.0.0.1", 0, identity=identity) as listener:
        status = await ping.run(
            f"127.0.0.1:{listener.port}",
            other,
            count=1,
            interval_s=0.01,
            timeout_s=1.0,
            say=lines.append,
        )
    assert status == 1
    assert len(lines) == 2
    assert "0 of 1 connected" in lines[1]


async def test_ping_of_nobody_ends_in_time() -> None:
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        status = await ping.run(
            f"127.0.0.1:{silent.getsockname()[1]}",
            quantum.Identity.generate().pin,
            count=1,
            interval_s=0.01,
            timeout_s=0.3,
            say=lines.append,
        )
    assert status == 1
    assert "no:" in lines[0]
