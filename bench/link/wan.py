"""`open_link`: makes the namespaces and devices of a link, runs it, and removes all of it again."""

import asyncio
import json
import os
import re
import secrets
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
MTU = 1500
# RFC 2544's range for benchmarks; nobody outside the two namespaces ever sees it.
ADDRESSES = {"a": "198.18.0.1", "b": "198.18.0.2"}
_NAME = re.compile(r"^qbench-(\d+)-[0-9a-f]+-[ab]\b", re.M)
# What a machine remembers of a path, or does on its own, would leak from one run into the next.
_SYSCTLS = {
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",
}


class LinkError(Exception):
    """There is no link; the message says what is missing."""


def why_not() -> str | None:
    """Return why this machine cannot have a link, and how to mend that; None if it can."""
    if os.geteuid() != 0:
        return "the link makes network namespaces, which needs root; run it as root"
    if not FilePath("/dev/net/tun").exists():
        return "there is no /dev/net/tun; load the module tun, or give the container the device"
    for command, package in (("ip", "iproute2"), ("cc", "gcc")):
        if shutil.which(command) is None:
            return f"the command {command} is not there; apt-get install {package}"
    probe = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"ip cannot work with network namespaces: {probe.stderr.strip()}"
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


def sweep() -> list[str]:
    """Remove namespaces of benches that were killed before they could; return their names."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    removed = []
    for match in _NAME.finditer(listed.stdout):
        if not FilePath(f"/proc/{match[1]}").exists():
            _ip("netns", "del", match[0])
            removed.append(match[0])
    return removed


class WanLink:
    """A running link; made by `open_link`. ``a`` and ``b`` name its ends and the way from them."""

    def __init__(self, process: asyncio.subprocess.Process, namespaces: dict[str, str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._namespaces = namespaces
        self.realtime = False

    async def ready(self) -> None:
        """Wait until it carries packets. Raises LinkError when it cannot."""
        self.realtime = bool((await self._hear())["realtime"])

    def command(self, end: str) -> list[str]:
        """Return what goes before a command line to have it run at *end*."""
        return ["ip", "netns", "exec", self._namespaces[end]]

    async def set(self, forward: Path, backward: Path) -> None:
        """Set both directions: from a to b, and back."""
        for end, path in (("a", forward), ("b", backward)):
            words = " ".join(f"{name}={value!r}" for name, value in path.settings().items())
            await self._ask(f"set {end} {words}")

    async def reset(self) -> None:
        """Forget what was counted."""
        await self._ask("reset")

    async def stats(self) -> dict[str, Any]:
        """Return what was counted since, per direction and flow (see tally.c), and whether it can
        be trusted: what the devices and the receiving sockets dropped.
        """
        stats = await self._ask("stats")
        stats["devices_dropped"] = sum(self._devices_dropped())
        return stats

    def _devices_dropped(self) -> list[int]:
        return [
            int(entry["stats64"]["tx"]["dropped"])
            for name in self._namespaces.values()
            for entry in json.loads(_ip("-n", name, "-j", "-s", "link", "show", "wan"))
        ]

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
    """Make a link: two namespaces with an address each, and *forward* from a to b, *backward* from
    b to a. All of it is gone at the end, however that comes.

    Raises:
        LinkError: this machine cannot have one; the message says what is missing.
    """
    if reason := why_not():
        raise LinkError(reason)
    program = compile_link(("wan_link.c", "path.c", "tally.c"), "wan_link")
    name = f"qbench-{os.getpid()}-{secrets.token_hex(3)}"
    namespaces = {end: f"{name}-{end}" for end in ("a", "b")}
    made = []
    link = None
    try:
        for namespace in namespaces.values():
            _ip("netns", "add", namespace)
            made.append(namespace)
            _configure(namespace)
        process = await asyncio.create_subprocess_exec(
            str(program),
            *(word for end in ("a", "b") for word in (namespaces[end], "wan")),
            str(seed),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        link = WanLink(process, namespaces)
        await link.ready()
        await link.set(forward, backward)
        for end, namespace in namespaces.items():
            _raise_device(namespace, ADDRESSES[end], ADDRESSES["b" if end == "a" else "a"])
        await link.reset()
        yield link
    finally:
        if link is not None:
            await link.end()
        for namespace in made:
            _ip("netns", "del", namespace)


def _configure(namespace: str) -> None:
    lines = [f"echo {v} >/proc/sys/{k} 2>/dev/null" for k, v in _SYSCTLS.items()]
    _ip("netns", "exec", namespace, "sh", "-c", "; ".join([*lines, "true"]))
    _ip("-n", namespace, "link", "set", "lo", "up")


def _raise_device(namespace: str, own: str, other: str) -> None:
    _ip("-n", namespace, "address", "add", own, "peer", other, "dev", "wan")
    # The queue is the link's to model; the device's must never fill.
    _ip("-n", namespace, "link", "set", "wan", "up", "mtu", str(MTU), "txqueuelen", "10000")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LinkError(f"ip {' '.join(words)} failed: {done.stderr.strip() or done.stdout}")
    return done.stdout
