"""Processes that the bench starts: a server that serves until it is let go, a client that answers
once. None outlives the bench.
"""

import asyncio
import ctypes
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers.program import ROOT

START_S = 30.0
END_S = 5.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_LINE_BYTES = 64 << 20
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class RunError(Exception):
    """A run could not be made or its content was wrong; the message says which and why."""


class Child:
    """A running program that prints lines of JSON."""

    def __init__(self, title: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._title = title
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._last_words: list[str] = []

    async def hear(self, patience_s: float) -> dict[str, Any]:
        """Return its next line.

        Raises:
            RunError: it says nothing for *patience_s* s, says what went wrong, or has ended.
        """
        try:
            async with asyncio.timeout(patience_s):
                line = await self._output.readline()
        except TimeoutError:
            raise RunError(f"{self._title} has said nothing for {patience_s:g} s") from None
        if not line:
            raise RunError(f"{self._title} has ended: {await self._complaint()}")
        try:
            heard = json.loads(line)
        except ValueError:
            raise RunError(f"{self._title} says what is no JSON: {line[:200]!r}") from None
        if not isinstance(heard, dict) or "error" in heard:
            raise RunError(f"{self._title}: {heard['error'] if isinstance(heard, dict) else heard}")
        return heard

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def memory(self) -> int:
        """Return the bytes that it has resident."""
        return int(self._proc("statm").split()[1]) * _PAGE_BYTES

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    async def end(self) -> None:
        """Let go of it: its input ends; if it does not end too, it is killed."""
        self._input.close()
        try:
            async with asyncio.timeout(END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _complaint(self) -> str:
        if self._process.stderr is None:
            return "no reason given"
        said = (await self._process.stderr.read()).decode(errors="replace").strip()
        return said.rpartition("\n")[2] or f"exit status {await self._process.wait()}"


def _prepare(cores: frozenset[int] | None) -> None:
    """Run in the child before its program: it ends with the bench, even when that is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if cores:
        os.sched_setaffinity(0, cores)


@asynccontextmanager
async def child(
    title: str, command: Sequence[str], cores: frozenset[int] | None = None
) -> AsyncIterator[Child]:
    """Run *command*, on *cores* only if they are given, and end it at the end of the block.

    Raises:
        RunError: it cannot be started.
    """
    # As this process finds the package, so must they.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            limit=_LINE_BYTES,
            preexec_fn=partial(_prepare, cores),
            # An interrupt is for the bench, which then ends them in order.
            start_new_session=True,
        )
    except OSError as error:
        raise RunError(f"{title} cannot be started: {error}") from None
    started = Child(title, process)
    try:
        yield started
    finally:
        await started.end()
