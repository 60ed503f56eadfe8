"""Bulk flows over one shared bottleneck in virtual time, and what each of them got.

A `Bulk` node is a core with an application that always has more to send, or that reads and throws
away. `Bottleneck` lays any number of flows, each with its own controller, over the same link.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from cython_ext.core import Connection, ConnectionState, Endpoint, EventKind, Params, ed25519_public
from quantum.testing import Capable, Congested, Impairment, Network
from quantum.testing.network import Endpoint as Place

MS = 1_000_000
SECOND = 1_000 * MS
BLOCK = Random("bulk").randbytes(1 << 20)
WIDE = {"max_data": 64 << 20, "max_stream_data": 64 << 20, "send_buffer_bytes": 4 << 20}
# IPv4 and UDP; and our header and tag.
BELOW_BYTES = 28
OWN_BYTES = 32 + 16
DATAGRAM_BYTES = 1_232
# The flags that a protected packet may have; hellos leave without a mark.
PROTECTED = 0x56


class Bulk:
    """One end of a flow: a `TrainNode` that writes without end once `start` was called."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.connection: Connection | None = None
        self.bytes_read = 0
        self.sends = False
        self.left: int | None = None
        self._stream: int | None = None
        self._at = 0

    @property
    def open(self) -> Connection:
        """The connection; AssertionError before there is one."""
        assert self.connection is not None
        return self.connection

    def start(self, total: int | None = None) -> None:
        """Begin to write: *total* bytes, or without end."""
        self.sends = True
        self.left = total
        if self._stream is None:
            self._stream = self.open.open_stream(False)
        self._write()

    def stop(self) -> None:
        """Write no more; what the core has taken already still goes out."""
        self.sends = False

    def handle_datagram(self, now_ns: int, data: bytes, source: Place) -> None:
        """Give the core what arrived."""
        self.handle_datagrams(now_ns, [data], source)

    def handle_datagrams(self, now_ns: int, train: list[bytes], source: Place) -> None:
        """Give the core what arrived at one instant, with its ECN marks."""
        assert isinstance(source, tuple)
        handle = self.endpoint.handle_datagram
        for data in train:
            kind = type(data)
            mark = 0 if kind is bytes else 3 if kind is Congested else 2
            handle(bytes(data), source, now_ns, mark)

    def handle_timeout(self, now_ns: int) -> None:
        """Let the core do what is due."""
        self.endpoint.handle_timeout(now_ns)

    def next_timeout(self) -> int | None:
        """Return when the core wants to be called, in ns."""
        return self.endpoint.next_timeout()

    def poll_datagrams(self, now_ns: int) -> Iterable[tuple[Place, bytes]]:
        """Run the application and return what leaves."""
        leaving = self.endpoint.poll_datagrams(now_ns)
        while handles := self.endpoint.poll_connections():
            for handle in handles:
                self.connection = handle
                self._attend(handle)
            leaving += self.endpoint.poll_datagrams(now_ns)
        if leaving and self.connection is not None and self.connection.stats()["ecn_marking"]:
            return [(a, d if d[5] & ~PROTECTED else Capable(d)) for a, d in leaving]
        return leaving

    def _attend(self, handle: Connection) -> None:
        for kind, stream_id, _ in handle.poll_events():
            if kind == EventKind.STREAM_DATA:
                while data := handle.stream_read(stream_id, 1 << 20):
                    self.bytes_read += len(data)
            elif kind == EventKind.STREAM_SPACE:
                self._write()

    def _write(self) -> None:
        while self.sends and self._stream is not None and self.left != 0:
            block = BLOCK if self.left is None else BLOCK[: self._at + self.left]
            taken = self.open.stream_write(self._stream, block, self._at)
            if taken <= 0:
                return
            self._at = (self._at + taken) % len(BLOCK)
            if self.left is not None:
                self.left -= taken


@dataclass
class Flow:
    """A sender, a receiver, and the places where they stand."""

    sender: Bulk
    receiver: Bulk
    places: tuple[tuple[str, int], tuple[str, int]]
    counted: dict[str, int] = field(default_factory=dict)


class Bottleneck:
    """Flows that share one link in each direction.

    Args:
        there: what the link does to what senders send.
        back: the other direction; by default the same delay and nothing else.
        seed: decides every random choice.
    """

    def __init__(self, there: Impairment, back: Impairment | None = None, seed: int = 0) -> None:
        self.network = Network(seed, now_ns=SECOND)
        self.there = there
        self.back = back or Impairment(delay_ns=there.delay_ns)
        self.flows: list[Flow] = []
        self._seed = seed

    def add(self, congestion: str = "bbr", **values: object) -> Flow:
        """Add a connected flow with this controller; its sender does not send yet."""
        number = len(self.flows) + 1
        client, server = (f"192.0.2.{number}", 50_000), (f"198.51.100.{number}", 4_433)
        secret = Random(f"{self._seed}/{number}/secret").randbytes(32)
        params = Params(**{**WIDE, "controller": congestion, **values})  # type: ignore[arg-type]
        sender = Bulk(Endpoint(params, Random(f"{self._seed}/{number}/client").randbytes))
        receiver = Bulk(Endpoint(params, Random(f"{self._seed}/{number}/server").randbytes, secret))
        self.network.add(client, sender)
        self.network.add(server, receiver)
        self.network.join(client, server, self.there, self.back)
        if self.flows:
            first = self.flows[0].places
            self.network.share(client, server, first)
            self.network.share(server, client, (first[1], first[0]))
        flow = Flow(sender, receiver, (client, server))
        self.flows.append(flow)
        sender.connection = sender.endpoint.connect(
            server, ed25519_public(secret), self.network.now_ns
        )

        def is_established() -> bool:
            ends = sender.connection, receiver.connection
            return all(c is not None and c.state == ConnectionState.ESTABLISHED for c in ends)

        assert self.network.run_until(is_established, 20 * SECOND), "the handshake does not end"
        return flow

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self.network.now_ns

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.network.run_for(round(seconds * SECOND))

    def read(self) -> list[int]:
        """Return what each receiver has read so far."""
        return [flow.receiver.bytes_read for flow in self.flows]


def payload_rate(rate_bps: int, loss: float = 0.0) -> float:
    """Return the bytes of payload per second that a link of *rate_bps* can deliver."""
    share = (DATAGRAM_BYTES - OWN_BYTES) / (DATAGRAM_BYTES + BELOW_BYTES)
    return rate_bps / 8 * (1 - loss) * share
