"""A network in virtual time: delay, jitter, loss, bursts, reordering, duplication, corruption, MTU.

Pure Python, no clock, no socket: time is an integer that `Network` moves from event to event, and
every random choice comes from a seed, so a run repeats to the byte. It knows nothing of what the
datagrams mean; whoever has the four methods of `Node` can be joined.

Speed is a feature here, since grids push tens of millions of datagrams through: irregular
datagrams are drawn ahead as gaps ("the next loss is 37 datagrams away"), so that the many that
simply pass cost no random number, and what one node sends at one instant travels as one train.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import log
from random import Random
from typing import NamedTuple, Protocol, runtime_checkable

# Where a node is reached; anything hashable whose repr is the same in every run.
Endpoint = Hashable


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction of a path does to datagrams; the default is a perfect wire.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    delay_ns: int = 0
    """Time from one end to the other."""
    jitter_ns: int = 0
    """Extra delay, uniform from 0 to this. Order is kept, as in a queue; see `reorder`."""
    loss: float = 0.0
    """Share of datagrams lost, 0 to 1, in the long run, whatever `burst` is."""
    burst: float = 1.0
    """Mean length of a run of losses (Gilbert model). 1 makes losses independent."""
    reorder: float = 0.0
    """Share of datagrams held back by `reorder_delay_ns`, so that later ones overtake them."""
    reorder_delay_ns: int = 0
    """How long they are held back; must exceed 0 if `reorder` does."""
    duplicate: float = 0.0
    """Share of datagrams that arrive twice."""
    duplicate_delay_ns: int = 0
    """How long after the first the copy arrives."""
    corrupt: float = 0.0
    """Share of datagrams in which bits of one byte are flipped."""
    rate_bps: int | None = None
    """Bits of datagram (headers below it not counted) per second; None is without limit."""
    queue_bytes: int = 256 * 1024
    """Room before the bottleneck that `rate_bps` makes; a datagram that does not fit is dropped."""
    overhead_bytes: int = 0
    """What each datagram takes of rate and queue beside itself: 28 is IPv4 and UDP."""
    policer_bytes: int | None = None
    """Turns the bottleneck into a token bucket of this depth, filled at `rate_bps`: what finds no
    token is dropped, nothing waits."""
    mark_bytes: int | None = None
    """Datagrams that are `Capable` and find more than this in the queue become `Congested`."""
    mtu: int | None = None
    """Largest datagram that passes, in bytes of UDP payload; larger ones vanish silently."""
    blackholes: tuple[tuple[int, int], ...] = ()
    """Intervals (from, to) in ns, the end excluded, in which everything sent vanishes."""

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)!r}")
        for name in ("delay_ns", "jitter_ns", "reorder_delay_ns", "duplicate_delay_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative: {getattr(self, name)}")
        if self.burst < 1:
            raise ValueError(f"burst is a mean length of at least 1, not {self.burst}")
        if self.burst > 1 and 0 < self.loss < 1 and self.loss > self.burst / (self.burst + 1):
            raise ValueError(
                f"loss {self.loss} cannot be reached with bursts of {self.burst}: raise burst to "
                f"at least {self.loss / (1 - self.loss):.2f} or set it to 1"
            )
        if self.reorder and not self.reorder_delay_ns:
            raise ValueError("reorder needs reorder_delay_ns above 0")
        if self.rate_bps is not None and self.rate_bps <= 0:
            raise ValueError(f"rate_bps must exceed 0, not {self.rate_bps}; None means no limit")
        if self.mtu is not None and self.mtu <= 0:
            raise ValueError(f"mtu must exceed 0, not {self.mtu}; None means no limit")
        if self.rate_bps is None and (
            self.policer_bytes is not None or self.mark_bytes is not None
        ):
            raise ValueError("policer_bytes and mark_bytes need rate_bps")
        if any(start > end for start, end in self.blackholes):
            raise ValueError("a black hole ends after it starts")


class Capable(bytes):
    """A datagram marked ECT(0): its sender understands congestion marks."""

    __slots__ = ()


class Congested(Capable):
    """A datagram marked CE: it stood in a queue that grew too long."""

    __slots__ = ()


class LinkStats(NamedTuple):
    """What a link did so far, in datagrams."""

    sent: int
    delivered: int
    lost: int
    queue_full: int
    too_big: int
    blackholed: int
    duplicated: int
    corrupted: int
    reordered: int
    marked: int


class Link:
    """One direction of a path, under one `Impairment`.

    Args:
        impairment: may be replaced at any time; what is under way stays under way.
        rng: the only source of chance.
    """

    __slots__ = (
        "_blackholed",
        "_busy_until",
        "_corrupt_at",
        "_corrupted",
        "_delay",
        "_duplicate_at",
        "_duplicated",
        "_event_at",
        "_impairment",
        "_index",
        "_is_plain",
        "_last",
        "_loss_at",
        "_loss_end",
        "_lost",
        "_marked",
        "_queue_full",
        "_reorder_at",
        "_reordered",
        "_rng",
        "_tokens",
        "_tokens_at",
        "_too_big",
    )

    def __init__(self, impairment: Impairment, rng: Random) -> None:
        self._rng = rng
        self._index = 0
        self._busy_until = 0.0
        self._last = 0
        self._lost = self._queue_full = self._too_big = self._blackholed = 0
        self._duplicated = self._corrupted = self._reordered = self._marked = 0
        self._tokens = float(impairment.policer_bytes or 0)
        self._tokens_at = 0
        self.impairment = impairment

    def send(self, now_ns: int, datagram: bytes) -> list[tuple[int, bytes]]:
        """Take one datagram; return its copies with their time of arrival, none if it is lost."""
        return [(at, d) for at, run in self.send_train(now_ns, [datagram]) for d in run]

    def send_train(self, now_ns: int, datagrams: list[bytes]) -> list[tuple[int, list[bytes]]]:
        """Take datagrams sent at one instant; return trains with the time each arrives.

        *now_ns* never goes back from call to call.
        """
        end = self._index + len(datagrams)
        if self._is_plain and end <= self._event_at:
            self._index = end
            return [(now_ns + self._delay, datagrams)]
        trains: list[tuple[int, list[bytes]]] = []
        last_at = -1
        run: list[bytes] = []
        for data in datagrams:
            for at, copy in self._pass(now_ns, data):
                if at != last_at:
                    run = []
                    trains.append((at, run))
                    last_at = at
                run.append(copy)
        return trains

    @property
    def impairment(self) -> Impairment:
        """What the link does now."""
        return self._impairment

    @impairment.setter
    def impairment(self, value: Impairment) -> None:
        self._impairment = value
        self._delay = value.delay_ns
        self._is_plain = (
            not value.jitter_ns
            and value.rate_bps is None
            and value.mtu is None
            and not value.blackholes
        )
        self._loss_at = self._loss_end = self._index
        self._draw_loss()
        self._duplicate_at = self._index + _gap(value.duplicate, self._rng)
        self._corrupt_at = self._index + _gap(value.corrupt, self._rng)
        self._reorder_at = self._index + _gap(value.reorder, self._rng)
        self._choose_event()

    @property
    def stats(self) -> LinkStats:
        """A snapshot of the counters."""
        dropped = self._lost + self._queue_full + self._too_big + self._blackholed
        return LinkStats(
            sent=self._index,
            delivered=self._index - dropped + self._duplicated,
            lost=self._lost,
            queue_full=self._queue_full,
            too_big=self._too_big,
            blackholed=self._blackholed,
            duplicated=self._duplicated,
            corrupted=self._corrupted,
            reordered=self._reordered,
            marked=self._marked,
        )

    def _pass(self, now_ns: int, data: bytes) -> tuple[tuple[int, bytes], ...]:
        """Return the copies of one datagram that arrive, each with its time."""
        index = self._index
        self._index = index + 1
        is_event = index >= self._event_at
        is_lost = is_event and index >= self._loss_at
        if is_lost and index + 1 >= self._loss_end:
            self._draw_loss()
        if self._is_plain and not is_lost:
            at: int | None = now_ns + self._delay
        else:
            if type(data) is Capable and self._is_crowded(now_ns):
                data = Congested(data)
                self._marked += 1
            at = self._departure(now_ns, data, is_lost)
        if at is None:
            # Whatever else was meant for this datagram falls to the next one.
            self._choose_event()
            return ()
        if not is_event:
            return ((at, data),)
        impairment, rng = self._impairment, self._rng
        copies = 1
        if index >= self._corrupt_at:
            self._corrupt_at = index + 1 + _gap(impairment.corrupt, rng)
            self._corrupted += 1
            data = _flip(data, rng)
        if index >= self._reorder_at:
            self._reorder_at = index + 1 + _gap(impairment.reorder, rng)
            self._reordered += 1
            at += impairment.reorder_delay_ns
        if index >= self._duplicate_at:
            self._duplicate_at = index + 1 + _gap(impairment.duplicate, rng)
            self._duplicated += 1
            copies = 2
        self._choose_event()
        first = (at, data)
        return (first,) if copies == 1 else (first, (at + impairment.duplicate_delay_ns, data))

    def _departure(self, now_ns: int, data: bytes, is_lost: bool) -> int | None:
        """Return when *data* arrives, or None when it never does, and count why."""
        impairment = self._impairment
        if impairment.blackholes and any(a <= now_ns < b for a, b in impairment.blackholes):
            self._blackholed += 1
            return None
        if impairment.mtu is not None and len(data) > impairment.mtu:
            self._too_big += 1
            return None
        at = now_ns
        size = len(data) + impairment.overhead_bytes
        if impairment.policer_bytes is not None:
            if not self._take_tokens(now_ns, size):
                self._queue_full += 1
                return None
        elif impairment.rate_bps is not None:
            byte_ns = 8e9 / impairment.rate_bps
            free_at = max(self._busy_until, float(now_ns))
            if (free_at - now_ns) / byte_ns + size > impairment.queue_bytes:
                self._queue_full += 1
                return None
            # A datagram lost further on has used the bottleneck all the same.
            self._busy_until = free_at + size * byte_ns
            at = round(self._busy_until)
        if is_lost:
            self._lost += 1
            return None
        at += impairment.delay_ns
        if impairment.jitter_ns:
            at = max(at + int(self._rng.random() * impairment.jitter_ns), self._last)
            self._last = at
        return at

    def _take_tokens(self, now_ns: int, size: int) -> bool:
        impairment = self._impairment
        assert impairment.policer_bytes is not None
        assert impairment.rate_bps is not None
        earned = (now_ns - self._tokens_at) * impairment.rate_bps / 8e9
        self._tokens = min(self._tokens + earned, float(impairment.policer_bytes))
        self._tokens_at = now_ns
        if self._tokens < size:
            return False
        self._tokens -= size
        return True

    def _is_crowded(self, now_ns: int) -> bool:
        limit, rate = self._impairment.mark_bytes, self._impairment.rate_bps
        return (
            limit is not None
            and rate is not None
            and (self._busy_until - now_ns) * rate / 8e9 > limit
        )

    def _draw_loss(self) -> None:
        """Choose the next run of losses after the last one."""
        loss, burst = self._impairment.loss, self._impairment.burst
        if burst <= 1 or loss >= 1:
            self._loss_at = self._loss_end + _gap(loss, self._rng)
            self._loss_end = self._loss_at + 1
            return
        # Gilbert: from good to bad with this chance per datagram, back with 1 / burst; the share
        # of time in the bad state is then exactly `loss`.
        start = loss / (burst * (1 - loss))
        self._loss_at = self._loss_end + 1 + _gap(start, self._rng)
        self._loss_end = self._loss_at + 1 + _gap(1 / burst, self._rng)

    def _choose_event(self) -> None:
        self._event_at = min(self._loss_at, self._duplicate_at, self._corrupt_at, self._reorder_at)


@runtime_checkable
class Node(Protocol):
    """Who can stand at an endpoint of a `Network`: a core, an oracle, or a few lines in a test."""

    def handle_datagram(self, now_ns: int, data: bytes, source: Endpoint) -> None:
        """Take what arrived."""

    def handle_timeout(self, now_ns: int) -> None:
        """Do what was due; `next_timeout` must have moved past *now_ns* afterwards."""

    def poll_datagrams(self, now_ns: int) -> Iterable[tuple[Endpoint, bytes]]:
        """Yield what is to be sent now, as (destination, datagram)."""

    def next_timeout(self) -> int | None:
        """Return when `handle_timeout` wants to be called, in ns, or None."""


@runtime_checkable
class TrainNode(Node, Protocol):
    """A node that takes what arrives at one instant from one source in one call."""

    def handle_datagrams(self, now_ns: int, train: list[bytes], source: Endpoint) -> None:
        """Take a train; it may be kept, but not changed."""


class Network:
    """Nodes, the links between them, and the clock they share.

    Before the clock moves every node is polled, so whatever a test did to a node between two
    steps is seen without telling the network.

    Args:
        seed: decides every random choice of every link.
        now_ns: where the clock starts.
    """

    def __init__(self, seed: int = 0, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        self.unroutable = 0
        """Datagrams to endpoints that nobody joined with their sender, or whose node left."""
        self._seed = seed
        self._order = 0
        self._nodes: dict[Endpoint, Node] = {}
        self._links: dict[tuple[Endpoint, Endpoint], Link] = {}
        self._due: list[tuple[int, int, Endpoint, Endpoint, list[bytes]]] = []
        self._takers: dict[Endpoint, Callable[[int, list[bytes], Endpoint], None]] = {}
        self._next_timeout: int | None = None
        self._idle_steps = 0

    def add(self, endpoint: Endpoint, node: Node) -> None:
        """Place *node* at *endpoint*.

        Raises:
            ValueError: somebody is there already.
        """
        if endpoint in self._nodes:
            raise ValueError(f"{endpoint!r} is taken; remove its node first")
        self._nodes[endpoint] = node
        self._takers[endpoint] = (
            node.handle_datagrams if isinstance(node, TrainNode) else _one_by_one(node)
        )

    def remove(self, endpoint: Endpoint) -> Node:
        """Take the node away, as when its process dies; what is under way to it is lost.

        Raises:
            KeyError: nobody is there.
        """
        node = self._nodes.pop(endpoint)
        del self._takers[endpoint]
        return node

    def join(
        self,
        first: Endpoint,
        second: Endpoint,
        impairment: Impairment,
        back: Impairment | None = None,
    ) -> None:
        """Lay a path between two endpoints; *back* is the other direction if it differs.

        Laying it again replaces it.
        """
        there = impairment
        for pair, direction in (((first, second), there), ((second, first), back or there)):
            # Seeded by its ends, so that a link behaves alike whatever was joined before it.
            self._links[pair] = Link(direction, Random(f"{self._seed}/{pair!r}"))

    def share(
        self,
        source: Endpoint,
        destination: Endpoint,
        other: tuple[Endpoint, Endpoint],
    ) -> None:
        """Let the direction from *source* to *destination* run over the link that *other* (source,
        destination) has already: one bottleneck for several flows.

        Raises:
            KeyError: the other two are not joined.
        """
        self._links[source, destination] = self._links[other]

    def link(self, source: Endpoint, destination: Endpoint) -> Link:
        """Return the link of one direction, to read its stats or change its impairment.

        Raises:
            KeyError: these two are not joined.
        """
        return self._links[source, destination]

    def step(self, until_ns: int | None = None) -> bool:
        """Move the clock to the next event and let it happen; tell whether there was one.

        Args:
            until_ns: go no further; the clock stops there if nothing happens before.

        Raises:
            RuntimeError: the clock stands still because a node's timeout stays in the past.
        """
        self._collect()
        due, at = self._due, self._next_timeout
        if due and (at is None or due[0][0] < at):
            at = due[0][0]
        if at is None or (until_ns is not None and at > until_ns):
            if until_ns is not None:
                self.now_ns = max(self.now_ns, until_ns)
            return False
        self._move(at)
        now = self.now_ns
        while due and due[0][0] <= now:
            _, _, destination, source, train = heappop(due)
            take = self._takers.get(destination)
            if take is None:
                self.unroutable += len(train)
            else:
                take(now, train, source)
        if self._next_timeout is not None and self._next_timeout <= now:
            for node in list(self._nodes.values()):
                deadline = node.next_timeout()
                if deadline is not None and deadline <= now:
                    node.handle_timeout(now)
        return True

    def run_until(self, predicate: Callable[[], bool], limit_ns: int) -> bool:
        """Step until *predicate* holds; tell whether it did within *limit_ns* from now."""
        end = self.now_ns + limit_ns
        while not predicate():
            if not self.step(end):
                return predicate()
        return True

    def run_for(self, duration_ns: int) -> None:
        """Let *duration_ns* pass."""
        end = self.now_ns + duration_ns
        while self.step(end):
            pass

    def _collect(self) -> None:
        """Poll every node, put what it sends on its link, and note when it wants to be woken."""
        now = self.now_ns
        soonest: int | None = None
        for source, node in self._nodes.items():
            train: list[bytes] = []
            towards: Endpoint = None
            for destination, data in node.poll_datagrams(now):
                if destination != towards and train:
                    self._send(source, towards, train)
                    train = []
                towards = destination
                train.append(data)
            if train:
                self._send(source, towards, train)
            deadline = node.next_timeout()
            if deadline is not None and (soonest is None or deadline < soonest):
                soonest = deadline
        self._next_timeout = soonest

    def _send(self, source: Endpoint, destination: Endpoint, train: list[bytes]) -> None:
        link = self._links.get((source, destination))
        if link is None:
            self.unroutable += len(train)
            return
        for at, run in link.send_train(self.now_ns, train):
            self._order += 1
            heappush(self._due, (at, self._order, destination, source, run))

    def _move(self, at: int) -> None:
        if at > self.now_ns:
            self.now_ns = at
            self._idle_steps = 0
            return
        self._idle_steps += 1
        if self._idle_steps > 100_000:
            raise RuntimeError(
                f"the clock stands at {self.now_ns} ns: handle_timeout must move next_timeout "
                "forward, and nodes must not answer each other without delay for ever"
            )


def _one_by_one(node: Node) -> Callable[[int, list[bytes], Endpoint], None]:
    def take(now_ns: int, train: list[bytes], source: Endpoint) -> None:
        for data in train:
            node.handle_datagram(now_ns, data, source)

    return take


def _gap(share: float, rng: Random) -> int:
    """Return how many datagrams pass before one is chosen, if each is with chance *share*."""
    if share <= 0:
        return 1 << 62
    if share >= 1:
        return 0
    return int(log(1.0 - rng.random()) / log(1.0 - share))


def _flip(data: bytes, rng: Random) -> bytes:
    """Return *data* with one to eight bits of one byte flipped."""
    if not data:
        return data
    damaged = bytearray(data)
    damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
    return bytes(damaged)
