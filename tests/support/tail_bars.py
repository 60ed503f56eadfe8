"""How long a 20 KB answer takes over a lossy path, with and without repairs.

A client sends 64 bytes on a stream, the server answers with 20,480, over and over on one connection in
virtual time. Run as a program it prints the distribution of the times from the first byte written to the
last byte read: ``python -m tests.support.tail_bars [exchanges]``.
"""

import sys
from dataclasses import dataclass
from typing import Any

from cython_ext.core import Params
from quantum.testing import Impairment, Pair

MS = 1_000_000
SECOND = 1_000 * MS
REQUEST = bytes(range(64))
ANSWER = bytes(n % 251 for n in range(20_480))
WARM_UP = 40


@dataclass(frozen=True)
class Times:
    """Completion times of all exchanges, in milliseconds, and what it took to get them."""

    ascending: list[float]
    bytes_sent: int
    repairs: int
    recovered: int

    def at(self, share: float) -> float:
        """Return the time that *share* of the exchanges did not exceed."""
        return self.ascending[min(int(share * len(self.ascending)), len(self.ascending) - 1)]


def path(loss: float, burst: float = 1.0, rtt_ms: int = 50) -> Impairment:
    """Return a path of 100 Mbit/s, the same both ways."""
    return Impairment(
        delay_ns=rtt_ms * MS // 2,
        loss=loss,
        burst=burst,
        rate_bps=100_000_000,
        queue_bytes=1 << 20,
    )


def exchange(pair: Pair) -> int:
    """Ask, answer, and return the time it took in ns."""
    begin = pair.now_ns
    client, server = pair.client, pair.server
    stream_id = client.send_stream(REQUEST)
    pair.drive(lambda: stream_id in server.ended, 60 * SECOND)
    server.write(stream_id, ANSWER)
    pair.drive(lambda: stream_id in client.ended, 60 * SECOND)
    if client.received.pop(stream_id) != ANSWER or server.received.pop(stream_id) != REQUEST:
        raise AssertionError("the bytes that arrived are not those that were sent")
    return pair.now_ns - begin


def measure(
    impairment: Impairment,
    exchanges: int,
    *,
    pause_ns: int = 20 * MS,
    seed: int = 1,
    warm_up: int = WARM_UP,
    **choices: Any,
) -> Times:
    """Run *exchanges* exchanges after *warm_up* others, *pause_ns* apart, and return their times."""
    params = Params(handshake_timeout_ns=60 * SECOND, **choices)
    pair = Pair(impairment, seed=seed, client_params=params, server_params=params)
    pair.connect(60 * SECOND)
    for _ in range(warm_up):
        exchange(pair)
        pair.run_for(pause_ns)
    before = _counted(pair)
    times = []
    for _ in range(exchanges):
        times.append(exchange(pair) / MS)
        pair.run_for(pause_ns)
    after = _counted(pair)
    return Times(sorted(times), *(b - a for a, b in zip(before, after, strict=True)))


def _counted(pair: Pair) -> tuple[int, int, int]:
    both = [peer.open.stats() for peer in (pair.client, pair.server)]
    names = ("bytes_sent", "fec_repairs_sent", "fec_packets_recovered")
    sent, repairs, recovered = (sum(s[name] for s in both) for name in names)
    return sent, repairs, recovered


def main(exchanges: int) -> None:
    """Print a row per path and policy; ratios are to the median without loss and without repairs."""
    base = measure(path(0), 200, fec="off").at(0.5)
    print(f"64 bytes up, {len(ANSWER):,} down, 50 ms, {exchanges} exchanges; no loss: {base:.1f} ms")
    print(f"{'loss':>6} {'burst':>5} {'fec':>7} {'p50':>6} {'p99':>6} {'p99.9':>6}  sent  repairs")
    for loss, burst in ((0.0, 1), (0.01, 1), (0.05, 1), (0.05, 3), (0.1, 1), (0.1, 3)):
        plain = 0
        for fec in ("off", "auto", "always"):
            times = measure(path(loss, burst), exchanges, fec=fec)
            plain = plain or times.bytes_sent
            columns = " ".join(f"{times.at(q) / base:5.2f}x" for q in (0.5, 0.99, 0.999))
            sent = times.bytes_sent / plain
            print(f"{loss:6.0%} {burst:5} {fec:>7} {columns} {sent:5.2f} {times.repairs:8}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
