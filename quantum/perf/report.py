"""What was measured, as rows: ratios first, then the numbers they come from. Prints nothing."""

import os
import platform
from collections.abc import Sequence
from typing import Any

from quantum.perf.bench import Plan, Result
from quantum.perf.measures import MEASURES


def rows(plan: Plan, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table.

    A ratio says how many times better the first peer is than another: more bits, more messages,
    less time.
    """
    subject, others = plan.peers[0], list(plan.peers[1:])
    table = {(r.peer, r.measure): r for r in results}
    header = ["", *(f"{subject} : {other}" for other in others), *plan.peers, "unit"]
    body = []
    for name in plan.measures:
        measure = MEASURES[name]
        medians = [table[peer, name].median for peer in plan.peers]
        ratios = [
            medians[0] / other if measure.more_is_better else other / medians[0]
            for other in medians[1:]
        ]
        body.append(_row(measure.title, ratios, medians, measure.unit))
        if name == "requests":
            tails = [table[peer, name].extra("p99_us") for peer in plan.peers]
            body.append(_row("the same, p99", [t / tails[0] for t in tails[1:]], tails, "us"))
    return header, body


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return the table as Markdown, with columns that line up as plain text too."""
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    dashes = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join([line(header), line(dashes), *(line(row) for row in body)])


def as_json(plan: Plan, results: Sequence[Result]) -> dict[str, Any]:
    """Return everything measured, with what is needed to read it."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "plan": {
            "peers": list(plan.peers),
            "measures": list(plan.measures),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "loop": plan.loop,
            "cores": plan.cores,
        },
        "results": [
            {
                "peer": r.peer,
                "measure": r.measure,
                "title": MEASURES[r.measure].title,
                "unit": MEASURES[r.measure].unit,
                "count": r.count,
                "median": r.median,
                "values": [value / MEASURES[r.measure].scale for value in r.values],
                "extras": r.extras,
            }
            for r in results
        ],
    }


def _row(title: str, ratios: Sequence[float], values: Sequence[float], unit: str) -> list[str]:
    return [title, *(f"{r:.2f} x" for r in ratios), *(_number(v) for v in values), unit]


def _number(value: float) -> str:
    """Return *value* with three significant digits, or whole when it is large."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
