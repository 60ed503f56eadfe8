"""From outcomes to numbers: one function per kind of measurement, each value by its name.

Each takes all the outcomes that are to be judged together: those of one run, or of all runs where a
percentile needs them all.
"""

import statistics
from collections.abc import Iterable, Sequence

from bench.link.path import Path
from bench.outcome import Outcome

Values = dict[str, float]
# A message that never came is as late as a server waits for one.
MISSING_US = 5e6


def percentile(samples: Iterable[float], share: float) -> float:
    """Return the value that *share* of *samples* is not above."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def bulk(outcomes: Sequence[Outcome]) -> Values:
    """Rate of the content, loopback."""
    return {"Gbit/s": _mean(o.client["bytes"] * 8 / o.seconds / 1e9 for o in outcomes)}


def messages(outcomes: Sequence[Outcome]) -> Values:
    """Messages in a second, from the first to the server's word that all came."""
    return {"k/s": _mean(o.client["count"] / o.client["seconds"] / 1e3 for o in outcomes)}


def request(outcomes: Sequence[Outcome]) -> Values:
    """Percentiles of the round trip that a program sees."""
    times = [time for o in outcomes for time in o.client["latencies_us"]]
    return {"p50 us": percentile(times, 0.5), "p99 us": percentile(times, 0.99)}


def handshake(outcomes: Sequence[Outcome]) -> Values:
    """Handshakes in a second, and what one costs the server."""
    count = sum(o.client["count"] for o in outcomes)
    return {
        "1/s": _mean(o.client["count"] / o.client["seconds"] for o in outcomes),
        "server us": sum(o.server_cpu_s for o in outcomes) / count * 1e6,
    }


def memory(outcomes: Sequence[Outcome]) -> Values:
    """What an idle connection keeps resident at the server."""
    return {"KiB": _mean(o.server_bytes / o.client["held"] / 1024 for o in outcomes)}


def carried(path: Path) -> float:
    """Return what *path* can carry, in bit/s of IP packets."""
    rate: float = path.rate or path.police
    return rate * (1 - path.loss)


def goodput(outcomes: Sequence[Outcome]) -> Values:
    """Content that came in time, as a share of what the link can carry of this peer's packets."""
    shares, rates = [], []
    for o in outcomes:
        rate = o.client["bytes"] * 8 / o.seconds
        rates.append(rate / 1e6)
        shares.append(rate / (carried(_path(o)) * o.payload_share) * 100)
    return {"% of link": _mean(shares), "Mbit/s": _mean(rates), **_waste(outcomes)}


def reordering(outcomes: Sequence[Outcome]) -> Values:
    """Goodput, and packets sent again that had not been lost."""
    spurious = [
        stats["packets_spurious"] / max(1, stats["packets_sent"]) * 100
        for o in outcomes
        if "packets_spurious" in (stats := o.client.get("stats", {}))
    ]
    return goodput(outcomes) | ({"spurious %": _mean(spurious)} if spurious else {})


def queue(outcomes: Sequence[Outcome]) -> Values:
    """Round trip of the median packet: the base and what it waited in the link, each way."""
    ratios = []
    for o in outcomes:
        base_us = 2 * _path(o).delay * 1e6
        waits = o.sent["queue"]["p50_us"] + o.answered["queue"]["p50_us"]
        ratios.append((base_us + waits) / base_us)
    return {"x base": _mean(ratios), **goodput(outcomes)}


def fairness(outcomes: Sequence[Outcome]) -> Values:
    """Shares of the link of two flows, in bytes that it delivered."""
    mine, theirs = [], []
    for o in outcomes:
        whole = carried(_path(o)) * o.seconds / 8
        mine.append(o.sent["delivered_bytes"] / whole * 100)
        theirs.append(o.beside["link"]["delivered_bytes"] / whole * 100)
    both = {"% of link": _mean(mine), "CUBIC % of link": _mean(theirs)}
    return both | {"own loss %": _own_loss(outcomes)}


def policer(outcomes: Sequence[Outcome]) -> Values:
    """Goodput under a policer, and the share of the sent packets that it dropped."""
    return {
        "% of link": goodput(outcomes)["% of link"],
        "own loss %": _own_loss(outcomes),
        **_waste(outcomes),
    }


def realtime(outcomes: Sequence[Outcome]) -> Values:
    """Percentiles of the delay from sending to delivery, in one-way delays of the path; packets
    per message with all that came back, as the link counted them at its two entrances.
    """
    base_us = _path(outcomes[0]).delay * 1e6
    delays = realtime_delays(outcomes)
    sent = sum(o.sent["packets"] for o in outcomes)
    back = sum(o.answered["packets"] for o in outcomes)
    return {
        "p99 x": percentile(delays, 0.99) / base_us,
        "p99.9 x": percentile(delays, 0.999) / base_us,
        "p50 x": percentile(delays, 0.5) / base_us,
        "packets/message": (sent + back) / len(delays),
        "forward alone": sent / len(delays),
        "missing": float(sum(o.client["missing"] for o in outcomes)),
    }


def realtime_delays(outcomes: Sequence[Outcome]) -> list[float]:
    """Return every message's delay in us; one that never came is as late as was waited for."""
    came = [delay for o in outcomes for delay in o.client["delays_us"]]
    return came + [MISSING_US] * sum(o.client["missing"] for o in outcomes)


def response(outcomes: Sequence[Outcome]) -> Values:
    """Time of an answer under loss, in times of the median one without."""
    times = [time for o in outcomes for time in o.client["times_us"]]
    base = statistics.median(time for o in outcomes for time in o.baseline["times_us"])
    return {
        "p99 x": percentile(times, 0.99) / base,
        "p50 x": percentile(times, 0.5) / base,
        "loss-free ms": base / 1e3,
    }


def _path(outcome: Outcome) -> Path:
    assert outcome.forward is not None
    return outcome.forward


def _own_loss(outcomes: Sequence[Outcome]) -> float:
    dropped = sum(o.sent["policed"] + o.sent["queue_full"] for o in outcomes)
    packets: int = sum(o.sent["packets"] for o in outcomes)
    return float(dropped) / max(1, packets) * 100


def _waste(outcomes: Sequence[Outcome]) -> Values:
    """Bytes that the flow put on the link for each that its content needs in full packets."""
    put = sum(o.sent["bytes"] for o in outcomes)
    needed = sum(o.client["bytes"] / o.payload_share for o in outcomes)
    return {"sent/needed": put / max(1.0, needed)}


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
