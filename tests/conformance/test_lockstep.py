"""A core and an oracle with the same randomness, fed the same datagrams, are in the same state.

Until the handshake is done they also say the same, byte for byte. Afterwards they may acknowledge
and offer credit at different moments, so what is compared is state, what the application is told,
and the code of a CLOSE.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interop.reference import (
    Client,
    Config,
    Endpoint,
    Server,
    ServerInputs,
    draw_client_inputs,
    draw_server_inputs,
)
from interop.reference.events import (
    Closed,
    DatagramReceived,
    Event,
    MessageReceived,
    StreamData,
    StreamReset,
    StreamStopped,
)
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
    Padding,
    Ping,
    ResetStream,
    StopSending,
    Stream,
)
from interop.reference.state import State
from tests.support.core_end import CLOCK_OFFSET_MS, CoreEnd, Script, id_pieces
from tests.support.mixed_pair import START_NS, blob, params_of
from tests.support.oracle import PIN, SEED, client, entropy, server

NOW_MS = START_NS // 1_000_000 + CLOCK_OFFSET_MS
ADDRESSES = ("left", "elsewhere")


def server_inputs(number: int) -> ServerInputs:
    return draw_server_inputs(NOW_MS, entropy(f"twin server {number}"))


def core_entropy(drawn: list[ServerInputs]) -> Callable[[int], bytes]:
    """Return randomness that gives a core server the inputs *drawn*, one per connection."""
    connections = iter(drawn)
    pending: list[bytes] = []

    def draw(size: int) -> bytes:
        if size == 16:
            inputs = next(connections)
            (drawn_id,) = id_pieces(inputs.connection_id, START_NS)
            pending[:] = [inputs.x25519_private, inputs.random]
            return drawn_id
        # What else is asked for decides which packet numbers are skipped, late.
        return pending.pop(0) if pending else bytes(size)

    return draw


@dataclass
class Twins:
    """The same end twice, and the oracle at the other end that talks to both."""

    core: CoreEnd
    oracle: Any
    other: Any

    def deliver(self, data: bytes) -> None:
        self.core.handle_datagram(data, START_NS)
        self.oracle.handle_datagram(data, START_NS)

    def spoken(self) -> list[bytes]:
        """Return what both say now, which is the same."""
        said = self.core.poll_datagrams(START_NS)
        assert self.oracle.poll_datagrams(START_NS) == said
        return said

    def answer(self) -> None:
        """Let the other end hear what both say."""
        for data in self.spoken():
            self.other.handle_datagram(data, START_NS)


def twin_servers(config: Config | None = None) -> Twins:
    """Return established servers of one client."""
    inputs, config = server_inputs(0), config or Config()
    core = CoreEnd.server(params_of(config), SEED, core_entropy([inputs]))
    twins = Twins(core, Server(config, SEED, inputs), client(name="twins"))
    twins.other.connect(START_NS)
    for _ in range(2):
        for data in twins.other.poll_datagrams(START_NS):
            twins.deliver(data)
        twins.answer()
    assert core.state is twins.oracle.state is twins.other.state is State.ESTABLISHED
    return twins


def twin_clients() -> Twins:
    """Return established clients of one server."""
    twins = starting_clients()
    twins.other = server(name="twins")
    twins.answer()
    for data in twins.other.poll_datagrams(START_NS):
        twins.deliver(data)
    twins.answer()
    for data in twins.other.poll_datagrams(START_NS):
        twins.deliver(data)
    assert twins.core.state is twins.oracle.state is twins.other.state is State.ESTABLISHED
    return twins


def starting_clients() -> Twins:
    """Return clients that have just called."""
    inputs = draw_client_inputs(NOW_MS, entropy("twin client"))
    pieces = [*id_pieces(inputs.connection_id, START_NS), inputs.x25519_private, inputs.random]
    script = Script(pieces, lambda size: bytes(size))
    core = CoreEnd.client(params_of(Config()), PIN, script, START_NS)
    oracle = Client(Config(), PIN, inputs)
    oracle.connect(START_NS)
    return Twins(core, oracle, None)


@dataclass
class Told:
    """What an application was told, without the moments at which it was."""

    streams: dict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    ended: set[int] = field(default_factory=set)
    reset: dict[int, int] = field(default_factory=dict)
    stopped: dict[int, int] = field(default_factory=dict)
    messages: list[bytes] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    closed: list[tuple[int, bool, bool]] = field(default_factory=list)

    def take(self, events: list[Event]) -> None:
        """Add events; bytes that are followed by a reset may be given up."""
        reset = {e.stream_id for e in events if isinstance(e, StreamReset)}
        for event in events:
            match event:
                case StreamData() if event.stream_id not in reset:
                    self.streams[event.stream_id] += event.data
                    if event.fin:
                        self.ended.add(event.stream_id)
                case StreamReset():
                    self.reset[event.stream_id] = event.code
                case StreamStopped():
                    self.stopped[event.stream_id] = event.code
                case MessageReceived():
                    self.messages.append(event.data)
                case DatagramReceived():
                    self.datagrams.append(event.data)
                case Closed():
                    self.closed.append((event.code, event.application, event.remote))


# -- after the handshake: packets of valid, strange and forbidden frames

PATTERN = blob(400)
small = st.integers(0, 60)
huge = st.sampled_from([(1 << 18) - 60, 1 << 18, (1 << 18) + 1, 1 << 40, (1 << 62) - 1])
stream_ids = st.integers(0, 15) | st.sampled_from([396, 397, 400, 401, 402, 403, (1 << 62) - 1])
message_ids = st.integers(0, 6) | st.sampled_from([65535, 65536, 65540, 1 << 40])
codes = st.integers(0, 5)


def stream(stream_id: int, offset: int, count: int, fin: bool, far: int | None) -> Stream:
    """Return a frame whose bytes agree with those of every other frame of the stream."""
    data = PATTERN[offset : offset + count]
    return Stream(stream_id, offset if far is None else min(far, (1 << 62) - 100), data, fin)


def part(message_id: int, total: int, offset: int, count: int) -> MessagePart:
    """Return a part whose bytes agree with those of every other part of the message."""
    return MessagePart(message_id, total, offset, PATTERN[offset : offset + count])


rarely_huge = st.none() | st.none() | st.none() | st.none() | huge
frame = st.one_of(
    st.builds(stream, stream_ids, small, small, st.booleans(), rarely_huge),
    st.builds(stream, st.integers(0, 3), small, small, st.booleans(), st.none()),
    st.builds(stream, st.integers(0, 3), small, small, st.just(False), st.none()),
    st.builds(ResetStream, stream_ids, codes, st.integers(0, 120) | huge),
    st.builds(StopSending, stream_ids, codes),
    st.builds(MaxStreamData, stream_ids, small | huge),
    st.builds(MaxData, small | huge),
    st.builds(MaxStreams, st.integers(0, 105) | st.just(1 << 60), st.booleans()),
    st.builds(lambda i, n: Message(i, PATTERN[:n]), message_ids, small),
    st.builds(part, message_ids, small | st.just(65537), small, st.integers(0, 30)),
    st.builds(part, st.integers(0, 2), st.just(40), st.integers(0, 35), st.integers(0, 30)),
    st.builds(MaxMessageData, small | huge),
    st.builds(Datagram, st.binary(max_size=20)),
    st.just(Ping()),
    st.just(Padding(3)),
    st.builds(lambda n, d: Ack(((max(n - d, 0), n),), 9), st.integers(0, 3), st.integers(0, 3)),
    st.builds(
        lambda n, d: Ack(((n, n),), 9, None, ((max(n - d, 0), n - 1),)),
        st.integers(1, 3),
        st.integers(1, 3),
    ),
    st.builds(MessageExpired, message_ids, small),
)
ending = st.one_of(
    st.builds(Close, codes, st.binary(max_size=9), st.booleans()), st.just(Done(bytes(16)))
)
# One stream and one message, so that frames meet.
on_a_stream = st.one_of(
    st.builds(stream, st.integers(0, 3), small, small, st.just(False), st.none()),
    st.builds(stream, st.integers(0, 3), small, small, st.booleans(), st.none()),
    st.builds(ResetStream, st.integers(0, 3), codes, st.integers(0, 120)),
)
on_a_message = st.one_of(
    st.builds(part, st.integers(0, 1), st.just(40), st.integers(0, 40), st.integers(0, 30)),
    st.builds(part, st.integers(0, 1), st.integers(39, 41), st.integers(0, 30), st.integers(0, 10)),
    st.builds(lambda i, n: Message(i, PATTERN[:n]), st.integers(0, 2), st.integers(39, 41)),
    st.builds(MessageExpired, st.integers(0, 2), st.integers(39, 41)),
)
limits = st.one_of(
    st.builds(stream, st.integers(395, 405), small, small, st.booleans(), st.none()),
    st.builds(part, st.integers(65533, 65538), st.just(1), st.just(0), st.just(1)),
    st.builds(lambda i: Message(i, b""), st.integers(0, 3)),
    st.builds(stream, st.just(0), st.just(0), st.just(1), st.just(False), st.just((1 << 18) - 1)),
    st.builds(ResetStream, st.integers(0, 30), codes, st.just(1 << 18)),
    st.builds(lambda n: part(0, n, 0, 1), st.integers(65535, 65537)),
    st.builds(MessageExpired, st.integers(65533, 65538) | small, st.just(1)),
    st.builds(MessageExpired, st.integers(0, 20), st.integers(65535, 65537)),
)


def ends_apart(frames: list[Frame]) -> bool:
    """Tell whether no unidirectional stream occurs twice.

    When such a stream ends, the oracle forgets it at once and the core when its application knows;
    what else the packet says of it is ignored by the one and judged by the other, as both may.
    """
    ids = [f.stream_id for f in frames if isinstance(f, Stream | ResetStream) and f.stream_id & 2]
    return len(ids) == len(set(ids))


packets = [
    st.lists(frame, max_size=4),
    st.lists(frame | ending, max_size=3),
    st.lists(on_a_stream, min_size=1, max_size=4),
    st.lists(on_a_message, min_size=1, max_size=4),
    st.lists(limits, min_size=1, max_size=2),
]
# How a packet travels: once, twice, with a bit changed, cut short, after a later one.
travel = st.sampled_from(["once", "once", "once", "twice", "changed", "cut", "held back"])
script = st.one_of(
    *(
        st.lists(
            st.tuples(packet.filter(ends_apart), travel, st.integers(0, 10_000)),
            min_size=low,
            max_size=12,
        )
        for packet in packets
        for low in (0, 3)
    )
)


def arrivals(data: bytes, how: str, where: int) -> list[bytes]:
    """Return the datagrams that arrive of *data*."""
    if how == "twice":
        return [data, data]
    if how == "changed":
        bit = where % (8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return [bytes(changed), data]
    if how == "cut":
        return [data[: where % len(data)], data]
    return [data]


def run_script(twins: Twins, steps: list[tuple[list[Frame], str, int]]) -> None:
    """Deliver the packets of *steps* to both twins and compare them after each."""
    told = {"core": Told(), "oracle": Told()}
    held: list[bytes] = []
    twins.core.poll_events()
    twins.oracle.poll_events()
    for frames, how, where in steps:
        sealed = twins.other._seal(frames, START_NS)
        if how == "held back":
            held.append(sealed)
            continue
        for data in [*arrivals(sealed, how, where), *held]:
            twins.deliver(data)
            told["core"].take(twins.core.poll_events())
            told["oracle"].take(twins.oracle.poll_events())
            assert twins.core.state is twins.oracle.state
            assert told["core"] == told["oracle"]
        held.clear()
    if twins.core.state is State.ESTABLISHED:
        compare_limits(twins)


def compare_limits(twins: Twins) -> None:
    """Assert that both may open as many streams, counting to 110."""
    for unidirectional in (False, True):
        opened = 0
        while opened < 110 and twins.core.connection.open_stream(not unidirectional) is not None:
            opened += 1
        allowed = twins.oracle.streams.may_open[unidirectional]
        assert opened == min(allowed, 110)


@given(script)
@example(steps=[([Close(1, b"\xc3\x28"), Ping()], "once", 0), ([Ping()], "once", 0)])
@example(steps=[([Stream(16, 1 << 40, b"x")], "once", 0), ([Close(2)], "twice", 0)])
@settings(max_examples=250, deadline=None)
def test_servers_stay_in_step(steps: list[tuple[list[Frame], str, int]]) -> None:
    run_script(twin_servers(), steps)


@given(script)
@example(steps=[([Message(1, b""), part(65537, 1, 0, 1)], "once", 0)])
@settings(max_examples=250, deadline=None)
def test_clients_stay_in_step(steps: list[tuple[list[Frame], str, int]]) -> None:
    run_script(twin_clients(), steps)


# -- the handshake: valid and invalid messages in any order, answers compared byte for byte


def caller(name: str, identity: str = "caller") -> Client:
    """Return a client; those with one *identity* have the same connection id."""
    end = client(name=name)
    inputs = draw_client_inputs(NOW_MS, entropy(identity))
    end.own_id = inputs.connection_id
    return end


def handshake_pool() -> list[bytes]:
    """Return datagrams that mean something to the twin servers' first connection."""
    end = caller("caller")
    end.connect(START_NS)
    (first,) = end.poll_datagrams(START_NS)
    twin = Server(Config(), SEED, server_inputs(0))
    twin.handle_datagram(first, START_NS)
    pool = [first]
    for _ in range(2):
        due = end.next_timeout()
        assert due is not None
        pool += end.poll_datagrams(due)
    (answer,) = twin.poll_datagrams(START_NS)
    end.handle_datagram(answer, START_NS)
    end.send_message(b"early")
    pool += end.poll_datagrams(START_NS)
    due = end.next_timeout()
    assert due is not None
    pool += end.poll_datagrams(due)
    pool += [end._seal([Stream(0, n, b"x")], START_NS) for n in range(12)]
    other = caller("another", "caller")
    other.connect(START_NS)
    pool += other.poll_datagrams(START_NS)
    third = client(name="third")
    third.connect(START_NS)
    pool += third.poll_datagrams(START_NS)
    pool += [answer, b"QUNT\x01\x01" + bytes(26), b"QUNT\x03\x00" + bytes(1194)]
    pool.append(b"QUNT\x02\x00" + bytes([1] * 16) + bytes(9) + b"\x11" + bytes(17))
    return pool


POOL = handshake_pool()
deliveries = st.lists(
    st.tuples(
        st.integers(0, len(POOL) - 1) | st.integers(0, 5),
        st.sampled_from([None, None, None, "changed", "cut"]),
        st.integers(0, 10_000),
        st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=12,
)


@given(deliveries)
@example(steps=[(0, None, 0, 0), (0, None, 0, 0), (1, None, 0, 0), (3, None, 0, 0)])
@example(steps=[(0, None, 0, 0), *((n, None, 0, 0) for n in range(4, 18)), (3, None, 0, 0)])
@settings(max_examples=200, deadline=None)
def test_servers_answer_handshakes_alike(
    steps: list[tuple[int, str | None, int, int]],
) -> None:
    drawn = [server_inputs(n) for n in range(8)]
    core = CoreEnd.server(params_of(Config()), SEED, core_entropy(drawn)).endpoint
    oracle = Endpoint(Config(), SEED, lambda: drawn[len(oracle.connections)])
    addresses = {"left": ("192.0.2.1", 4001), "elsewhere": ("192.0.2.3", 7)}
    for index, how, where, source in steps:
        name = ADDRESSES[source]
        data = arrivals(POOL[index], how or "once", where)[0]
        core.handle_datagram(data, addresses[name], START_NS)
        oracle.handle_datagram(data, START_NS, name)
        said = core.poll_datagrams(START_NS)
        expected = [(addresses[str(to)], d) for d, to in oracle.poll_datagrams(START_NS)]
        established = any(c.state is State.ESTABLISHED for c in oracle.connections.values())
        if established:
            # From here on they may acknowledge at different moments.
            said = [row for row in said if row[1][5] & 0x29]
            expected = [row for row in expected if row[1][5] & 0x29]
        assert said == expected
        states = {bytes(c.connection_id): c.state.name for c in core.connections()}
        assert states == {i: c.state.name for i, c in oracle.connections.items()}


def test_clients_call_alike_until_they_give_up() -> None:
    twins = starting_clients()
    assert len(twins.spoken()) == 1
    moments = []
    while twins.oracle.state is State.HELLO_SENT:
        due = twins.core.next_timeout()
        assert due is not None
        assert due == twins.oracle.next_timeout()
        moments.append((due - START_NS) // 1_000_000)
        twins.core.handle_timeout(due)
        twins.oracle.handle_timeout(due)
        assert twins.core.poll_datagrams(due) == twins.oracle.poll_datagrams(due)
        assert twins.core.state is twins.oracle.state
    assert moments == [300, 900, *range(2100, 9301, 1200), 10_000]


def test_clients_repeat_their_finished_alike() -> None:
    twins = starting_clients()
    twins.other = server(name="twins")
    twins.answer()
    (answer,) = twins.other.poll_datagrams(START_NS)
    twins.deliver(answer)
    assert [data[5] for data in twins.spoken()] == [0x20]
    moments = []
    while twins.oracle.state is State.FINISHED_SENT:
        due = twins.core.next_timeout()
        assert due == twins.oracle.next_timeout()
        assert due is not None
        moments.append((due - START_NS) // 1_000_000)
        twins.core.handle_timeout(due)
        assert twins.core.poll_datagrams(due) == twins.oracle.poll_datagrams(due)
        assert twins.core.state is twins.oracle.state
    assert moments == [300, 900, *range(2100, 9301, 1200), 10_000]


def test_both_close_with_the_same_bytes_and_for_as_long() -> None:
    for twins in (twin_servers(), twin_clients()):
        twins.core.close(START_NS, 5, "enough")
        twins.oracle.close(START_NS, 5, "enough")
        (said,) = twins.core.poll_datagrams(START_NS)
        (expected,) = twins.oracle.poll_datagrams(START_NS)
        twins.other.handle_datagram(said, START_NS)
        assert twins.other.state is State.DRAINING
        assert len(said) == len(expected)
        assert twins.core.next_timeout() == twins.oracle.next_timeout()
