"""A core and an oracle that get the same sources, parities and losses rebuild and report the same.

What is compared after each packet is state and what the application is told; at the end also which
numbers both acknowledge and which they say they rebuilt.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interop.reference import Config
from interop.reference.codec import HEADER_BYTES, Flag
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.frames import (
    Ack,
    Datagram,
    Frame,
    MaxStreams,
    Message,
    MessageExpired,
    Padding,
    Ping,
    Range,
    Repair,
    StopSending,
    Stream,
    decode_frames,
    encode_frames,
)
from interop.reference.reed_solomon import parity
from interop.reference.state import State
from tests.conformance.test_lockstep import PATTERN, Told, Twins, part, stream, twin_servers
from tests.support.mixed_pair import START_NS

SOURCES = 12


def config_of(sources: int) -> Config:
    """Return the configuration of a receiver that keeps that many sources."""
    return Config(parameters=replace(DEFAULT_PARAMETERS, repair_sources=sources))


CONFIG = config_of(SOURCES)
kept = st.sampled_from([0, 1, 3, SOURCES, 64])

small = st.integers(0, 40)
content = st.one_of(
    st.builds(lambda i: Message(i, PATTERN[:30]), st.integers(0, 9)),
    st.builds(part, st.integers(0, 3), st.just(30), st.integers(0, 15), st.integers(0, 15)),
    st.builds(MessageExpired, st.integers(0, 9), st.just(30)),
    st.builds(
        stream, st.integers(0, 1).map(lambda n: 4 * n), small, small, st.just(False), st.none()
    ),
    st.builds(Datagram, st.binary(max_size=9)),
    st.builds(Padding, st.integers(1, 9)),
    st.builds(MaxStreams, st.integers(100, 105), st.booleans()),
)
forbidden = st.sampled_from(
    [Ping(), StopSending(0, 1), Stream(0, 0, PATTERN[:5], has_length=False), Stream(400, 0, b"x")]
)
fates = st.sampled_from(["arrives", "arrives", "arrives", "lost", "lost", "twice"])


@dataclass(frozen=True)
class Source:
    """A packet of data, with the flag FEC or without."""

    frames: list[Frame]
    flagged: bool
    fate: str


@dataclass(frozen=True)
class Parity:
    """A parity of some of the newest sources, which *flaw* says how to spoil.

    Left out when a part of them is in another block.
    """

    back: int
    k: int
    stride: int
    m: int
    index: int
    flaw: str
    fate: str


@dataclass(frozen=True)
class Late:
    """A packet that was lost before arrives now."""

    which: int


Step = Source | Parity | Late
good_source = st.builds(Source, st.lists(content, min_size=1, max_size=3), st.just(True), fates)
any_source = st.builds(
    Source,
    st.lists(content | content | content | forbidden, max_size=3),
    st.sampled_from([True, True, False]),
    fates,
)


def parity_steps(flaws: list[str]) -> st.SearchStrategy[Parity]:
    return st.builds(
        Parity,
        back=st.integers(0, 3),
        k=st.integers(1, 6),
        stride=st.sampled_from([1, 1, 1, 2]),
        m=st.integers(1, 4),
        index=st.integers(0, 3),
        flaw=st.sampled_from(flaws),
        fate=st.sampled_from(["arrives", "arrives", "lost", "twice"]),
    )


def block(source: st.SearchStrategy[Source], flaws: list[str]) -> st.SearchStrategy[list[Step]]:
    """Return sources, and parities of exactly these."""
    return st.builds(
        lambda sources, made: [*sources, *(replace(p, back=0, k=len(sources)) for p in made)],
        st.lists(source, min_size=1, max_size=6),
        st.lists(parity_steps(flaws), min_size=1, max_size=3),
    )


def script(source: st.SearchStrategy[Source], flaws: list[str]) -> st.SearchStrategy[list[Step]]:
    """Return blocks, and steps that belong to none."""
    alone = st.one_of(source, parity_steps(flaws), st.builds(Late, st.integers(0, 9)))
    chunk = st.one_of(block(source, flaws), block(source, flaws), alone.map(lambda step: [step]))
    return st.lists(chunk, max_size=6).map(lambda chunks: [step for c in chunks for step in c])


honest = script(good_source, ["none"])
hostile = script(
    good_source | good_source | any_source,
    ["none", "none", "none", "longer", "shorter", "spoiled", "ahead", "never sent"],
)


@dataclass
class Sender:
    """The other end: packets it made, in their order, and those that were lost."""

    twins: Twins
    sources: list[tuple[int, bytes]] = field(default_factory=list)
    blocks: set[tuple[int, ...]] = field(default_factory=set)
    lost: list[bytes] = field(default_factory=list)

    def packet(self, frames: list[Frame], flags: int, fate: str) -> list[bytes]:
        """Return the datagrams that arrive of a packet with *frames*."""
        data = self.twins.other._seal(frames, START_NS, flags)
        if fate == "lost":
            self.lost.append(data)
            return []
        return [data, data] if fate == "twice" else [data]

    def arrivals(self, step: Step) -> list[bytes]:
        """Return what arrives of *step*."""
        match step:
            case Source():
                arrived = self.packet(step.frames, Flag.FEC * step.flagged, step.fate)
                number = self.twins.other.recovery.next_number - 1
                self.sources.append((number, encode_frames(step.frames)))
                return arrived
            case Parity():
                repair = self.repair(step)
                return [] if repair is None else self.packet([repair], 0, step.fate)
            case Late():
                return [self.lost.pop(step.which % len(self.lost))] if self.lost else []

    def repair(self, step: Parity) -> Repair | None:
        """Return the REPAIR frame of *step*, None before there is a source."""
        end = max(len(self.sources) - step.back, 0)
        chosen = self.sources[:end][:: -step.stride][: step.k][::-1]
        plaintexts = [plaintext for _, plaintext in chosen]
        numbers = tuple(number for number, _ in chosen)
        covered = {number for block in self.blocks - {numbers} for number in block}
        if not any(plaintexts) or covered & set(numbers):
            return None
        self.blocks.add(numbers)
        index = step.index % step.m
        shard = parity(plaintexts, index)
        match step.flaw:
            case "longer":
                shard += b"\0"
            case "shorter":
                shard = parity([plaintext[:1] for plaintext in plaintexts], index)
            case "spoiled":
                shard = bytes([shard[0] ^ 0x11]) + shard[1:]
            case "ahead":
                numbers = (*numbers[:-1], self.twins.other.recovery.next_number)
            case "never sent":
                self.twins.other.recovery.skip_number()
                numbers = (*numbers[:-1], self.twins.other.recovery.next_number - 1)
        return Repair(numbers, step.m, index, shard) if shard else None


def content_of(told: Told) -> tuple[Any, ...]:
    """Return what was told, without the order of messages."""
    return (
        dict(told.streams),
        sorted(told.messages),
        sorted(told.datagrams),
        told.reset,
        told.stopped,
    )


def run_steps(twins: Twins, steps: list[Step]) -> None:
    """Deliver what arrives of *steps* to both twins and compare them after each."""
    sender = Sender(twins)
    told = {"core": Told(), "oracle": Told()}
    twins.core.poll_events()
    twins.oracle.poll_events()
    for step in steps:
        for data in sender.arrivals(step):
            twins.deliver(data)
            told["core"].take(twins.core.poll_events())
            told["oracle"].take(twins.oracle.poll_events())
            assert twins.core.state is twins.oracle.state
            assert told["core"].closed == told["oracle"].closed
            if twins.oracle.state is not State.ESTABLISHED:
                return
            assert content_of(told["core"]) == content_of(told["oracle"])
    compare_reports(twins)


def compare_reports(twins: Twins) -> None:
    """Assert that both report the same packets as acknowledged, and the same as rebuilt."""
    for _ in range(2):
        # What comes out of order is acknowledged at once.
        twins.other.recovery.skip_number()
        twins.deliver(twins.other._seal([Ping()], START_NS))
    assert report(twins, twins.core) == report(twins, twins.oracle)


def report(twins: Twins, end: Any) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return the ranges that *end* acknowledges and those it says it rebuilt."""
    acks: list[Ack] = []
    for data in end.poll_datagrams(START_NS):
        number = int.from_bytes(data[22:26], "big")
        keys = twins.oracle.phases.send
        plaintext = keys.open(number, data[:HEADER_BYTES], data[HEADER_BYTES:])
        acks += [frame for frame in decode_frames(plaintext) if isinstance(frame, Ack)]
    return acks[-1].ranges, acks[-1].recovered


def lose(*frames: Frame) -> Source:
    return Source(list(frames), True, "lost")


def deliver(*frames: Frame) -> Source:
    return Source(list(frames), True, "arrives")


def repairs(k: int, index: int = 0, flaw: str = "none") -> Parity:
    return Parity(0, k, 1, 2, index, flaw, "arrives")


one, two, three = (Message(n, PATTERN[:30]) for n in range(3))


@given(honest)
@example(steps=[lose(one), deliver(two), repairs(2), Late(0)])
@example(steps=[lose(one), lose(two), repairs(2), repairs(2, 1), Late(1), Late(0)])
@example(steps=[deliver(one), deliver(two), repairs(2), repairs(2, 1)])
@example(steps=[lose(one), deliver(two), lose(three), repairs(3), repairs(3, 1)])
@settings(max_examples=150, deadline=None)
def test_honest_repair_gives_both_the_same(steps: list[Step]) -> None:
    run_steps(twin_servers(CONFIG), steps)


@given(hostile, kept)
@example(steps=[lose(one), deliver(two), repairs(2, flaw="spoiled")], sources=SOURCES)
@example(
    steps=[lose(one), Source([two], False, "arrives"), repairs(2), repairs(2, 1)], sources=SOURCES
)
@example(steps=[lose(one), deliver(two), repairs(2, flaw="shorter")], sources=SOURCES)
@example(steps=[lose(one), deliver(two), repairs(3, flaw="never sent")], sources=SOURCES)
@example(steps=[Source([Ping()], True, "lost"), deliver(two), repairs(2)], sources=SOURCES)
@example(steps=[Source([Ping()], True, "arrives"), deliver(two)], sources=0)
@example(steps=[lose(one), deliver(two), repairs(2)], sources=0)
@example(steps=[lose(one), deliver(two), repairs(2, flaw="ahead")], sources=0)
@settings(max_examples=250, deadline=None)
def test_hostile_repair_is_judged_alike(steps: list[Step], sources: int) -> None:
    run_steps(twin_servers(config_of(sources)), steps)


def test_sources_that_are_not_held_any_more_are_the_same_for_both() -> None:
    for kept in (SOURCES - 1, SOURCES):
        filler = [deliver(Padding(n + 1)) for n in range(kept)]
        of_two = Parity(kept, 2, 1, 2, 0, "none", "arrives")
        twins = twin_servers(CONFIG)
        run_steps(twins, [deliver(one), lose(two), *filler, of_two])
        assert twins.oracle.counters["packets_rebuilt"] == (kept < SOURCES)


def test_blocks_larger_than_what_is_kept_are_dropped_by_both() -> None:
    for k in (SOURCES, SOURCES + 1):
        filler = [deliver(Padding(n + 1)) for n in range(k - 1)]
        twins = twin_servers(CONFIG)
        run_steps(twins, [lose(one), *filler, repairs(k)])
        assert twins.oracle.counters["packets_rebuilt"] == (k == SOURCES)


def test_a_packet_that_completes_two_blocks_rebuilds_both() -> None:
    twins = twin_servers(CONFIG)
    sealed = [twins.other._seal([m], START_NS, Flag.FEC) for m in (one, two, three)]
    first = int.from_bytes(sealed[0][22:26], "big")
    texts = [encode_frames([message]) for message in (one, two, three)]
    for at in (0, 1):
        repair = Repair((first + at, first + at + 1), 1, 0, parity(texts[at : at + 2], 0))
        twins.deliver(twins.other._seal([repair], START_NS))
    twins.deliver(sealed[1])
    told = {"core": Told(), "oracle": Told()}
    told["core"].take(twins.core.poll_events())
    told["oracle"].take(twins.oracle.poll_events())
    assert len(told["oracle"].messages) == 3
    assert content_of(told["core"]) == content_of(told["oracle"])


def test_the_steps_of_this_file_do_rebuild() -> None:
    twins = twin_servers(CONFIG)
    run_steps(twins, [lose(one), deliver(two), repairs(2)])
    assert twins.oracle.counters["packets_rebuilt"] == 1
