"""`open_link`: compiles the program that is the link, runs it, and talks with it."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

from bench.link.path import Path
from bench.peers.program import CACHE

SOURCES = FilePath(__file__).parent
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
LINK_SOURCES = ("wan_link.c", "path.c", "tally.c", "room.c")
MTU = 1500
# RFC 2544's range for benchmarks; nobody outside the two namespaces ever sees it.
ADDRESSES = {"a": "198.18.0.1", "b": "198.18.0.2"}


class LinkError(Exception):
    """There is no link; the message says what is missing."""


def why_not() -> str | None:
    """Return why this machine cannot have a link, and how to mend that; None if it can."""
    if os.geteuid() != 0:
        return "the link makes network namespaces, which needs root; run it as root"
    if not FilePath("/dev/net/tun").exists():
        return "there is no /dev/net/tun; load the module tun, or give the container the device"
    for command, package in (("nsenter", "util-linux"), ("cc", "gcc")):
        if shutil.which(command) is None:
            return f"the command {command} is not there; apt-get install {package}"
    return None


def compile_link(sources: tuple[str, ...], out: str, *flags: str) -> FilePath:
    """Compile C files of this folder into the cache unless that was done; return the result.

    Raises:
        LinkError: there is no compiler, or it found something.
    """
    files = [SOURCES / name for name in sources]
    made = CACHE / "bin" / out
    newest = max(path.stat().st_mtime for path in SOURCES.glob("*.[ch]"))
    if made.exists() and made.stat().st_mtime > newest:
        return made
    if shutil.which("cc") is None:
        raise LinkError("the command cc is not there; apt-get install gcc")
    made.parent.mkdir(parents=True, exist_ok=True)
    # Whoever compiles at the same time sees the old one or the new one, never half of one.
    draft = made.with_name(f"{out}.{os.getpid()}")
    command = ["cc", *FLAGS, *flags, "-o", str(draft), *map(str, files), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LinkError(f"{' '.join(command)} failed:\n{done.stderr}")
    draft.replace(made)
    return made


class WanLink:
    """A running link; made by `open_link`. ``a`` and ``b`` name its ends and the way from them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._doors: dict[str, str] = {}

    async def ready(self) -> None:
        """Wait until it carries packets. Raises LinkError when it cannot."""
        heard = await self._hear()
        self._doors = {end: f"/proc/{self._process.pid}/fd/{heard[end]}" for end in ADDRESSES}

    def command(self, end: str) -> list[str]:
        """Return what goes before a command line to have it run at *end*."""
        return ["nsenter", f"--net={self._doors[end]}"]

    async def set(self, forward: Path, backward: Path) -> None:
        """Set both directions: from a to b, and back."""
        for end, path in (("a", forward), ("b", backward)):
            words = " ".join(f"{name}={value!r}" for name, value in path.settings().items())
            await self._ask(f"set {end} {words}")

    async def reset(self) -> None:
        """Forget what was counted."""
        await self._ask("reset")

    async def stats(self) -> dict[str, Any]:
        """Return what was counted since, per direction and flow (see tally.c), and what the devices
        dropped since the link began, which spoils a run.
        """
        return await self._ask("stats")

    async def _ask(self, line: str) -> dict[str, Any]:
        self._input.write(line.encode() + b"\n")
        return await self._hear()

    async def _hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line = await self._output.readline()
        if not line:
            raise LinkError("the link has ended")
        heard: dict[str, Any] = json.loads(line)
        if "error" in heard:
            raise LinkError(f"the link failed: {heard['error']}")
        return heard

    async def end(self) -> None:
        """End it; its devices go with it."""
        self._input.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def open_link(forward: Path, backward: Path, seed: int = 1) -> AsyncIterator[WanLink]:
    """Make a link between two network namespaces without names: *forward* from a to b, *backward*
    from b to a. All of it is gone when the processes in it are, however they end.

    Raises:
        LinkError: this machine cannot have one; the message says what is missing.
    """
    if reason := why_not():
        raise LinkError(reason)
    program = await asyncio.to_thread(compile_link, LINK_SOURCES, "wan_link")
    process = await asyncio.create_subprocess_exec(
        str(program),
        *ADDRESSES.values(),
        str(seed),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    link = WanLink(process)
    try:
        await link.ready()
        await link.set(forward, backward)
        await link.reset()
        yield link
    finally:
        await link.end()
