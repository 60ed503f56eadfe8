"""``python -m bench``: measure, report, look after the link. Knows nothing of how that is done."""

import argparse
import asyncio
import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.children import RunError
from bench.link import LinkError, why_not
from bench.link.check import check_link
from bench.machine import describe
from bench.micro.rows import MICROS, run_micro
from bench.peers.program import ROOT, BuildError, NativeProgram
from bench.peers.registry import PEERS
from bench.plots import PlotError, draw
from bench.progress import progress
from bench.report import DOCUMENT, markdown, write_document
from bench.results import ResultsError, as_result, merge
from bench.runner import present, run
from bench.scenarios import DEFAULT_GROUPS, GROUPS, SCENARIOS, Scenario

RESULTS = ROOT / "bench" / "results"
QUICK_RUNS, QUICK_SECONDS = 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit status: 0 done, 1 it failed, 2 bad usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help"}):
        arguments.insert(0, "run")
    options = _parser().parse_args(arguments)
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "report": _report,
        "link": _link,
        "build": _build,
        "list": _list,
    }
    try:
        return verbs[options.verb](options)
    except (RunError, LinkError, ResultsError, BuildError, PlotError, OSError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure this transport beside others, on loopback and on a bad link.",
        epilog="Without a verb: run. Ratios within one run mean something; numbers of one machine "
        "say nothing about another. Measure on a machine that does nothing else.",
    )
    verbs = found.add_subparsers(dest="verb", required=True)
    doing = verbs.add_parser("run", help="measure (what is done without a verb)")
    doing.add_argument(
        "--only",
        type=_names,
        metavar="A,B",
        help=f"scenarios (see list) or groups: {', '.join(GROUPS)}",
    )
    doing.add_argument("--peers", type=_names, metavar="A,B", help="instead of each row's own")
    doing.add_argument("--runs", type=int, metavar="N", help="of each peer; the median counts (5)")
    doing.add_argument("--seconds", type=float, metavar="S", help="of one run")
    doing.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="at least so many runs on bad links at the same time; 1: none together",
    )
    doing.add_argument(
        "--quick", action="store_true", help="two short runs: does it work, not how fast is it"
    )
    doing.add_argument("--json", type=Path, metavar="FILE", help="where the results go")
    doing.add_argument("--write", action="store_true", help="also write docs/performance.md")
    doing.add_argument("--quiet", action="store_true", help="no progress")
    telling = verbs.add_parser("report", help="write docs/performance.md from results")
    telling.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    telling.add_argument("--print", action="store_true", help="print it instead")
    linking = verbs.add_parser("link", help="look after the bad link")
    linking.add_argument("--check", action="store_true", help="measure it from outside")
    linking.add_argument("--seed", type=int, default=1)
    verbs.add_parser("build", help="build the peers in other languages")
    verbs.add_parser("list", help="what can be measured, and which peers are here")
    return found


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


# ---- run ----


def _chosen(options: argparse.Namespace) -> tuple[list[Scenario], list[str]]:
    """Return the scenarios and the names of micro rows to measure.

    Raises:
        RunError: nothing is called so.
    """
    wanted = options.only or list(DEFAULT_GROUPS)
    known = {"only": {*GROUPS, *SCENARIOS, *MICROS}, "peers": {*PEERS}}
    for option, names in known.items():
        if unknown := [name for name in getattr(options, option) or () if name not in names]:
            raise RunError(f"nothing is called {unknown[0]!r}; python -m bench list has the names")
    scenarios = [s for s in SCENARIOS.values() if s.name in wanted or s.group in wanted]
    micros = [name for name in MICROS if name in wanted or "micro" in wanted]
    return [_adjusted(s, options) for s in scenarios], micros


def _adjusted(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    if options.quick:
        scenario = replace(
            scenario,
            runs=min(scenario.runs, QUICK_RUNS),
            seconds=min(scenario.seconds, QUICK_SECONDS),
            count=min(scenario.count, 500),
        )
    if options.runs:
        scenario = replace(scenario, runs=options.runs)
    if options.seconds:
        scenario = replace(scenario, seconds=options.seconds)
    if options.at_once and scenario.forward is not None:
        # More where it was less, since some rows go together by design; one is one for all.
        most = max(scenario.at_once, options.at_once) if options.at_once > 1 else 1
        scenario = replace(scenario, at_once=most)
    return scenario


def _run(options: argparse.Namespace) -> int:
    scenarios, micros = _chosen(options)
    on_links = [s for s in scenarios if s.forward is not None]
    if on_links and (reason := why_not()):
        raise LinkError(f"{reason} (or leave these rows out: --only loopback,micro)")
    total = sum(
        s.expected_seconds(len(present(options.peers or s.peers, s.task)[0])) for s in scenarios
    ) + sum(MICROS[n].seconds * (options.runs or MICROS[n].runs) for n in micros)
    sys.stderr.write(f"{len(scenarios) + len(micros)} rows, about {total / 60:.0f} minutes\n")
    machine, began = describe(), time.monotonic()
    rows: list[dict[str, Any]] = []
    target = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    target.parent.mkdir(parents=True, exist_ok=True)

    def save(more: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Write what there is so far: an interrupt costs one row."""
        rows.extend(more)
        result = {
            "commands": ["python -m bench " + shlex.join(_arguments(options))],
            "machine": machine,
            "seconds": round(time.monotonic() - began),
            "versions": _versions(dict.fromkeys(name for row in rows for name in row["peers"])),
            "rows": rows,
        }
        target.write_text(json.dumps(result, indent=1) + "\n")
        return result

    with progress(max(1.0, total), quiet=options.quiet) as advance:

        async def measure() -> None:
            me = asyncio.current_task()
            assert me is not None
            # As an interrupt does: end in order, with nothing left behind.
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, me.cancel)
            async for row in run(scenarios, options.peers, advance):
                save([as_result(row)])
            runs = QUICK_RUNS if options.quick else options.runs
            save(await run_micro([MICROS[name] for name in micros], runs, advance))

        try:
            asyncio.run(measure())
        except* (RunError, LinkError) as group:
            raise group.exceptions[0] from None
    result = save([])
    print(markdown(result))
    sys.stderr.write(f"results: {target}\n")
    if options.write:
        _write(result)
    return 1 if any(row["failures"] for row in rows) else 0


def _arguments(options: argparse.Namespace) -> list[str]:
    """Return the arguments that made these numbers, without those that only say where they go."""
    words = ["--quick"] if options.quick else []
    for name in ("only", "peers"):
        if value := getattr(options, name):
            words += [f"--{name}", ",".join(value)]
    for name in ("runs", "seconds", "at_once"):
        if value := getattr(options, name):
            words += [f"--{name.replace('_', '-')}", f"{value:g}"]
    return words


def _versions(names: Sequence[str] | dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        if name in PEERS:
            found |= PEERS[name].program.versions()
    return found


# ---- the other verbs ----


def _report(options: argparse.Namespace) -> int:
    result = merge(options.files)
    if options.print:
        print(markdown(result))
    else:
        _write(result)
    return 0


def _write(result: dict[str, Any]) -> None:
    plots = [
        (title, str(path.relative_to(DOCUMENT.parent)))
        for title, path in draw(result, DOCUMENT.parent / "images")
    ]
    write_document(markdown(result, plots))
    sys.stderr.write(f"written: {DOCUMENT.relative_to(ROOT)}\n")


def _link(options: argparse.Namespace) -> int:
    if reason := why_not():
        raise LinkError(reason)
    if not options.check:
        print("this machine can have a link")
        return 0

    async def check() -> int:
        broken = 0
        async for finding in check_link(options.seed):
            broken += not finding.kept
            mark = "ok   " if finding.kept else "WRONG"
            asked = f", asked {finding.asked}" if finding.asked else ""
            print(f"{mark} {finding.what}: {finding.measured}{asked}", flush=True)
        return broken

    return 1 if asyncio.run(check()) else 0


def _build(_: argparse.Namespace) -> int:
    programs: dict[tuple[str, tuple[str, ...]], NativeProgram] = {}
    for peer in PEERS.values():
        if isinstance(peer.program, NativeProgram):
            programs.setdefault((peer.program.folder, peer.program.build), peer.program)
    if not programs:
        print("no peer needs to be built")
    failed = 0
    for number, program in enumerate(programs.values()):
        sys.stderr.write(f"[{number + 1}/{len(programs)}] {' '.join(program.build)}\n")
        try:
            program.make()
        except BuildError as error:
            failed += 1
            sys.stderr.write(f"bench: {program.folder}: {error}\n")
    return 1 if failed else 0


def _list(_: argparse.Namespace) -> int:
    minutes_of = dict.fromkeys(GROUPS, 0.0)
    for scenario in SCENARIOS.values():
        found, _missing = present(scenario.peers, scenario.task)
        minutes = scenario.expected_seconds(len(found)) / 60
        minutes_of[scenario.group] += minutes
        peers = ", ".join(peer.name for peer in found)
        print(
            f"{scenario.name:20} {scenario.group:9} {minutes:4.1f} min  {scenario.title}: {peers}"
        )
    for micro in MICROS.values():
        minutes = micro.seconds * micro.runs / 60
        minutes_of["micro"] += minutes
        print(f"{micro.name:20} {'micro':9} {minutes:4.1f} min  {micro.title}")
    print()
    for group, minutes in minutes_of.items():
        note = "" if group in DEFAULT_GROUPS else ", only when asked for"
        print(f"{group:9} {minutes:3.0f} min{note}")
    print()
    for peer in PEERS.values():
        print(f"{peer.name:20} {peer.title}: {peer.program.missing() or 'here'}")
    return 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
