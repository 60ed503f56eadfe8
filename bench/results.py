"""What a run of the bench leaves behind: one JSON value, from which the report is made."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.measures import Values, realtime_delays
from bench.outcome import Outcome
from bench.peers.registry import PEERS
from bench.runner import Row
from bench.scenarios import Bar, Scenario

OURS = "quantum"
# Where a distribution is kept: every 0.5 %, and the tail more finely.
SHARES = (*(n / 200 for n in range(200)), 0.996, 0.997, 0.998, 0.999, 0.9995, 0.9999)
_LONG = ("delays_us", "latencies_us", "times_us")

Result = dict[str, Any]


class ResultsError(Exception):
    """Files of results cannot be used together; the message says why."""


def as_result(row: Row) -> Result:
    """Return a scenario's runs as JSON has them."""
    scenario = row.scenario
    peers = {name: _peer(scenario, name, row.outcomes[name]) for name in row.peers}
    return {
        "name": scenario.name,
        "title": scenario.title,
        "group": scenario.group,
        "task": scenario.task,
        "seconds": scenario.seconds,
        "more_is_better": scenario.more_is_better,
        "pooled": scenario.is_pooled,
        "loss": scenario.forward.loss if scenario.forward else 0.0,
        "peers": peers,
        "bars": [
            judged
            for bar in scenario.bars
            if (judged := judge(bar, peers, scenario.more_is_better))
        ],
        "missing": row.missing,
        "failures": [[f.peer, f.seed, f.reason] for f in row.failures],
    }


def judge(bar: Bar, peers: dict[str, Any], more_is_better: bool) -> Result:
    """Return how Quantum stands to a bar; nothing when one side of it was not measured."""
    ours, theirs = peers.get(OURS), peers.get(bar.against)
    if ours is None or (bar.against and theirs is None) or bar.value not in ours["values"]:
        return {}
    measured = ours["values"][bar.value]["median"]
    if theirs is not None:
        measured = ratio(measured, theirs["values"][bar.value]["median"], more_is_better)
    return {
        "value": bar.value,
        "against": bar.against,
        "at_most": bar.at_most,
        "bar": bar.bar,
        "aim": bar.aim,
        "measured": measured,
        "met": bar.is_met(measured),
        "aimed": bar.is_met(measured, aim=True),
    }


def ratio(ours: float, theirs: float, more_is_better: bool) -> float:
    """Return how many times better *ours* is."""
    over, under = (ours, theirs) if more_is_better else (theirs, ours)
    return over / under if under else float("inf")


def merge(files: Sequence[Path]) -> Result:
    """Return the results of several files as one; of a scenario in two of them, the later counts.

    Raises:
        ResultsError: a file holds no results, or they are of different machines.
    """
    found: list[Result] = []
    for path in files:
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise ResultsError(f"{path} holds no results: {error}") from None
        if "rows" not in found[-1]:
            raise ResultsError(f"{path} holds no results of this bench")
    parts = {(f["machine"]["processor"], f["machine"]["kernel"]) for f in found}
    if len(parts) > 1:
        raise ResultsError("numbers of different machines do not belong in one report")
    rows: dict[str, Result] = {}
    for one in found:
        for row in one["rows"]:
            rows[row["name"]] = row
    versions = {name: value for one in found for name, value in one["versions"].items()}
    commands = list(dict.fromkeys(command for one in found for command in one["commands"]))
    whole = found[-1] | {"rows": list(rows.values()), "versions": versions, "commands": commands}
    whole["seconds"] = sum(one["seconds"] for one in found)
    return whole


def _peer(scenario: Scenario, name: str, outcomes: list[Outcome]) -> Result:
    runs = [scenario.judge([outcome]) for outcome in outcomes]
    values = spread(runs)
    if scenario.is_pooled:
        # The percentiles of all samples; the runs' own show how far they scatter.
        for value, all_together in scenario.judge(outcomes).items():
            values[value]["median"] = all_together
    return {
        "title": PEERS[name].title,
        "encrypted": PEERS[name].encrypted,
        "notes": PEERS[name].notes,
        "values": values,
        "distribution": _distribution(outcomes),
        "runs": [_run(o, v) for o, v in zip(outcomes, runs, strict=True)],
    }


def spread(runs: Iterable[Values]) -> dict[str, dict[str, float]]:
    """Return median, least and most of each value."""
    columns: dict[str, list[float]] = {}
    for values in runs:
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return {
        name: {"median": statistics.median(column), "min": min(column), "max": max(column)}
        for name, column in columns.items()
    }


def _distribution(outcomes: list[Outcome]) -> list[list[float]]:
    """Return [share, us] points of all samples; nothing where a task has none."""
    client = outcomes[0].client
    if "delays_us" in client:
        samples = realtime_delays(outcomes)
    else:
        names = [name for name in _LONG if name in client]
        samples = [time for o in outcomes for name in names for time in o.client[name]]
    if not samples:
        return []
    samples.sort()
    return [[share, round(samples[int(len(samples) * share)], 1)] for share in SHARES]


def _run(outcome: Outcome, values: Values) -> Result:
    client = {name: value for name, value in outcome.client.items() if name not in _LONG}
    return {
        "seed": outcome.seed,
        "values": values,
        "client": client,
        "sent": outcome.sent,
        "answered": outcome.answered,
        "link": outcome.link,
        "beside": outcome.beside,
        "busy": round(outcome.busy, 3),
        "server_cpu_s": round(outcome.server_cpu_s, 3),
        "doubts": outcome.doubts(),
    }
