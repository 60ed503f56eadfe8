"""Pictures of the results as SVG, readable on light and on dark pages. Needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import OURS, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by all eyes, without the black and the yellow that vanish on
# one kind of page; grey for ink stands out on both.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A63D2", "#7F7F7F")
INK = "#808080"
LINES = ("-", "--", "-.", ":")


class PlotError(Exception):
    """There are no plots; the message says what is missing."""


def draw(result: Result, folder: Path) -> list[tuple[str, Path]]:
    """Write the pictures that the results have data for; return (title, file) of each.

    Raises:
        PlotError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise PlotError("plots need matplotlib; pip install 'quantum-gateway[bench]'") from None
    mpl.use("svg")
    # The same results give the same file.
    mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 10})
    for part in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[part] = INK
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row["name"]: row for row in result["rows"]}
    colours = _colours(result)
    drawn = []
    made = (
        ("Throughput against loss, 100 Mbit/s, 50 ms", "loss", _loss(rows, colours)),
        ("Delay of 64-byte messages at 60 Hz", "delay", _delays(rows, colours)),
        ("Loopback", "loopback", _loopback(rows, colours)),
    )
    for title, name, figure in made:
        if figure is not None:
            path = folder / f"bench-{name}.svg"
            figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
            drawn.append((title, path))
    return drawn


def _colours(result: Result) -> dict[str, str]:
    names = dict.fromkeys(name for row in result["rows"] for name in row["peers"])
    order = [OURS, *(name for name in names if name != OURS)]
    return {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(order)}


def _figure(count: int, width: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.6), layout="constrained")
    axes = [figure.add_subplot(1, count, n + 1) for n in range(count)]
    for one in axes:
        one.set_facecolor("none")
        one.set_axisbelow(True)
        one.grid(visible=True, color=INK, alpha=0.25, linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: "Axes") -> None:
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


def _loss(rows: dict[str, Any], colours: dict[str, str]) -> "Figure | None":
    lines: dict[str, list[tuple[float, dict[str, float]]]] = {}
    titles = {}
    # The survey has everybody; runs of another length do not belong on the same line.
    kind = "survey-" if any(name.startswith("survey-") for name in rows) else "goodput-"
    for name, row in rows.items():
        if not name.removeprefix(kind).replace(".", "", 1).isdigit():
            continue
        for peer, found in row["peers"].items():
            lines.setdefault(peer, []).append((row["loss"] * 100, found["values"]["Mbit/s"]))
            titles[peer] = found["title"]
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure, (axes,) = _figure(1, 7.4)
    for number, (peer, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        at = [loss for loss, _ in points]
        medians = [value["median"] for _, value in points]
        lows = [value["median"] - value["min"] for _, value in points]
        highs = [value["max"] - value["median"] for _, value in points]
        axes.errorbar(
            at,
            medians,
            # A pooled row's median need not lie between the runs' own.
            yerr=[[max(0.0, low) for low in lows], [max(0.0, high) for high in highs]],
            label=titles[peer],
            color=colours[peer],
            linestyle=LINES[number % len(LINES)],
            marker="o",
            markersize=4,
            capsize=3,
        )
    axes.set_xlabel("loss, %")
    axes.set_ylabel("goodput, Mbit/s")
    axes.set_ylim(bottom=0)
    axes.legend(
        frameon=False, labelcolor=INK, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return figure


def _delays(rows: dict[str, Any], colours: dict[str, str]) -> "Figure | None":
    here = [rows[name] for name in ("realtime", "realtime-bursts") if name in rows]
    here = [row for row in here if row["peers"]]
    if not here:
        return None
    figure, panels = _figure(len(here), 4.6 * len(here))
    for axes, row in zip(panels, here, strict=True):
        for number, (peer, found) in enumerate(row["peers"].items()):
            # From the median upwards, on a scale that gives each nine of the tail the same room.
            points = [(share, us) for share, us in found["distribution"] if share >= 0.5]
            axes.plot(
                [us / 1e3 for _, us in points],
                [1 - share for share, _ in points],
                label=found["title"],
                color=colours[peer],
                linestyle=LINES[number % len(LINES)],
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_yticks([0.5, 0.1, 0.01, 0.001], ["50 %", "10 %", "1 %", "0.1 %"])
        axes.set_xticks([25, 50, 100, 200, 500, 1000], ["25", "50", "100", "200", "500", "1000"])
        axes.minorticks_off()
        axes.set_xlabel("one-way delay, ms")
        axes.set_ylabel("messages that take longer")
        axes.set_title(row["title"], fontsize=9, color=INK)
    _legend(panels[0])
    return figure


def _loopback(rows: dict[str, Any], colours: dict[str, str]) -> "Figure | None":
    here = [rows[name] for name in ("bulk", "messages", "request") if name in rows]
    here = [row for row in here if row["peers"]]
    if not here:
        return None
    figure, panels = _figure(len(here), 4.2 * len(here))
    for axes, row in zip(panels, here, strict=True):
        unit = next(iter(next(iter(row["peers"].values()))["values"]))
        names = list(reversed(row["peers"]))
        spreads = [row["peers"][name]["values"][unit] for name in names]
        axes.barh(
            [row["peers"][name]["title"] for name in names],
            [spread["median"] for spread in spreads],
            xerr=[
                [max(0.0, s["median"] - s["min"]) for s in spreads],
                [max(0.0, s["max"] - s["median"]) for s in spreads],
            ],
            color=[colours[name] for name in names],
            ecolor=INK,
            capsize=3,
        )
        axes.set_xlabel(unit)
        axes.set_title(row["title"].partition(",")[0], fontsize=9, color=INK)
    return figure
