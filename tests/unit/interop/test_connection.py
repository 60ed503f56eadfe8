"""The oracle as a whole: two of them carry everything over a bad link."""

import hashlib
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.reference import Config
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.errors import Code
from interop.reference.events import (
    Closed,
    DatagramReceived,
    Event,
    MessageReceived,
    StreamData,
    StreamReset,
    StreamStopped,
)
from interop.reference.frames import Ack, Done, Frame, MessagePart, Stream
from interop.reference.state import State
from tests.support.frame_strategies import frames
from tests.support.oracle import Pair, pair
from tests.support.virtual_link import Path

BAD = Path(loss=0.1, duplication=0.05, corruption=0.01, jitter_ns=8_000_000)


def blob(size: int, name: str = "blob") -> bytes:
    return hashlib.shake_256(name.encode()).digest(size)


def stream_bytes(events: list[Event]) -> dict[int, bytes]:
    out: dict[int, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, StreamData):
            out[event.stream_id] += event.data
    return out


def ended(events: list[Event], stream_id: int) -> bool:
    return any(isinstance(e, StreamData) and e.stream_id == stream_id and e.fin for e in events)


def messages(events: list[Event]) -> list[bytes]:
    return [e.data for e in events if isinstance(e, MessageReceived)]


def closed(events: list[Event]) -> list[Closed]:
    return [e for e in events if isinstance(e, Closed)]


def test_a_clean_link_needs_one_round_trip_before_the_client_sends() -> None:
    both = pair(Path(delay_ns=25_000_000))
    start = both.link.now_ns
    stream = both.client.open_stream()
    both.client.write_stream(stream, b"hello", fin=True)
    both.run_until(lambda: ended(both.server_events, stream))
    assert both.link.now_ns - start == 3 * 25_000_000
    assert both.client.exporter("x", 32) == both.server.exporter("x", 32)


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_streams_and_messages_arrive_whole_over_a_bad_link(suite: int, seed: int) -> None:
    config = Config(suites=(suite,), skip_every_packets=50)
    both = pair(BAD, client_config=config, seed=seed)
    both.establish()
    up, down = both.client.open_stream(), both.server.open_stream()
    one_way = both.client.open_stream(unidirectional=True)
    both.client.write_stream(up, blob(300_000, "up"), fin=True)
    both.client.write_stream(one_way, blob(5_000, "one way"), fin=True)
    both.server.write_stream(down, blob(300_000, "down"), fin=True)
    sent = [blob(size, f"message {size}") for size in (0, 1, 64, 1100, 1200, 60_000)]
    for message in sent:
        both.client.send_message(message)
        both.server.send_message(message)
    both.run_until(
        lambda: (
            ended(both.server_events, up)
            and ended(both.server_events, one_way)
            and ended(both.client_events, down)
            and both.client.is_flushed
            and both.server.is_flushed
        ),
        seconds=120,
    )
    assert stream_bytes(both.server_events)[up] == blob(300_000, "up")
    assert stream_bytes(both.server_events)[one_way] == blob(5_000, "one way")
    assert stream_bytes(both.client_events)[down] == blob(300_000, "down")
    assert sorted(messages(both.server_events)) == sorted(sent)
    assert sorted(messages(both.client_events)) == sorted(sent)
    assert both.client.recovery.lost_packets > 0


def test_the_handshake_survives_the_loss_of_each_of_its_packets() -> None:
    for lost in range(4):
        both = pair()
        seen: list[int] = []

        def drop(side: str, data: bytes, lost: int = lost, seen: list[int] = seen) -> bool:
            seen.append(len(data))
            return len(seen) - 1 == lost

        both.link.drop = drop
        both.establish()
        assert len(seen) > lost


def test_data_that_overtakes_the_client_finished_is_kept() -> None:
    both = pair()
    stream = both.client.open_stream()
    both.client.write_stream(stream, b"early", fin=True)
    finished_lost: list[bytes] = []

    def drop(side: str, data: bytes) -> bool:
        if data[5] == 0x20 and not finished_lost:
            finished_lost.append(data)
            return True
        return False

    both.link.drop = drop
    both.run_until(lambda: both.server.state is State.ESTABLISHED)
    assert stream_bytes(both.server_events) == {stream: b"early"}


def test_the_server_sends_nothing_protected_before_it_verified_finished() -> None:
    both = pair()
    both.link.drop = lambda side, data: data[5] == 0x20
    stream = both.server.open_stream()
    both.server.write_stream(stream, b"early")
    both.run_for(5)
    assert both.server.state is State.HELLO_ANSWERED
    assert {data[5] for side, data in both.link.sent if side == "right"} == {0x03}


def test_repeated_hellos_have_new_numbers_and_the_same_content() -> None:
    both = pair()
    both.link.drop = lambda side, data: side == "right"
    both.run_for(3)
    hellos = [data for side, data in both.link.sent if side == "left"]
    answers = [data for side, data in both.link.sent if side == "right"]
    assert [int.from_bytes(d[22:26], "big") for d in hellos] == [0, 1, 2, 3]
    assert len({d[32:-16] for d in hellos}) == 1
    assert [int.from_bytes(d[22:26], "big") for d in answers] == [0, 1, 2, 3]
    assert [int.from_bytes(d[26:30], "big") for d in answers] == [1, 2, 3, 4]
    assert all(len(d) == 1200 for d in hellos)
    assert max(map(len, answers)) <= 1200


def test_a_handshake_that_gets_no_answer_ends_after_its_timeout() -> None:
    both = pair()
    both.link.drop = lambda side, data: True
    both.run_for(9.9)
    assert both.client_events == []
    both.run_for(0.2)
    assert both.client.state is State.CLOSED
    assert both.client.next_timeout() is None


@pytest.mark.parametrize("seed", range(2))
def test_key_updates_by_both_ends_do_not_lose_data(seed: int) -> None:
    config = Config(update_after_packets=40)
    both = pair(BAD, config, config, seed)
    both.establish()
    stream = both.client.open_stream()
    both.client.write_stream(stream, blob(200_000), fin=True)
    both.server.write_stream(both.server.open_stream(), blob(200_000), fin=True)
    both.run_until(lambda: both.client.is_flushed and both.server.is_flushed, 120)
    assert both.client.phases is not None
    assert both.server.phases is not None
    assert both.client.phases.phase >= 4
    assert abs(both.client.phases.phase - both.server.phases.phase) <= 1
    assert stream_bytes(both.server_events)[stream] == blob(200_000)


def test_a_key_update_waits_for_an_acknowledgement_in_the_phase() -> None:
    both = pair()
    both.establish()
    both.run_for(1)
    both.client.ping()
    both.run_for(1)
    assert both.client.phases is not None
    assert both.server.phases is not None
    assert both.client.update_keys()
    assert not both.client.update_keys()
    both.client.ping()
    both.run_for(1)
    assert both.server.phases.phase == both.client.phases.phase == 1


def test_small_windows_hold_the_sender_back_and_open_again() -> None:
    small = replace(
        DEFAULT_PARAMETERS,
        max_data=3000,
        max_stream_data=2000,
        max_message_data=30_001,
        max_message_bytes=30_000,
    )
    both = pair(Path(loss=0.05), server_config=Config(parameters=small))
    both.establish()
    ids = [both.client.open_stream() for _ in range(3)]
    for stream in ids:
        both.client.write_stream(stream, blob(20_000), fin=True)
    sent = [blob(30_000, str(number)) for number in range(3)]
    for message in sent:
        both.client.send_message(message)
    both.run_until(lambda: both.client.is_flushed, 120)
    assert all(stream_bytes(both.server_events)[stream] == blob(20_000) for stream in ids)
    assert messages(both.server_events) == sent


def test_more_streams_than_allowed_wait_until_earlier_ones_end() -> None:
    few = replace(DEFAULT_PARAMETERS, max_streams_uni=2)
    both = pair(server_config=Config(parameters=few))
    both.establish()
    ids = [both.client.open_stream(unidirectional=True) for _ in range(10)]
    for stream in ids:
        both.client.write_stream(stream, b"x", fin=True)
    both.run_until(lambda: both.client.is_flushed)
    assert set(stream_bytes(both.server_events)) == set(ids)
    assert both.server.streams.receive == {}


def test_stop_sending_is_answered_with_a_reset_of_the_same_code() -> None:
    both = pair(Path(loss=0.2), seed=5)
    both.establish()
    stream = both.client.open_stream()
    both.client.write_stream(stream, b"abc")
    both.run_until(lambda: stream in both.server.streams.receive)
    both.server.stop_stream(stream, 77)
    both.run_until(lambda: any(isinstance(e, StreamReset) for e in both.server_events))
    assert StreamStopped(stream, 77) in both.client_events
    assert StreamReset(stream, 77) in both.server_events


def test_datagrams_arrive_and_are_not_repeated() -> None:
    both = pair(Path(loss=0.3), seed=2)
    both.establish()
    for number in range(100):
        both.client.send_datagram(b"%d" % number)
    both.run_for(5)
    arrived = [e.data for e in both.server_events if isinstance(e, DatagramReceived)]
    assert 0 < len(arrived) <= 100
    assert len(set(arrived)) == len(arrived)


def test_a_full_datagram_queue_drops_the_oldest() -> None:
    both = pair(server_config=Config(datagrams_queued_max=3))
    both.establish()
    for number in range(5):
        both.client.send_datagram(b"%d" % number)
    both.link.run_for(1)
    arrived = [e.data for e in both.server.poll_events() if isinstance(e, DatagramReceived)]
    assert arrived == [b"2", b"3", b"4"]
    assert both.server.counters["datagrams_dropped"] == 2


def test_close_reaches_the_peer_and_both_ends_forget() -> None:
    both = pair()
    both.establish()
    both.client.close(both.link.now_ns, 7, "bye")
    both.run_until(lambda: both.server.state is State.DRAINING)
    assert closed(both.server_events) == [Closed(7, "bye", application=True, remote=True)]
    both.run_until(lambda: both.client.state is both.server.state is State.CLOSED)


def test_a_closing_endpoint_answers_with_halving_frequency() -> None:
    both = pair(Path(delay_ns=1_000_000))
    both.establish()
    both.link.drop = lambda side, data: side == "left"
    both.client.close(both.link.now_ns)
    both.client.poll_datagrams(both.link.now_ns)
    both.link.sent.clear()
    for _ in range(9):
        both.server.ping()
        for data in both.server.poll_datagrams(both.link.now_ns):
            both.client.handle_datagram(data, both.link.now_ns)
        both.link.sent += [("left", d) for d in both.client.poll_datagrams(both.link.now_ns)]
    assert len(both.link.sent) == 4  # after packets 1, 2, 4 and 8


def test_silence_ends_an_established_connection_and_keepalive_prevents_it() -> None:
    quiet = Config(parameters=replace(DEFAULT_PARAMETERS, idle_timeout_ms=2000))
    both = pair(client_config=quiet)
    both.establish()
    both.run_for(3)
    assert both.client.state is both.server.state is State.CLOSED
    both = pair(client_config=replace(quiet, keepalive_ns=900_000_000))
    both.establish()
    both.run_for(20)
    assert both.client.state is both.server.state is State.ESTABLISHED


def violate(both: Pair, *frames: object) -> Code:
    """Let the client send *frames*; return the code with which the server closes."""
    both.client._control.extend(frames)  # type: ignore[arg-type]
    both.run_until(lambda: both.server.state is State.CLOSING)
    both.run_until(lambda: bool(closed(both.client_events)))
    return Code(closed(both.client_events)[0].code)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Done(bytes(16)), Code.PROTOCOL_VIOLATION),
        (Stream(0, 1 << 18, b"x"), Code.FLOW_CONTROL),
        (Stream(400, 0, b"x"), Code.STREAM_LIMIT),
        (Stream(1, 0, b"x"), Code.STREAM_STATE),
        (Stream(3, 0, b"x"), Code.STREAM_STATE),
        (MessagePart(0, 10, 5, b"123456"), Code.MESSAGE_LIMIT),
        (MessagePart(65536, 10, 0, b"1"), Code.MESSAGE_LIMIT),
        (MessagePart(0, (1 << 16) + 1, 0, b"1"), Code.MESSAGE_LIMIT),
    ],
)
def test_a_broken_rule_closes_with_its_code(frame: object, code: Code) -> None:
    both = pair()
    both.establish()
    assert violate(both, frame) is code


def test_an_acknowledgement_of_a_skipped_number_closes() -> None:
    both = pair(server_config=Config(skip_every_packets=3))
    both.establish()
    for _ in range(5):
        both.server.ping()
        both.run_for(1)
    assert both.server.recovery.skipped
    highest = both.server.recovery.next_number - 1
    assert violate(both, Ack(((0, highest),), 0)) is Code.PROTOCOL_VIOLATION


@given(st.lists(st.lists(frames, max_size=4), max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_authentic_packet_makes_an_endpoint_raise(
    packets: list[list[Frame]], to_client: bool
) -> None:
    both = pair()
    both.establish()
    end, other = (both.client, both.server) if to_client else (both.server, both.client)
    for written in packets:
        sealed = other._seal(written, both.link.now_ns)
        end.handle_datagram(sealed, both.link.now_ns)
        end.poll_datagrams(both.link.now_ns)
    end.poll_events()
    both.run_for(1)
    assert end.state in {State.ESTABLISHED, State.CLOSING, State.DRAINING, State.CLOSED}


@given(st.binary(max_size=100), st.sampled_from([0, 1, 2, 3, 8, 32, 64]))
@settings(deadline=None)
def test_no_bytes_make_an_endpoint_raise_or_move(data: bytes, flags: int) -> None:
    both = pair()
    both.establish()
    for end in (both.client, both.server):
        forged = b"QUNT\x02" + bytes([flags]) + end.own_id + bytes(8)
        end.handle_datagram(forged + len(data).to_bytes(2, "big") + data, both.link.now_ns)
        end.handle_datagram(data, both.link.now_ns)
        assert end.state is State.ESTABLISHED
        assert sum(end.counters.values()) == 2
