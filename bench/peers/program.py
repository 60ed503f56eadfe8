"""How a peer's program is found, built and called. Knows no peer and no task.

Every peer is a program of two verbs, ``serve`` and ``run TASK`` (see ``bench/peers/README.md``),
so that a peer can be written in any language.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
# Where compiled programs go; git ignores build/.
CACHE = ROOT / "build" / "bench"

TASKS = ("bulk", "messages", "request", "realtime", "response", "handshake", "hold")


class Program(Protocol):
    """Something that can be started with ``serve ...`` or ``run TASK ...`` appended."""

    def command(self) -> list[str]:
        """Return the command line that the verb and its options are appended to."""

    def missing(self) -> str | None:
        """Return why it cannot be run on this machine and how to mend that, or None."""

    def versions(self) -> dict[str, str]:
        """Return the versions of what is measured, by name."""


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """A module of ours that is run by this interpreter.

    Args:
        module: what ``python -m`` is given, for example ``bench.peers.tcp``.
        distributions: names of the packages that it needs, as pip knows them.
        arguments: what comes before the verb, for example ``("--loop", "uvloop")``.
        extra: the optional dependency group of this project that installs them.
        install: how to install them where the group cannot; empty is the group.
        also: further versions worth knowing, asked for when the report is written.
    """

    module: str
    distributions: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    extra: str = "bench-peers"
    install: str = ""
    also: Callable[[], dict[str, str]] = field(default=dict)

    def command(self) -> list[str]:
        """Return the command line; see `Program`."""
        return [sys.executable, "-m", self.module, *self.arguments]

    def missing(self) -> str | None:
        """Return which package is not installed; see `Program`."""
        for name in self.distributions:
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                how = self.install or f"pip install 'quantum-gateway[{self.extra}]'"
                return f"{name} is not installed; {how}"
        return None

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages and of Python; see `Program`."""
        python = {"Python": ".".join(map(str, sys.version_info[:3]))}
        return python | {name: metadata.version(name) for name in self.distributions} | self.also()


@dataclass(frozen=True, slots=True)
class NativeProgram:
    """A program that a tool (go, cargo, cc) makes from a folder of ours.

    Args:
        file: its name; it is made as ``build/bench/bin/FILE``.
        tool: the command that must be there to build it, for example ``go``.
        folder: where to build, relative to the root of the project.
        build: the command line that builds; ``{bin}`` is the folder for programs and ``{cache}``
            one for intermediate files, both absolute. Programs of the same folder and command are
            built once.
        needs: versions of what is measured, by name, as the lock file pins them.
        arguments: what comes before the verb.
        environment: what is added to the environment of the build, with the same names.
    """

    file: str
    tool: str
    folder: str
    build: tuple[str, ...]
    needs: Callable[[], dict[str, str]] = field(default=dict)
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> Path:
        """Where the program is, once built."""
        return CACHE / "bin" / self.file

    def command(self) -> list[str]:
        """Return the command line; see `Program`."""
        return [str(self.path), *self.arguments]

    def missing(self) -> str | None:
        """Return what is missing; see `Program`."""
        if self.path.exists():
            return None
        if shutil.which(self.tool) is None:
            return (
                f"{self.tool} is not installed, which builds bench/{self.file} from {self.folder}"
            )
        return f"{self.file} is not built; python -m bench build"

    def versions(self) -> dict[str, str]:
        """Return the pinned versions; see `Program`."""
        return self.needs()

    def make(self) -> None:
        """Build it.

        Raises:
            BuildError: the tool is not there, or it failed; the message holds what it said.
        """
        if shutil.which(self.tool) is None:
            raise BuildError(f"{self.tool} is not installed")
        places = {"bin": str(CACHE / "bin"), "cache": str(CACHE / "cache")}
        for place in places.values():
            Path(place).mkdir(parents=True, exist_ok=True)
        added = {name: value.format(**places) for name, value in self.environment}
        done = subprocess.run(
            [part.format(**places) for part in self.build],
            cwd=ROOT / self.folder,
            env={**os.environ, **added},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(f"{' '.join(self.build)} failed:\n{done.stdout}{done.stderr}")


class BuildError(Exception):
    """A peer could not be built; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One line of the comparison: a program, how it is called, and what must be known to be fair.

    Args:
        name: how the command line and the report call it, for example ``quic-go`` or ``tcp-bbr``.
        title: what the report's legend says.
        program: what is run.
        tasks: which of `TASKS` it can do.
        congestion: given as ``--congestion`` to both verbs, unless empty.
        profile: given as ``--profile`` to both verbs, unless empty; a scenario's own goes before.
        takes_profile: whether it knows the scenarios' profiles (``loopback``, ``wan``,
            ``realtime``), which are then passed on.
        protocol: ``udp`` or ``tcp``; how its packets are told from others on the link.
        full_packet: (payload, IP bytes) of a full packet of bulk. Its quotient is the share of the
            link that content can have at most. A program that knows better says so in its result:
            ``"stats": {"full_packet": [payload, bytes]}``.
        encrypted: whether what it sends is encrypted and authenticated.
        notes: what makes it differ from the others, for the report.
    """

    name: str
    title: str
    program: Program
    tasks: frozenset[str]
    congestion: str = ""
    profile: str = ""
    takes_profile: bool = False
    protocol: str = "udp"
    full_packet: tuple[int, int] = (1448, 1500)
    encrypted: bool = True
    notes: str = ""

    def serve(self, address: str, port: int, profile: str = "") -> list[str]:
        """Return the command line of its server."""
        where = ["--listen", f"{address}:{port}"]
        return [*self.program.command(), "serve", *where, *self._options(profile)]

    def run(
        self, task: str, address: str, port: int, offer: str, options: list[str], profile: str = ""
    ) -> list[str]:
        """Return the command line of its client; *offer* is what the server printed."""
        where = ["--connect", f"{address}:{port}", "--offer", offer]
        return [*self.program.command(), "run", task, *where, *options, *self._options(profile)]

    def _options(self, profile: str) -> list[str]:
        chosen = (profile if self.takes_profile else "") or self.profile
        options = ["--congestion", self.congestion] if self.congestion else []
        return [*options, "--profile", chosen] if chosen else options
