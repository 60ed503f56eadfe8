"""The bars of congestion control, each run in virtual time, with what was asked and what came.

Run as a program it prints the table: ``python -m tests.support.congestion_bars [processes] [seeds]
[names]``. Goodput is what the receiver's application has read since the sender began to write
on an open connection, as a share of what the link can carry: rate x (1 - loss) x payload share of a
full packet, IP and UDP counted.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pool
from statistics import median

from quantum.testing import Impairment
from tests.support.bottleneck import BELOW_BYTES, MS, Bottleneck, Flow, payload_rate

MBIT = 1_000_000
DURATION_S = 20
Measured = dict[str, float]


@dataclass(frozen=True)
class Bar:
    """A condition on one measured number."""

    measure: str
    bar: float
    aim: float
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """Return whether *value* keeps the aim, the bar, or neither."""
        for limit, name in ((self.aim, "aim"), (self.bar, "bar")):
            if value <= limit if self.at_most else value >= limit:
                return name
        return "MISSED"


def link(rate_mbps: int = 100, rtt_ms: int = 50, bdps: float = 1, **values: object) -> Impairment:
    """Return a link whose queue holds *bdps* bandwidth-delay products."""
    rate = rate_mbps * MBIT
    return Impairment(
        delay_ns=rtt_ms * MS // 2,
        rate_bps=rate,
        queue_bytes=max(int(rate / 8 * rtt_ms / 1_000 * bdps), 3_000),
        overhead_bytes=BELOW_BYTES,
        **values,  # type: ignore[arg-type]
    )


def _lost_share(flow: Flow) -> float:
    stats = flow.sender.open.stats()
    return stats["packets_lost"] / max(stats["packets_sent"], 1)


def _alone(there: Impairment, seed: int, congestion: str, seconds: int = DURATION_S) -> Measured:
    path = Bottleneck(there, seed=seed)
    flow = path.add(congestion)
    flow.sender.start()
    round_trips: list[float] = []
    for _ in range(seconds * 20):
        path.run_for(0.05)
        round_trips.append(flow.sender.open.stats()["rtt_latest_ns"] / (2 * there.delay_ns))
    assert there.rate_bps is not None
    able = payload_rate(there.rate_bps, there.loss) * seconds
    stats = flow.sender.open.stats()
    return {
        "goodput": 100 * path.read()[0] / able,
        "rtt": median(round_trips),
        "lost": 100 * _lost_share(flow),
        "spurious": 100 * stats["packets_spurious"] / max(stats["packets_sent"], 1),
        "resent": 100 * stats["bytes_retransmitted"] / max(stats["stream_bytes_sent"], 1),
    }


def _beside_cubic(
    there: Impairment, seed: int, congestion: str, seconds: int = 60, settle: int = 0
) -> Measured:
    path = Bottleneck(there, seed=seed)
    ours, other = path.add(congestion), path.add("cubic")
    other.sender.start()
    path.run_for(0.2)
    ours.sender.start()
    path.run_for(settle)
    before = path.read()
    path.run_for(seconds)
    mine, theirs = (after - at for after, at in zip(path.read(), before, strict=True))
    assert there.rate_bps is not None
    able = payload_rate(there.rate_bps) * seconds
    return {
        "share": 100 * mine / (mine + theirs),
        "theirs": 100 * theirs / able,
        "both": 100 * (mine + theirs) / able,
        "lost": 100 * _lost_share(ours),
    }


POLICED = link(20, 50, policer_bytes=20 * MBIT // 8 // 20)
# Less than a burst of ten packets passes such a bucket.
SHALLOW = link(20, 50, policer_bytes=10_000)
DEEP = link(20, 50, policer_bytes=500_000)
Run = Callable[[int, str], Measured]


@dataclass(frozen=True)
class Scenario:
    """A link, what is run over it, and the bars it is held to."""

    run: Run
    bars: tuple[Bar, ...]


def _single(there: Impairment, *bars: Bar) -> Scenario:
    return Scenario(lambda seed, congestion: _alone(there, seed, congestion), bars)


def _shared(there: Impairment, *bars: Bar) -> Scenario:
    return Scenario(lambda seed, congestion: _beside_cubic(there, seed, congestion), bars)


SCENARIOS: dict[str, Scenario] = {
    "clean": _single(link(), Bar("goodput", 96, 98)),
    "loss-1": _single(link(loss=0.01), Bar("goodput", 95, 97)),
    "loss-5": _single(link(loss=0.05), Bar("goodput", 93, 96)),
    "loss-10": _single(link(20, 100, loss=0.1), Bar("goodput", 90, 95)),
    "bursts": _single(link(loss=0.02, burst=5), Bar("goodput", 90, 95)),
    "reorder": _single(
        link(reorder=0.05, reorder_delay_ns=5 * MS),
        Bar("goodput", 93, 97),
        Bar("spurious", 1, 1, at_most=True),
    ),
    "queue": _single(link(bdps=4), Bar("rtt", 1.25, 1.1, at_most=True), Bar("goodput", 96, 98)),
    "fair": _shared(
        link(), Bar("share", 35, 45), Bar("share", 65, 55, at_most=True), Bar("both", 90, 95)
    ),
    "policer": _single(POLICED, Bar("lost", 5, 2, at_most=True), Bar("goodput", 85, 92)),
    "policer-shared": _shared(POLICED, Bar("theirs", 25, 40)),
    "policer-8-packets": _single(SHALLOW, Bar("lost", 5, 2, at_most=True), Bar("goodput", 85, 92)),
    "policer-4-bdp": _single(DEEP, Bar("lost", 5, 2, at_most=True), Bar("goodput", 85, 92)),
}


def _measure(job: tuple[str, int, str]) -> tuple[str, int, Measured]:
    name, seed, congestion = job
    return name, seed, SCENARIOS[name].run(seed, congestion)


def main(processes: int, seeds: int, names: list[str], congestion: str = "bbr") -> None:
    """Run the scenarios and print the medians, worst seeds, and verdicts."""
    chosen = [name for name in SCENARIOS if not names or name in names]
    jobs = [(name, seed, congestion) for name in chosen for seed in range(1, seeds + 1)]
    found: dict[str, list[Measured]] = {name: [] for name in chosen}
    with Pool(processes) as pool:
        for name, _, measured in pool.imap(_measure, jobs):
            found[name].append(measured)
    print(f"{'scenario':20}{'measure':10}{'median':>9}{'worst':>9}{'bar':>8}{'aim':>8}  verdict")
    for name in chosen:
        for bar in SCENARIOS[name].bars:
            values = [measured[bar.measure] for measured in found[name]]
            worst = max(values) if bar.at_most else min(values)
            middle = median(values)
            print(
                f"{name:20}{bar.measure:10}{middle:9.2f}{worst:9.2f}{bar.bar:8.2f}{bar.aim:8.2f}"
                f"  {bar.verdict(middle)}"
            )
        means = {key: median(m[key] for m in found[name]) for key in found[name][0]}
        print(" " * 16 + "  ".join(f"{key} {value:.2f}" for key, value in means.items()))


if __name__ == "__main__":
    arguments = [int(a) for a in sys.argv[1:] if a.isdigit()]
    words = [a for a in sys.argv[1:] if not a.isdigit()]
    kind = next((w for w in words if w in ("cubic", "new_reno")), "bbr")
    main(
        arguments[0] if arguments else 2,
        arguments[1] if len(arguments) > 1 else 3,
        [w for w in words if w in SCENARIOS],
        kind,
    )
