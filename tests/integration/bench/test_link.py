"""The bad link as others meet it: two namespaces with real packets between them."""

import asyncio
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from bench.link import Path, open_link
from bench.link.check import CHECKS, Check, Finding, run_check
from bench.link.wan import ADDRESSES

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("link_here")]
# Delays are real here, and what else the machine does adds to them.
ATTEMPTS = 3


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.title))
async def test_the_link_does_what_it_is_asked_to(check: Check) -> None:
    broken: list[Finding] = []
    for seed in range(1, ATTEMPTS + 1):
        findings = [f async for f in run_check(replace(check, count=check.count // 2), seed)]
        assert findings
        broken = [finding for finding in findings if not finding.kept]
        if not broken:
            return
    pytest.fail(f"after {ATTEMPTS} attempts: {broken}")


async def test_a_link_and_its_namespaces_end_with_it() -> None:
    async with open_link(Path(), Path()) as link:
        doors = [FilePath(link.command(end)[-1].removeprefix("--net=")) for end in ADDRESSES]
        assert all(door.exists() for door in doors)
    assert not any(door.exists() for door in doors)


async def test_two_links_do_not_meet() -> None:
    async with open_link(Path(loss=1), Path()) as closed, open_link(Path(), Path()) as free:
        probe = ["python3", "-c", _CONNECT, ADDRESSES["b"]]
        refused = await _ended(*free.command("a"), *probe)
        silent = await _ended(*closed.command("a"), *probe)
        assert refused == "ConnectionRefusedError"
        assert silent == "TimeoutError"
        assert (await closed.stats())["a"]["lost"] > 0
        assert (await free.stats())["a"]["lost"] == 0


async def test_what_runs_at_an_end_has_no_other_way_out() -> None:
    async with open_link(Path(), Path()) as link:
        assert await _ended(*link.command("a"), "python3", "-c", _CONNECT, "127.0.0.2") == (
            "ConnectionRefusedError"
        )
        assert await _ended(*link.command("a"), "python3", "-c", _CONNECT, "192.0.2.1") == "OSError"


async def test_settings_can_change_while_it_runs() -> None:
    async with open_link(Path(), Path()) as link:
        await link.set(Path(loss=1), Path())
        probe = ["python3", "-c", _CONNECT, ADDRESSES["b"]]
        assert await _ended(*link.command("a"), *probe) == "TimeoutError"
        await link.reset()
        assert (await link.stats())["a"]["packets"] == 0


_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 0.5)
except OSError as error:
    print(type(error).__name__)
"""


async def _ended(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode().strip()
