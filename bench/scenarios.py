"""SCENARIOS: what can be measured, by name: the task, the path, the numbers, and the bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from bench import measures
from bench.link.path import Path, bdp
from bench.measures import Values
from bench.outcome import Outcome


class Pin(Enum):
    """Which processor cores the two processes of a run may use."""

    FREE = "as the system likes"
    ONE = "both on one core"
    APART = "a core each"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a value has to reach, and what it should.

    Args:
        value: its name, among those that the scenario measures.
        bar: what it has to reach.
        aim: what it should reach.
        at_most: less is better.
        against: a peer; the value judged is then the ratio to that peer's, in the same run, and
            larger is better whichever way the value goes.
    """

    value: str
    bar: float
    aim: float
    at_most: bool = False
    against: str = ""

    def is_met(self, value: float, *, aim: bool = False) -> bool:
        """Tell whether *value* reaches the bar, or the aim."""
        wanted = self.aim if aim else self.bar
        return value <= wanted if self.at_most and not self.against else value >= wanted


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the report.

    Args:
        name: how the command line calls it.
        title: how the report does.
        group: one of `GROUPS`.
        task: one of `bench.peers.program.TASKS`.
        judge: makes numbers of outcomes; the first value is the one that peers are ranked by.
        peers: who is measured unless the command line says otherwise.
        bars: what Quantum has to reach.
        seconds: of one run.
        runs: how many, of each peer.
        more_is_better: of the first value.
        forward: the path from client to server; None is loopback.
        backward: the path back; as *forward* if not given.
        is_pooled: percentiles are of all runs together, not the median of the runs'.
        at_once: runs that may go on at the same time, each on a link of its own.
        has_baseline: each run is made without loss first, a quarter as long.
        beside: a peer that sends bulk on the same link for the whole time.
        count: of what the task does; 0 is as much as fits into the seconds.
        parallel: handshakes at the same time.
        profile: what the peer is asked to be.
        pin: which cores the processes use.
    """

    name: str
    title: str
    group: str
    task: str
    judge: Callable[[Sequence[Outcome]], Values]
    peers: tuple[str, ...]
    bars: tuple[Bar, ...] = ()
    seconds: float = 20.0
    runs: int = 5
    more_is_better: bool = True
    forward: Path | None = None
    backward: Path | None = None
    is_pooled: bool = False
    at_once: int = 1
    has_baseline: bool = False
    beside: str = ""
    count: int = 0
    parallel: int = 1
    profile: str = "wan"
    pin: Pin = Pin.FREE

    def expected_seconds(self, peers: int) -> float:
        """Return about how long it takes with so many peers."""
        one = {"hold": 15.0, "messages": 2.5, "request": 2.5, "handshake": 2.5}.get(self.task, 1.0)
        if self.task in {"hold", "messages", "request", "handshake"} and self.task != "hold":
            one *= self.seconds
        elif self.task != "hold":
            one = self.seconds * (1.25 if self.has_baseline else 1) + 1.5
        return one * self.runs * peers / self.at_once


# ---- loopback ----

_BULK_PEERS = (
    "quantum", "quantum-uvloop", "tls", "tls-uvloop", "tcp-cubic", "quic-go", "quinn", "kcp-go",
    "qh3-uvloop", "aioquic",
)  # fmt: skip
_SMALL_PEERS = ("quantum", "quantum-uvloop", "tcp-cubic", "tls-uvloop", "quic-go", "qh3-uvloop")

_LOOPBACK = (
    Scenario(
        "bulk",
        "bulk, one stream",
        "loopback",
        "bulk",
        measures.bulk,
        _BULK_PEERS,
        (
            Bar("Gbit/s", 6, 10),
            Bar("Gbit/s", 2, 2, against="quic-go"),
            Bar("Gbit/s", 30, 30, against="aioquic"),
            Bar("Gbit/s", 1.5, 1.5, against="tls"),
            Bar("Gbit/s", 0, 1, against="tls-uvloop"),
        ),
        seconds=2.0,
        profile="loopback",
    ),
    Scenario(
        "messages",
        "64-byte messages, pipelined",
        "loopback",
        "messages",
        measures.messages,
        _SMALL_PEERS,
        (Bar("k/s", 600, 1000),),
        seconds=1.0,
        profile="loopback",
    ),
    Scenario(
        "request",
        "64-byte request and response, two cores",
        "loopback",
        "request",
        measures.request,
        (*_SMALL_PEERS, "kcp-go", "enet", "kcp"),
        (Bar("p50 us", 1 / 1.3, 1, against="tcp-cubic"),),
        seconds=1.0,
        more_is_better=False,
        profile="loopback",
    ),
    Scenario(
        "request-one-core",
        "64-byte request and response, both ends on one core",
        "loopback",
        "request",
        measures.request,
        (*_SMALL_PEERS, "kcp-go", "enet", "kcp"),
        (Bar("p50 us", 1 / 1.3, 1, against="tcp-cubic"),),
        seconds=1.0,
        more_is_better=False,
        profile="loopback",
        pin=Pin.ONE,
    ),
    Scenario(
        "handshake",
        "connections with a byte each way, a core for each end",
        "loopback",
        "handshake",
        measures.handshake,
        ("quantum", "tls", "quic-go", "aioquic"),
        (),
        seconds=1.0,
        parallel=8,
        profile="loopback",
        pin=Pin.APART,
    ),
    Scenario(
        "handshake-one-core",
        "connections with a byte each way, both ends on one core",
        "loopback",
        "handshake",
        measures.handshake,
        ("quantum", "tls", "quic-go", "aioquic"),
        (),
        seconds=1.0,
        parallel=8,
        profile="loopback",
        pin=Pin.ONE,
    ),
    Scenario(
        "memory",
        "idle connection, server side, 10,000 held",
        "loopback",
        "hold",
        measures.memory,
        ("quantum", "tcp-cubic", "tls", "quic-go"),
        (Bar("KiB", 16, 8, at_most=True),),
        runs=1,
        more_is_better=False,
        count=10_000,
        profile="loopback",
    ),
)

# ---- a bad link ----

_FAST = Path(delay=0.025, rate=100e6, queue=bdp(100e6, 0.05))
_SLOW = Path(delay=0.05, rate=20e6, queue=bdp(20e6, 0.1))
# Nothing waits at a policer. Its bucket holds a round trip of its rate, as makers of routers
# advise: with 10 ms of it a CUBIC flow reaches a fifth of the rate even when it is alone.
_POLICED = Path(delay=0.025, police=20e6, bucket=bdp(20e6, 0.05))
_BULK_WAN = ("quantum", "tcp-bbr")
_THIN = ("quantum", "tcp-bbr", "quic-go", "kcp-go-fec")


def _goodput(name: str, title: str, path: Path, bar: float, aim: float, group: str) -> Scenario:
    return Scenario(
        name,
        title,
        group,
        "bulk",
        measures.goodput,
        _BULK_WAN,
        (Bar("% of link", bar, aim),) if bar else (),
        forward=path,
        # As many as leave two cores time to spare; the report says so if they did not.
        at_once=2 if path.rate > 20e6 else 3,
    )


def _lossy(percent: float, bar: float = 0, aim: float = 0, group: str = "wan") -> Scenario:
    return _goodput(
        f"goodput-{percent:g}",
        f"goodput, 100 Mbit/s, 50 ms, {percent:g} % loss",
        replace(_FAST, loss=percent / 100),
        bar,
        aim,
        group,
    )


def _realtime(name: str, title: str, path: Path, bars: tuple[Bar, ...]) -> Scenario:
    return Scenario(
        name,
        title,
        "wan",
        "realtime",
        measures.realtime,
        _THIN,
        bars,
        seconds=30.0,
        runs=6,
        more_is_better=False,
        forward=path,
        is_pooled=True,
        at_once=6,
        profile="realtime",
    )


_WAN = (
    _lossy(0, 96, 98),
    _lossy(1, 95, 97),
    _lossy(5, 93, 96),
    _goodput(
        "goodput-slow",
        "goodput, 20 Mbit/s, 100 ms, 10 % loss",
        replace(_SLOW, loss=0.1),
        90,
        95,
        "wan",
    ),
    replace(
        _goodput(
            "goodput-bursts",
            "goodput, 100 Mbit/s, 50 ms, 2 % loss in bursts of 5",
            replace(_FAST, loss=0.02, burst=5),
            90,
            95,
            "wan",
        ),
        peers=("quantum",),
    ),
    replace(
        _goodput(
            "reordering",
            "goodput, 100 Mbit/s, 50 ms, 5 % of packets late by 5 ms",
            replace(_FAST, reorder=0.05, late=0.005),
            93,
            97,
            "wan",
        ),
        judge=measures.reordering,
        peers=("quantum",),
        bars=(Bar("% of link", 93, 97), Bar("spurious %", 1, 1, at_most=True)),
    ),
    replace(
        _goodput(
            "queue",
            "round trip kept, 100 Mbit/s, 50 ms, queue of 4 BDP",
            replace(_FAST, queue=4 * _FAST.queue),
            0,
            0,
            "wan",
        ),
        judge=measures.queue,
        peers=("quantum",),
        bars=(Bar("x base", 1.25, 1.1, at_most=True),),
        more_is_better=False,
    ),
    Scenario(
        "fairness",
        "beside a CUBIC flow, 100 Mbit/s, 50 ms, queue of 1 BDP, 60 s",
        "wan",
        "bulk",
        measures.fairness,
        ("quantum",),
        (Bar("% of link", 35, 45), Bar("% of link", 65, 55, at_most=True)),
        seconds=60.0,
        forward=_FAST,
        at_once=2,
        beside="tcp-cubic",
    ),
    Scenario(
        "policer",
        "policer of 20 Mbit/s without a queue, 50 ms",
        "wan",
        "bulk",
        measures.policer,
        _BULK_WAN,
        (Bar("own loss %", 5, 2, at_most=True), Bar("% of link", 85, 92)),
        forward=_POLICED,
        backward=Path(delay=0.025),
        at_once=3,
    ),
    Scenario(
        "policer-beside",
        "the same policer, beside a CUBIC flow",
        "wan",
        "bulk",
        measures.fairness,
        (*_BULK_WAN, "tcp-cubic"),
        (Bar("CUBIC % of link", 25, 40),),
        seconds=60.0,
        forward=_POLICED,
        backward=Path(delay=0.025),
        at_once=3,
        beside="tcp-cubic",
    ),
    _realtime(
        "realtime",
        "64-byte message at 60 Hz, 25 ms one way, 5 % loss",
        replace(_FAST, loss=0.05),
        (
            Bar("p99 x", 1.3, 1.15, at_most=True),
            Bar("p99.9 x", 2, 1.5, at_most=True),
            Bar("packets/message", 3, 3, at_most=True),
        ),
    ),
    _realtime(
        "realtime-bursts",
        "the same, 10 % loss in bursts of 3",
        replace(_FAST, loss=0.1, burst=3),
        (Bar("p99 x", 2, 1.5, at_most=True),),
    ),
    Scenario(
        "response",
        "20 KB response, 50 ms, 5 % loss, completion",
        "wan",
        "response",
        measures.response,
        ("quantum", "tcp-bbr", "tcp-cubic"),
        (Bar("p99 x", 1.5, 1.2, at_most=True),),
        seconds=20.0,
        runs=6,
        more_is_better=False,
        forward=replace(_FAST, loss=0.05),
        is_pooled=True,
        at_once=3,
        has_baseline=True,
    ),
)

# Further points for the plot of throughput against loss; only when asked for.
_SWEEP = tuple(_lossy(percent, group="sweep") for percent in (0.1, 0.5, 2, 3, 7, 10))


# Everybody at three points of loss, in short: half of it is start-up.
_EVERYBODY = (
    "quantum", "tcp-cubic", "tcp-bbr", "quic-go", "quinn", "quinn-bbr", "iroh", "kcp-go",
    "kcp-go-fec", "aioquic", "qh3", "enet", "kcp",
)  # fmt: skip
_SURVEY = tuple(
    replace(
        _lossy(percent, group="survey"),
        name=f"survey-{percent}",
        title=f"goodput of 5 s, 100 Mbit/s, 50 ms, {percent} % loss",
        peers=_EVERYBODY,
        seconds=5.0,
    )
    for percent in (0, 1, 5)
)

SCENARIOS: dict[str, Scenario] = {s.name: s for s in (*_LOOPBACK, *_WAN, *_SWEEP, *_SURVEY)}
# What is measured unless the command line says otherwise, then what only when it does.
DEFAULT_GROUPS = ("loopback", "wan", "micro")
GROUPS = (*DEFAULT_GROUPS, "survey", "sweep")
