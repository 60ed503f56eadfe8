"""Hypothesis strategies for the frames of the protocol, as the oracle's values."""

from hypothesis import strategies as st

from interop.reference.frames import (
    Ack,
    Close,
    Datagram,
    Done,
    Frame,
    MaxData,
    MaxMessageData,
    MaxStreamData,
    MaxStreams,
    Message,
    MessageExpired,
    MessagePart,
    Ping,
    Repair,
    ResetStream,
    StopSending,
    Stream,
)

varint = st.integers(0, 2**62 - 1)
short = st.binary(max_size=40)
lists = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=5)


def ranges(largest: int, first: int, rest: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Build ranges, the newest first, from gaps and lengths; stop before they go below 0."""
    out = [(largest - min(first, largest), largest)]
    for gap, length in rest:
        high = out[-1][0] - gap - 2
        if high - length < 0:
            break
        out.append((high - length, high))
    return tuple(out)


def acknowledgement(
    largest: int,
    first: int,
    rest: list[tuple[int, int]],
    rebuilt: list[tuple[int, int]],
    delay_us: int,
    ecn: tuple[int, int, int] | None,
) -> Ack:
    """Build an ACK whose recovered ranges lie below *largest*, wherever the others are."""
    recovered = ranges(largest + 1, 0, rebuilt)[1:]
    return Ack(ranges(largest, first, rest), delay_us, ecn, recovered)


def repair(first: int, gaps: list[int], parities: int, index: int, shard: bytes) -> Repair:
    """Build a REPAIR of at most 256 shards whose numbers stay below 2^62."""
    sources = [first]
    for gap in gaps:
        if sources[-1] + gap + 1 < 2**62:
            sources.append(sources[-1] + gap + 1)
    parities = min(parities, 256 - len(sources))
    return Repair(tuple(sources), parities, index % parities, shard)


marks = st.none() | st.tuples(varint, varint, varint)
ack = st.builds(acknowledgement, varint, st.integers(0, 99), lists, lists, varint, marks)
repairs = st.builds(
    repair,
    varint,
    st.lists(st.integers(0, 70), max_size=20),
    st.integers(1, 255),
    st.integers(0, 255),
    st.binary(min_size=1, max_size=40),
)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.just(Ping()),
    ack,
    st.builds(ResetStream, varint, varint, varint),
    st.builds(StopSending, varint, varint),
    st.builds(Stream, varint, st.integers(0, 2**62 - 100), short, st.booleans()),
    st.builds(MaxData, varint),
    st.builds(MaxStreamData, varint, varint),
    st.builds(MaxStreams, st.integers(0, 2**60), st.booleans()),
    st.builds(Message, varint, short),
    st.builds(MessagePart, varint, varint, varint, short),
    st.builds(MaxMessageData, varint),
    st.builds(MessageExpired, varint, varint),
    repairs,
    st.builds(Datagram, short),
    st.builds(Done, st.binary(min_size=16, max_size=16)),
    st.builds(Close, varint, short, st.booleans()),
)
