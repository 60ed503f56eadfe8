"""The report in Markdown, and its place in docs/performance.md, between two markers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.machine import sentence
from bench.peers.program import ROOT
from bench.results import OURS, Result, ratio

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN = "<!-- bench: begin (python -m bench report writes this) -->"
END = "<!-- bench: end -->"
_TITLES = {
    "loopback": "Loopback",
    "wan": "A bad link",
    "survey": "Everybody, in short",
    "sweep": "Further points of loss",
    "micro": "Single functions",
}


def markdown(result: Result, plots: Sequence[tuple[str, str]] = ()) -> str:
    """Return the report. *plots* are (title, path) of pictures, relative to the document."""
    lines = [
        "## Beside others",
        "",
        "```",
        *result["commands"],
        "```",
        "",
        sentence(result["machine"]),
        "Client and server are processes of their own; runs of different peers take turns; every "
        "byte was compared. A value is the median of the runs, with the least and the most behind "
        "it; ratios tell how many times better Quantum (asyncio) is in the same run. "
        f"All of it took {result['seconds'] / 60:.0f} minutes.",
        "",
        *_bars(result["rows"]),
    ]
    for title, path in plots:
        lines += [f"![{title}]({path})", ""]
    for group, title in _TITLES.items():
        rows = [row for row in result["rows"] if row["group"] == group]
        if rows:
            lines += [f"### {title}", "", *_table(rows)]
    lines += [*_versions(result), *_remarks(result["rows"])]
    return "\n".join(lines).rstrip() + "\n"


def write_document(text: str, document: Path = DOCUMENT) -> None:
    """Put the report between the markers, or at the end if there are none yet."""
    whole = document.read_text()
    block = f"{BEGIN}\n\n{text}\n{END}\n"
    if BEGIN in whole and END in whole:
        before, _, rest = whole.partition(BEGIN)
        after = rest.partition(END)[2].removeprefix("\n")
        document.write_text(before + block + after)
    else:
        document.write_text(whole.rstrip() + "\n\n" + block)


def _bars(rows: Iterable[Result]) -> list[str]:
    judged = [(row, bar) for row in rows for bar in row["bars"]]
    if not judged:
        return []
    lines = [
        "| what | value | bar | aim | measured | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row, bar in judged:
        sign = "<= " if bar["at_most"] and not bar["against"] else ">= "
        unit = f"{bar['value']}, ratio to {bar['against']}" if bar["against"] else bar["value"]
        times = " x" if bar["against"] else ""
        limits = [f"{sign}{number(bar[name])}{times}" for name in ("bar", "aim")]
        if not bar["bar"]:
            limits[0] = ""
        verdict = "aim" if bar["aimed"] else "bar" if bar["met"] else "**below the bar**"
        if not bar["bar"] and not bar["aimed"]:
            verdict = "**below the aim**"
        lines.append(
            f"| {row['title']} | {unit} | {limits[0]} | {limits[1]} "
            f"| {number(bar['measured'])}{times} | {verdict} |"
        )
    return [*lines, ""]


def _table(rows: Iterable[Result]) -> list[str]:
    lines = [
        "| what | peer | Quantum : peer | median | least to most | further |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in rows:
        title = row["title"]
        for name, peer in row["peers"].items():
            first, *rest = peer["values"].items()
            better = _better(row, name, first[0])
            spread = f"{number(first[1]['min'])} to {number(first[1]['max'])}"
            further = ", ".join(f"{label} {number(v['median'])}" for label, v in rest)
            median = f"{number(first[1]['median'])} {first[0]}"
            cells = (title, peer["title"], better, median, spread, further)
            lines.append("| " + " | ".join(cells) + " |")
            title = ""
    return [*lines, ""]


def _better(row: Result, name: str, value: str) -> str:
    if name == OURS or OURS not in row["peers"]:
        return ""
    ours = row["peers"][OURS]["values"][value]["median"]
    theirs = row["peers"][name]["values"][value]["median"]
    return f"{number(ratio(ours, theirs, row['more_is_better']))} x"


def _versions(result: Result) -> list[str]:
    words = [f"{name}: {text}" for name, text in sorted(result["versions"].items()) if text]
    return [f"Versions: {'; '.join(words)}.", ""] if words else []


def _remarks(rows: Iterable[Result]) -> list[str]:
    found: list[str] = []
    absent: dict[str, None] = {}
    notes: dict[str, str] = {}
    for row in rows:
        # A task that a peer does not have is missing in this row alone.
        absent |= {
            f"{name}: {reason}" + (f" ({row['title']})" if "has no task" in reason else ""): None
            for name, reason in row["missing"].items()
        }
        notes |= {peer["title"]: peer["notes"] for peer in row["peers"].values() if peer["notes"]}
        for name, seed, reason in row["failures"]:
            found.append(f"{row['title']}: run {seed} of {name} failed: {reason}")
        for name, peer in row["peers"].items():
            doubtful = [run for run in peer["runs"] if run["doubts"]]
            if doubtful:
                reasons = ", ".join(dict.fromkeys(d for run in doubtful for d in run["doubts"]))
                found.append(
                    f"{row['title']}: {len(doubtful)} of {len(peer['runs'])} runs of {name} are "
                    f"doubtful ({reasons})"
                )
    lines = [f"* {title}: {text}" for title, text in sorted(notes.items())]
    lines += [f"* Not measured, {text}." for text in sorted(absent)]
    lines += [f"* {text}." for text in found]
    return [*lines, ""] if lines else []


def number(value: float) -> str:
    """Return *value* with three digits that count."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def summary(result: Result) -> dict[str, Any]:
    """Return the medians alone: name of the scenario, of the peer, of the value."""
    return {
        row["name"]: {
            name: {label: value["median"] for label, value in peer["values"].items()}
            for name, peer in row["peers"].items()
        }
        for row in result["rows"]
    }
