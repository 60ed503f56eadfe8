"""A 64-byte message at 60 Hz over 25 ms with loss: how late it comes, and what it costs.

Virtual time, so a run repeats to the byte. Run as a program it prints a table per seed and over
all: ``python -m tests.support.realtime_bars [messages] [seeds]``.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from cython_ext.core import Params
from quantum.config import TransportConfig, realtime
from quantum.testing import Impairment, Pair

MS = 1_000_000
SECOND = 1_000 * MS
ONE_WAY_NS = 25 * MS
PERIOD_NS = SECOND // 60
MESSAGE_BYTES = 64

# From a source of chance to an endless sequence: is the next datagram lost?
Losses = Callable[[Random], Iterator[bool]]


def random_loss(share: float) -> Losses:
    """Return losses that know nothing of each other."""

    def draw(rng: Random) -> Iterator[bool]:
        while True:
            yield rng.random() < share

    return draw


def fixed_bursts(share: float, length: int) -> Losses:
    """Return bursts of exactly *length* datagrams that make up *share* of all."""
    start = share / (length * (1 - share) + share)

    def draw(rng: Random) -> Iterator[bool]:
        while True:
            if rng.random() < start:
                yield from [True] * length
            else:
                yield False

    return draw


def geometric_bursts(share: float, mean: float) -> Losses:
    """Return bursts of a Gilbert channel: *mean* datagrams long, *share* of all lost."""
    start = share / (mean * (1 - share))

    def draw(rng: Random) -> Iterator[bool]:
        lost = False
        while True:
            lost = rng.random() < (1 - 1 / mean if lost else start)
            yield lost

    return draw


LOSSES: dict[str, Losses] = {
    "no loss": random_loss(0),
    "1 % random": random_loss(0.01),
    "5 % random": random_loss(0.05),
    "10 % random": random_loss(0.10),
    "10 % in bursts of 3": fixed_bursts(0.10, 3),
    "10 % in bursts of mean 3": geometric_bursts(0.10, 3),
}


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        delays: of each message, one way, as multiples of the path's delay; sorted.
        sender_packets: that the sender sent after the handshake.
        receiver_packets: that the receiver sent.
        lost: messages that never arrived.
        stats: the sender's counters.
    """

    delays: list[float] = field(default_factory=list)
    messages: int = 0
    sender_packets: int = 0
    receiver_packets: int = 0
    lost: int = 0
    sender_bytes: int = 0
    stats: dict[str, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """Return the delay that *share* of the messages do not exceed."""
        return self.delays[min(int(share * len(self.delays)), len(self.delays) - 1)]

    @property
    def packets_per_message(self) -> float:
        """Packets of both ends by the number of messages."""
        return (self.sender_packets + self.receiver_packets) / self.messages

    def add(self, other: "Outcome") -> None:
        """Take in another run."""
        self.delays = sorted(self.delays + other.delays)
        self.messages += other.messages
        self.sender_packets += other.sender_packets
        self.receiver_packets += other.receiver_packets
        self.lost += other.lost
        self.sender_bytes += other.sender_bytes
        for name, value in other.stats.items():
            self.stats[name] = self.stats.get(name, 0) + value


class _Arrivals(list[bytes]):
    """The messages of a peer, which notes when each came."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.at_ns: dict[int, int] = {}
        self._pair = pair

    def __iadd__(self, messages: Iterable[bytes]) -> "_Arrivals":  # type: ignore[misc, override]
        for message in messages:
            number = int.from_bytes(message[:4], "big")
            assert number not in self.at_ns, f"message {number} came twice"
            self.at_ns[number] = self._pair.now_ns
        return self


def run(
    losses: Losses,
    seed: int,
    messages: int = 6_000,
    config: TransportConfig | None = None,
    deadline_ns: int = 0,
) -> Outcome:
    """Send *messages*, each at its time, and return when they arrived."""
    params: Params = (config or realtime()).params()
    pair = Pair(
        Impairment(delay_ns=ONE_WAY_NS), seed=seed, client_params=params, server_params=params
    )
    pair.connect()
    pair.run_for(SECOND // 2)
    for side, peer in (("up", pair.client), ("down", pair.server)):
        chance = losses(Random(f"{seed}/{side}"))
        peer.tap = lambda number, data, chance=chance: [] if next(chance) else [data]
    before = pair.client.datagrams_sent, pair.server.datagrams_sent
    bytes_before = pair.client.open.stats()["bytes_sent"]
    sent_at: list[int] = []
    arrivals = pair.server.messages = _Arrivals(pair)
    start = pair.now_ns
    for number in range(messages):
        due = start + number * PERIOD_NS
        pair.run_for(due - pair.now_ns)
        sent_at.append(pair.now_ns)
        message = number.to_bytes(4, "big") + bytes(MESSAGE_BYTES - 4)
        deadline = pair.now_ns + deadline_ns if deadline_ns else 0
        assert pair.client.open.send_message(message, 3, deadline)
    pair.run_for(2 * SECOND)
    outcome = Outcome(messages=messages)
    arrived_at = arrivals.at_ns
    outcome.sender_packets = pair.client.datagrams_sent - before[0]
    outcome.receiver_packets = pair.server.datagrams_sent - before[1]
    outcome.sender_bytes = pair.client.open.stats()["bytes_sent"] - bytes_before
    outcome.delays = sorted((arrived_at[n] - sent_at[n]) / ONE_WAY_NS for n in arrived_at)
    outcome.lost = messages - len(arrived_at)
    outcome.stats = pair.client.open.stats()
    return outcome


def row(name: str, outcome: Outcome) -> str:
    """Return a line of the table."""
    n = outcome.messages
    return (
        f"{name:26} {outcome.percentile(0.5):6.2f} {outcome.percentile(0.99):6.2f}"
        f" {outcome.percentile(0.999):6.2f} {outcome.delays[-1]:7.2f}"
        f" {outcome.packets_per_message:7.3f} {outcome.sender_packets / n:7.3f}"
        f" {outcome.sender_bytes / n:6.0f} {outcome.lost:5}"
    )


def main(messages: int, seeds: int) -> None:
    """Print the table."""
    print(f"{messages} messages a seed; delays in one-way delays of 25 ms, packets per message")
    print(f"{'losses':26}    p50    p99  p99.9     max packets of which sender's, bytes, lost")
    for name, losses in LOSSES.items():
        total = Outcome()
        for seed in range(seeds):
            outcome = run(losses, seed, messages)
            print(row(f"  {name}, seed {seed}", outcome))
            total.add(outcome)
        print(row(name, total))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 6_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 6,
    )
