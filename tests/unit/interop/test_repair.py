"""Repair blocks between two oracles: what is lost comes back, and what is wrong is refused."""

from collections import Counter
from dataclasses import replace

import pytest

from interop.reference import Config
from interop.reference.codec import Flag, ReplayWindow
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.errors import Code, ViolationError
from interop.reference.events import Closed, Event, MessageReceived
from interop.reference.frames import (
    Ack,
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
    Repair,
    ResetStream,
    StopSending,
    Stream,
    decode_frames,
    encode_frames,
)
from interop.reference.reed_solomon import parity
from interop.reference.repair import Protector, Rebuilder, check_source
from interop.reference.state import State
from tests.support.oracle import Pair, pair
from tests.support.virtual_link import Path

REPAIRS = replace(DEFAULT_PARAMETERS, repair_sources=64)


def protected_pair(k: int, m: int, path: Path | None = None, seed: int = 0) -> Pair:
    """Return an established pair whose client protects, and whose server repairs."""
    both = pair(
        path,
        Config(parameters=REPAIRS, protect=(k, m)),
        Config(parameters=REPAIRS),
        seed,
    )
    both.establish()
    both.run_for(1)
    both.link.sent.clear()
    return both


def messages(events: list[Event]) -> list[bytes]:
    return [e.data for e in events if isinstance(e, MessageReceived)]


def sources_sent(both: Pair) -> list[bytes]:
    return [d for side, d in both.link.sent if side == "left" and d[5] & Flag.FEC]


def lose(both: Pair, *which: int) -> None:
    """Let the link lose these sources, counted from 0."""
    seen: list[bytes] = []

    def drop(side: str, data: bytes) -> bool:
        if side == "left" and data[5] & Flag.FEC:
            seen.append(data)
            return len(seen) - 1 in which
        return False

    both.link.drop = drop


def test_what_is_lost_is_rebuilt_and_not_sent_again() -> None:
    both = protected_pair(4, 2)
    lose(both, 1, 3)
    sent = [bytes([n]) * 1000 for n in range(4)]
    for message in sent:
        both.client.send_message(message)
    before = both.link.now_ns
    both.run_until(lambda: len(messages(both.server_events)) == 4)
    assert both.link.now_ns - before == both.link.path.delay_ns
    assert sorted(messages(both.server_events)) == sent
    both.run_until(lambda: both.client.is_flushed)
    assert len(sources_sent(both)) == 4
    assert both.client.recovery.lost_packets == 2
    assert both.server.counters["packets_rebuilt"] == 2


def test_a_block_that_is_not_full_ends_with_the_burst() -> None:
    both = protected_pair(10, 1)
    lose(both, 0)
    both.client.send_message(b"alone")
    before = both.link.now_ns
    both.run_until(lambda: messages(both.server_events) == [b"alone"])
    assert both.link.now_ns - before == both.link.path.delay_ns
    both.run_until(lambda: both.client.is_flushed)
    assert len(sources_sent(both)) == 1


def test_a_loss_beyond_the_parities_is_sent_again() -> None:
    both = protected_pair(4, 1)
    lose(both, 1, 2)
    for number in range(4):
        both.client.send_message(bytes([number]) * 1000)
    both.run_until(lambda: both.client.is_flushed)
    assert len(messages(both.server_events)) == 4
    assert len(sources_sent(both)) > 4


def test_a_packet_that_comes_after_it_was_rebuilt_is_acknowledged_and_not_processed() -> None:
    both = protected_pair(3, 1)
    late: list[bytes] = []

    def drop(side: str, data: bytes) -> bool:
        if side == "left" and data[5] & Flag.FEC and not late:
            late.append(data)
            return True
        return False

    both.link.drop = drop
    for number in range(3):
        both.client.send_datagram(bytes([number]))
    both.run_for(1)
    number = int.from_bytes(late[0][22:26], "big")
    acknowledger = both.server._acknowledger
    assert number in acknowledger.recovered
    delivered = len(both.server_events)
    both.server.handle_datagram(late[0], both.link.now_ns)
    assert number not in acknowledger.recovered
    frame = acknowledger.frame(both.link.now_ns)
    assert frame is not None
    assert any(low <= number <= high for low, high in frame.ranges)
    both.collect()
    assert len(both.server_events) == delivered
    both.server.handle_datagram(late[0], both.link.now_ns)
    assert both.server.counters["replay"] == 1


def test_an_endpoint_that_repairs_nothing_is_sent_neither_flag_nor_parity() -> None:
    both = pair(client_config=Config(parameters=REPAIRS, protect=(4, 2)))
    both.establish()
    for number in range(20):
        both.client.send_message(bytes([number]) * 1000)
    both.run_until(lambda: both.client.is_flushed)
    assert sources_sent(both) == []


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", [(1, 1), (4, 2), (10, 3), (40, 12)])
def test_everything_arrives_once_over_a_bad_link(shape: tuple[int, int], seed: int) -> None:
    config = Config(parameters=REPAIRS, protect=shape, update_after_packets=90)
    path = Path(loss=0.1, duplication=0.05, corruption=0.02, jitter_ns=10_000_000)
    both = pair(path, config, config, seed)
    both.establish()
    sent = [bytes([number]) * (211 * number) for number in range(40)]
    for end in (both.client, both.server):
        for message in sent:
            end.send_message(message)
        end.write_stream(end.open_stream(), bytes(60_000), fin=True)
    both.run_until(lambda: both.client.is_flushed and both.server.is_flushed, 120)
    assert sorted(messages(both.server_events)) == sorted(sent)
    assert sorted(messages(both.client_events)) == sorted(sent)
    assert both.server.counters["packets_rebuilt"] > 0
    assert both.client.state is both.server.state is State.ESTABLISHED


# -- the receiver alone


class Receiver:
    """A rebuilder with packets of one message each, which arrive when asked."""

    def __init__(self, sources_max: int = 64) -> None:
        self.replay = ReplayWindow()
        self.counters: Counter[str] = Counter()
        self.rebuilder = Rebuilder(sources_max, self.replay, self.counters)

    def source(self, number: int, flagged: bool = True) -> None:
        self.replay.commit(number)
        if flagged:
            self.rebuilder.keep(number, plaintext(number))

    def repair(self, *numbers: int, index: int = 0, came_in: int = 10_000) -> Repair:
        frame = Repair(numbers, 3, index, parity([plaintext(n) for n in numbers], index))
        self.rebuilder.handle_repair(frame, came_in)
        return frame

    def rebuilt(self) -> list[tuple[int, bytes]]:
        return [(n, text.rstrip(b"\0")) for n, text in self.rebuilder.rebuild()]

    @property
    def dropped(self) -> int:
        return self.counters["repair_blocks_dropped"]


def plaintext(number: int) -> bytes:
    return encode_frames([Message(number, b"m" * (number % 7 + 1))])


def test_the_missing_source_of_a_block_is_rebuilt_whatever_comes_last() -> None:
    receiver = Receiver()
    receiver.source(4)
    receiver.repair(4, 6, 9)
    assert receiver.rebuilt() == []
    receiver.source(9)
    assert receiver.rebuilt() == [(6, plaintext(6))]
    assert receiver.rebuilder.blocks == {}


def test_parities_alone_rebuild_a_block() -> None:
    receiver = Receiver()
    receiver.repair(4, 5, index=0)
    receiver.repair(4, 5, index=0)
    assert receiver.rebuilt() == []
    receiver.repair(4, 5, index=2)
    assert receiver.rebuilt() == [(4, plaintext(4)), (5, plaintext(5))]


def test_a_block_of_which_everything_came_is_forgotten() -> None:
    receiver = Receiver()
    receiver.source(4)
    receiver.repair(4)
    assert receiver.rebuilt() == []
    assert receiver.rebuilder.blocks == {}
    assert receiver.dropped == 0


def test_frames_of_one_block_that_differ_drop_it() -> None:
    for other in ((4, 6, 8), (4, 6)):
        receiver = Receiver()
        receiver.repair(4, 6, 9)
        receiver.repair(*other, index=1)
        assert receiver.dropped == 1
        assert receiver.rebuilder.blocks == {}
    receiver = Receiver()
    frame = receiver.repair(4, 6, 9)
    receiver.rebuilder.handle_repair(replace(frame, index=1, shard=frame.shard + b"x"), 10_000)
    assert receiver.dropped == 1


def test_a_source_without_the_flag_drops_its_block() -> None:
    receiver = Receiver()
    receiver.source(4, flagged=False)
    receiver.repair(4, 6)
    assert receiver.rebuilt() == []
    assert receiver.dropped == 1


def test_a_source_longer_than_the_shards_drops_its_block() -> None:
    receiver = Receiver()
    receiver.source(6)
    receiver.rebuilder.handle_repair(Repair((5, 6), 1, 0, b"abc"), 10_000)
    assert receiver.rebuilt() == []
    assert receiver.dropped == 1


def test_a_block_of_sources_that_are_not_held_any_more_is_dropped() -> None:
    receiver = Receiver(sources_max=2)
    for number in (4, 5, 6):
        receiver.source(number)
    receiver.repair(4, 5, 6, 7)
    assert receiver.rebuilt() == []
    assert receiver.dropped == 1


def test_numbers_below_the_replay_window_are_not_rebuilt() -> None:
    receiver = Receiver()
    receiver.source(ReplayWindow.SIZE + 4)
    receiver.repair(4, ReplayWindow.SIZE + 4)
    assert receiver.rebuilt() == []
    assert receiver.dropped == 1
    receiver.repair(5, ReplayWindow.SIZE + 4)
    assert [number for number, _ in receiver.rebuilt()] == [5]


def test_parities_are_held_up_to_a_bound() -> None:
    receiver = Receiver()
    for number in range(200):
        receiver.repair(2 * number, 2 * number + 1)
    assert len(receiver.rebuilder.blocks) == 64
    assert receiver.dropped == 136


@pytest.mark.parametrize("came_in", [0, 8, 9])
def test_a_parity_of_a_packet_not_sent_before_it_closes(came_in: int) -> None:
    for sources_max in (0, 64):
        with pytest.raises(ViolationError) as caught:
            Receiver(sources_max).repair(4, 9, came_in=came_in)
        assert caught.value.code is Code.PROTOCOL_VIOLATION


ALLOWED: list[Frame] = [
    Padding(3),
    Stream(0, 0, b"x"),
    ResetStream(0, 1, 2),
    Message(0, b""),
    MessagePart(1, 9, 0, b"m"),
    MessageExpired(2, 9),
    Datagram(b""),
    MaxData(1),
    MaxStreamData(0, 1),
    MaxStreams(1),
    MaxStreams(1, unidirectional=True),
    MaxMessageData(1),
]
FORBIDDEN: list[Frame] = [
    Ping(),
    Ack(((0, 0),), 0),
    StopSending(0, 0),
    Stream(0, 0, b"x", has_length=False),
    Repair((0,), 1, 0, b"x"),
    Done(bytes(16)),
]


def test_a_source_may_contain_what_the_specification_lists() -> None:
    check_source(ALLOWED)
    assert decode_frames(encode_frames(ALLOWED)) == ALLOWED


@pytest.mark.parametrize("frame", FORBIDDEN)
@pytest.mark.parametrize("repairs", [True, False])
def test_any_other_frame_in_a_source_closes_even_where_nothing_is_repaired(
    frame: Frame, repairs: bool
) -> None:
    parameters = REPAIRS if repairs else DEFAULT_PARAMETERS
    both = pair(server_config=Config(parameters=parameters))
    both.establish()
    data = both.client._seal([Stream(0, 0, b"y"), frame], both.link.now_ns, Flag.FEC)
    both.server.handle_datagram(data, both.link.now_ns)
    both.collect()
    codes = [e.code for e in both.server_events if isinstance(e, Closed)]
    assert codes == [Code.PROTOCOL_VIOLATION]


def test_a_forbidden_frame_in_a_rebuilt_packet_closes() -> None:
    both = protected_pair(1, 1)
    both.client.recovery.skip_number()
    hidden = both.client.recovery.next_number - 1
    frame = Repair((hidden,), 1, 0, b"\x01")
    both.server.handle_datagram(both.client._seal([frame], both.link.now_ns), both.link.now_ns)
    both.collect()
    assert [e.code for e in both.server_events if isinstance(e, Closed)] == [2]


@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (200, 57)])
def test_a_block_shape_that_cannot_be_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at most 256"):
        Protector(*shape)
