"""How long a 20 KB answer takes over a lossy path, with and without repairs.

A client sends 64 bytes on a stream, the server answers with 20,480, over and over on one
connection in virtual time. Run as a program it prints the distribution of the times from the
first byte written to the last byte read: ``python -m tests.support.tail_bars [exchanges]``.
"""

import sys
from dataclasses import dataclass
from typing import Any

from cython_ext.core import Endpoint, Params
from quantum.testing import Impairment, Pair, Peer, Stalled
from quantum.testing.pair import CLIENT, SERVER

Address = tuple[str, int]

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


class Noting(Peer):
    """A peer that answers every request, and notes when a stream ended: its application's time."""

    def __init__(self, endpoint: Endpoint, answer: bytes = b"") -> None:
        super().__init__(endpoint)
        self.answer = answer
        self.ended_ns: dict[int, int] = {}

    def poll_datagrams(self, now_ns: int) -> list[tuple[Address, bytes]]:
        """Return what leaves, the answers to what just ended included."""
        leaving = super().poll_datagrams(now_ns)
        for stream_id in self.ended - self.ended_ns.keys():
            self.ended_ns[stream_id] = now_ns
            if self.answer:
                self.write(stream_id, self.answer)
                leaving += super().poll_datagrams(now_ns)
        return leaving


class Caller:
    """A client and a server that answers, connected."""

    def __init__(
        self,
        impairment: Impairment,
        *,
        back: Impairment | None = None,
        seed: int = 1,
        answer: bytes = ANSWER,
        **choices: Any,
    ) -> None:
        params = Params(handshake_timeout_ns=60 * SECOND, **choices)
        self.pair = Pair(
            impairment, back=back, seed=seed, client_params=params, server_params=params
        )
        self.client = Noting(self.pair.client.endpoint)
        self.server = Noting(self.pair.server.endpoint, answer)
        for address, node in ((CLIENT, self.client), (SERVER, self.server)):
            self.pair.network.remove(address)
            self.pair.network.add(address, node)
        self.pair.client, self.pair.server = self.client, self.server
        self.pair.connect(60 * SECOND)

    def exchange(self, request: bytes = REQUEST) -> int:
        """Ask, and return the time in ns until the answer was there to its last byte.

        Raises:
            Stalled: what arrived is not what was sent.
        """
        begin = self.pair.now_ns
        stream_id = self.client.send_stream(request)
        self.pair.drive(lambda: stream_id in self.client.ended_ns, 60 * SECOND)
        arrived = self.client.received.pop(stream_id), self.server.received.pop(stream_id)
        if arrived != (self.server.answer, request):
            raise Stalled("the bytes that arrived are not those that were sent")
        return self.client.ended_ns[stream_id] - begin


def measure(
    impairment: Impairment,
    exchanges: int,
    *,
    pause_ns: int = 20 * MS,
    seed: int = 1,
    warm_up: int = WARM_UP,
    **choices: Any,
) -> Times:
    """Return the times of *exchanges* exchanges, *pause_ns* apart, after *warm_up* others."""
    caller = Caller(impairment, seed=seed, **choices)
    for _ in range(warm_up):
        caller.exchange()
        caller.pair.run_for(pause_ns)
    before = _counted(caller.pair)
    times = []
    for _ in range(exchanges):
        times.append(caller.exchange() / MS)
        caller.pair.run_for(pause_ns)
    after = _counted(caller.pair)
    return Times(sorted(times), *(b - a for a, b in zip(before, after, strict=True)))


def _counted(pair: Pair) -> tuple[int, int, int]:
    both = [peer.open.stats() for peer in (pair.client, pair.server)]
    names = ("bytes_sent", "fec_repairs_sent", "fec_packets_recovered")
    sent, repairs, recovered = (sum(s[name] for s in both) for name in names)
    return sent, repairs, recovered


def main(exchanges: int) -> None:
    """Print a row per path and policy; ratios are to the median without loss and repairs."""
    base = measure(path(0), 200, fec="off").at(0.5)
    print(
        f"64 bytes up, {len(ANSWER):,} down, 50 ms, {exchanges} exchanges; no loss: {base:.1f} ms"
    )
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
