"""The verb ``quantum perf``: arguments in, a table out. Knows nothing of how it is measured."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from quantum.perf.bench import BenchError, Plan, run, steps
from quantum.perf.measures import MEASURES
from quantum.perf.peers import PEERS, load_peer
from quantum.perf.report import as_json, markdown, rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 0 done, 1 it failed, 2 bad usage."""
    options = parser().parse_args(argv)
    try:
        plan = _plan(options)
        with _progress(steps(plan), quiet=options.quiet) as advance:
            results = asyncio.run(run(plan, advance))
        _show(*rows(plan, results), plain=options.markdown)
        if options.json is not None:
            options.json.write_text(json.dumps(as_json(plan, results), indent=1) + "\n")
    except (BenchError, OSError) as error:
        sys.stderr.write(f"quantum perf: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the verb."""
    found = argparse.ArgumentParser(
        prog="quantum perf",
        description="Measure this transport beside others on loopback, each with its server and "
        "its client in processes of their own and every byte checked.",
        epilog="Ratios tell how many times better the first peer is. Numbers of one machine say "
        "nothing about another; those of one run can be compared.",
    )
    found.add_argument(
        "--peers",
        type=_names(PEERS),
        default=list(PEERS),
        metavar="A,B",
        help=f"what to measure, the one to compare with the others first (of {', '.join(PEERS)})",
    )
    found.add_argument(
        "--measures",
        type=_names(MEASURES),
        default=list(MEASURES),
        metavar="A,B",
        help=f"of {', '.join(MEASURES)}; all of them if not given",
    )
    found.add_argument("--rounds", type=_at_least_one, default=3, help="the median counts (3)")
    found.add_argument(
        "--seconds", type=_seconds, default=1.0, help="how long one run takes, about (1)"
    )
    found.add_argument(
        "--loop", choices=["asyncio", "uvloop"], default="asyncio", help="event loop, for all"
    )
    found.add_argument(
        "--cores",
        choices=["free", "apart", "one"],
        default="free",
        help="leave the two processes to the system, or pin them to two cores, or to one",
    )
    found.add_argument("--json", type=Path, metavar="FILE", help="also write every run to FILE")
    found.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    found.add_argument("--quiet", action="store_true", help="no progress")
    return found


def _plan(options: argparse.Namespace) -> Plan:
    """Return the plan; what would make the measurement useless is refused before it begins.

    Raises:
        BenchError: there is nothing to measure, or nowhere to write the outcome.
    """
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise BenchError(f"there is no folder {options.json.absolute().parent} to write to")
    if options.loop == "uvloop" and find_spec("uvloop") is None:
        raise BenchError("uvloop is not installed; `pip install quantum-gateway[fast]`")
    peers = []
    for name in options.peers:
        try:
            load_peer(name)
        except ImportError as error:
            sys.stderr.write(f"quantum perf: {name} is left out: {error}\n")
        else:
            peers.append(name)
    if not peers:
        raise BenchError("none of these peers is installed; `pip install quantum-gateway[quic]`")
    return Plan(
        peers=peers,
        measures=options.measures,
        rounds=options.rounds,
        seconds=options.seconds,
        loop=options.loop,
        cores=_cores(options.cores),
    )


def _cores(wanted: str) -> tuple[int, int] | None:
    usable = sorted(os.sched_getaffinity(0))
    if wanted == "free":
        return None
    if wanted == "one":
        return usable[0], usable[0]
    if len(usable) < 2:
        raise BenchError("--cores apart needs two cores, and this process may use one")
    return usable[0], usable[1]


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(dict.fromkeys(name.strip() for name in text.split(",")))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"nothing is called {unknown[0]!r}; known: {', '.join(known)}"
            )
        return names

    return parse


def _at_least_one(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {text!r}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 30:
        raise argparse.ArgumentTypeError(f"seconds from 0.01 to 30 are needed, not {text!r}")
    return value


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with what is being done: a bar on a terminal, lines elsewhere."""
    if quiet:
        yield lambda text: None
        return
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        except ImportError:
            pass
        else:
            columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            # Twice a second: drawing must not compete with what is measured.
            with Progress(
                *columns, console=Console(stderr=True), refresh_per_second=2, transient=True
            ) as bar:
                task = bar.add_task("starting", total=total)
                done = iter(range(total))

                def advance(text: str) -> None:
                    bar.update(task, completed=next(done), description=text)

                yield advance
            return
    count = 0

    def report(text: str) -> None:
        nonlocal count
        count += 1
        sys.stderr.write(f"[{count}/{total}] {text}\n")
        sys.stderr.flush()

    yield report


def _show(header: Sequence[str], body: Sequence[Sequence[str]], *, plain: bool) -> None:
    if sys.stdout.isatty() and not plain:
        try:
            from rich.console import Console
            from rich.table import Table
        except ImportError:
            pass
        else:
            table = Table()
            for index, title in enumerate(header):
                table.add_column(title, justify="left" if index == 0 else "right")
            for row in body:
                table.add_row(*row)
            Console().print(table)
            return
    sys.stdout.write(markdown(header, body) + "\n")
