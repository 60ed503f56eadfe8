"""Ten megabytes each way over one cell of the loss grid, and how long it ever stood still.

Run as a program it measures the whole grid and writes the table of goodputs that the test compares
with: ``python -m tests.support.loss_grid [processes]``.
"""

import itertools
import json
import sys
import time
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from random import Random

from cython_ext.core import Params
from quantum.testing import Impairment, Pair, Peer

MS = 1_000_000
SECOND = 1_000 * MS
PAYLOAD_BYTES = 10_000_000
RATE_BPS = 100_000_000
MAX_ACK_DELAY_NS = 25 * MS
# The handshake is not what is measured here, and bursts may swallow a dozen hellos.
PARAMS = Params(handshake_timeout_ns=60 * SECOND)
SAMPLE_NS = 2 * MS
SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "loss_grid.json"


@dataclass(frozen=True)
class Cell:
    """What the path does; shares in percent."""

    loss: int
    burst: int
    reorder: int
    duplicate: int
    corrupt: int
    rtt_ms: int

    def __str__(self) -> str:
        return (
            f"loss{self.loss}-burst{self.burst}-reorder{self.reorder}-dup{self.duplicate}"
            f"-corrupt{self.corrupt}-rtt{self.rtt_ms}"
        )

    def impairment(self) -> Impairment:
        """Return the path of both directions.

        The queue holds one bandwidth-delay product, at least 64 KiB. A datagram is held back by a
        quarter of the round trip, at least a millisecond: ten or more others overtake it.
        """
        delay = self.rtt_ms * MS // 2
        return Impairment(
            delay_ns=delay,
            loss=self.loss / 100,
            burst=self.burst,
            reorder=self.reorder / 100,
            reorder_delay_ns=max(delay // 2, MS),
            duplicate=self.duplicate / 100,
            duplicate_delay_ns=MS,
            corrupt=self.corrupt / 100,
            rate_bps=RATE_BPS,
            queue_bytes=max(64 * 1024, RATE_BPS // 8 * self.rtt_ms // 1000),
        )


CELLS = [
    Cell(*values)
    for values in itertools.product(
        (0, 1, 5, 10, 20, 30), (1, 5), (0, 10), (0, 5), (0, 1), (1, 50, 300)
    )
]


@dataclass
class Outcome:
    """What a cell came to.

    Attributes:
        goodput_mbps: payload of one direction by the virtual time until both had arrived.
        longest_stall: the longest time in which a sender with data to deliver got not one byte
            acknowledged, in probe timeouts without back-off, the larger of both directions.
        is_exact: whether both payloads arrived byte for byte.
    """

    goodput_mbps: float
    longest_stall: float
    is_exact: bool
    virtual_s: float
    packets_lost: int
    probes: int


class _Way:
    """One direction: who sends, who receives, and when bytes were last acknowledged."""

    def __init__(self, sender: Peer, receiver: Peer, payload: bytes, now_ns: int) -> None:
        self.sender, self.receiver, self.payload = sender, receiver, payload
        self.stream_id = sender.send_stream(payload, bidirectional=False)
        self.acknowledged = -1
        self.since_ns = now_ns
        self.longest = 0.0
        # Section 7, before any sample: 100 ms, and half of that as variation.
        self.timeout_ns = 100 * MS + 4 * 50 * MS + MAX_ACK_DELAY_NS

    def is_over(self) -> bool:
        return self.stream_id in self.receiver.ended

    def sample(self, now_ns: int) -> None:
        stats = self.sender.open.stats()
        if stats["delivered_bytes"] != self.acknowledged or self.is_over():
            self.longest = max(self.longest, (now_ns - self.since_ns) / self.timeout_ns)
            self.acknowledged = stats["delivered_bytes"]
            self.since_ns = now_ns
            if smoothed := stats["rtt_smoothed_ns"]:
                spread = max(4 * stats["rtt_variation_ns"], MS)
                self.timeout_ns = smoothed + spread + MAX_ACK_DELAY_NS


def payload(seed: str) -> bytes:
    """Return PAYLOAD_BYTES random bytes."""
    return Random(seed).randbytes(PAYLOAD_BYTES)


def run(cell: Cell, salt: int = 0) -> Outcome:
    """Transfer both payloads and return what came of it.

    Raises:
        Stalled: not everything arrived within ten minutes of virtual time.
    """
    pair = Pair(
        cell.impairment(),
        seed=salt * 1000 + CELLS.index(cell),
        client_params=PARAMS,
        server_params=PARAMS,
    ).connect(60 * SECOND)
    start = pair.now_ns
    ways = [
        _Way(pair.client, pair.server, payload("up"), start),
        _Way(pair.server, pair.client, payload("down"), start),
    ]
    sampled = start

    def everything_arrived() -> bool:
        nonlocal sampled
        running = [way for way in ways if not way.is_over()]
        if pair.now_ns - sampled >= SAMPLE_NS or not running:
            sampled = pair.now_ns
            for way in running:
                way.sample(sampled)
        return not running

    took = pair.drive(everything_arrived, 600 * SECOND)
    stats = pair.client.open.stats(), pair.server.open.stats()
    return Outcome(
        goodput_mbps=round(PAYLOAD_BYTES * 8e3 / took, 1),
        longest_stall=max(way.longest for way in ways),
        is_exact=all(way.receiver.received[way.stream_id] == way.payload for way in ways),
        virtual_s=round(took / SECOND, 2),
        packets_lost=sum(s["packets_lost"] for s in stats),
        probes=sum(s["probes_sent"] for s in stats),
    )


def _measure(job: tuple[Cell, int]) -> tuple[Cell, int, Outcome | str]:
    cell, salt = job
    try:
        return cell, salt, run(cell, salt)
    except AssertionError as error:
        return cell, salt, str(error)


def main(processes: int, salts: int) -> None:
    """Measure every cell with *salts* different seeds; the first ones make the snapshot."""
    started = time.monotonic()
    goodputs: dict[str, float] = {}
    with Pool(processes) as pool:
        jobs = [(cell, salt) for salt in range(salts) for cell in CELLS]
        for cell, salt, outcome in pool.imap(_measure, jobs, chunksize=4):
            if isinstance(outcome, str):
                print(cell, salt, outcome)
                continue
            if salt == 0:
                goodputs[str(cell)] = outcome.goodput_mbps
            if outcome.longest_stall > 8 or not outcome.is_exact:
                print(cell, salt, outcome)
    SNAPSHOT.write_text(json.dumps(goodputs, indent=0) + "\n")
    print(f"{len(jobs)} cells in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 2,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
