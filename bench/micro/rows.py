"""The rows of the report that need no peer process: the programs of this folder, run in turns."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import RunError
from bench.results import OURS, Result, judge, spread
from bench.scenarios import Bar

RUN_S = 120.0


@dataclass(frozen=True, slots=True)
class Micro:
    """A program of this folder that writes ``{peer: {value: number}}`` or ``{peer: number}``."""

    name: str
    title: str
    program: str
    value: str
    unit: str
    more_is_better: bool
    bars: tuple[Bar, ...]
    seconds: float
    peers: dict[str, str]
    runs: int = 5


_ISAL = "ISA-L (Debian: libisal2)"
MICROS = {
    micro.name: micro
    for micro in (
        Micro(
            "rs-encode",
            "Reed-Solomon 10 + 3, 1,200 bytes, encode",
            "bench_reed_solomon.py",
            "encode",
            "GB/s",
            True,
            (Bar("GB/s", 0.9, 1.1, against="isa-l"),),
            4.0,
            {"quantum": "Quantum", "isa-l": _ISAL},
        ),
        Micro(
            "rs-decode",
            "Reed-Solomon 10 + 3, 1,200 bytes, decode of 3 lost",
            "bench_reed_solomon.py",
            "decode",
            "GB/s",
            True,
            (Bar("GB/s", 1.5, 3, against="isa-l"),),
            4.0,
            {"quantum": "Quantum", "isa-l": _ISAL},
        ),
        Micro(
            "handshake-core",
            "handshakes, one core: the server's share, without sockets",
            "bench_handshakes.py",
            "",
            "1/s",
            True,
            (Bar("1/s", 2000, 4000),),
            6.0,
            {
                "quantum": "Quantum",
                "both": "both ends of it on this core",
                "process": "its server's process, with sockets, a request and the end",
            },
        ),
        Micro(
            "uuid",
            "UUIDv7 from Python",
            "bench_guuid.py",
            "",
            "ns",
            False,
            (Bar("ns", 120, 60, at_most=True),),
            1.0,
            {"quantum": "quantum.guuid", "uuid_utils": "uuid_utils (Rust)"},
        ),
    )
}


async def run_micro(
    micros: Sequence[Micro], runs: int | None, advance: Callable[[str, float], None]
) -> list[Result]:
    """Return the rows.

    Raises:
        RunError: a program failed.
    """
    rows = []
    for micro in micros:
        columns: dict[str, list[float]] = {}
        for number in range(runs or micro.runs):
            found = await _once(micro)
            for peer, value in found.items():
                columns.setdefault(peer, []).append(value)
            advance(
                f"{micro.name}, run {number + 1}: {found[OURS]:.4g} {micro.unit}", micro.seconds
            )
        rows.append(_row(micro, columns))
    return rows


async def _once(micro: Micro) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "found.json")
        command = [str(Path(__file__).with_name(micro.program)), "--json", str(target)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(RUN_S):
                _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise RunError(f"{micro.program} failed: {said.decode(errors='replace').strip()}")
        heard: dict[str, Any] = json.loads(await asyncio.to_thread(target.read_text))
    values = {peer: of[micro.value] if micro.value and of else of for peer, of in heard.items()}
    return {peer: float(value) for peer, value in values.items() if value is not None}


def _row(micro: Micro, columns: dict[str, list[float]]) -> Result:
    peers = {
        peer: {
            "title": micro.peers[peer],
            "encrypted": True,
            "notes": "",
            "values": spread({micro.unit: value} for value in column),
            "distribution": [],
            "runs": [{"values": {micro.unit: value}, "doubts": []} for value in column],
        }
        for peer, column in columns.items()
    }
    judged = [judge(bar, peers, micro.more_is_better) for bar in micro.bars]
    absent = {name: f"{title} is not installed" for name, title in micro.peers.items()}
    return {
        "name": micro.name,
        "title": micro.title,
        "group": "micro",
        "task": "micro",
        "seconds": micro.seconds,
        "more_is_better": micro.more_is_better,
        "pooled": False,
        "loss": 0.0,
        "peers": peers,
        "bars": [bar for bar in judged if bar],
        "missing": {name: why for name, why in absent.items() if name not in peers},
        "failures": [],
    }
