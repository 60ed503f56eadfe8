"""Core and oracle talk to each other over a bad link, each in both roles."""

from dataclasses import replace
from typing import Any

import pytest

from cython_ext.core import CloseCause, Endpoint, Params
from interop.reference import Config, draw_server_inputs
from interop.reference import Endpoint as OracleEndpoint
from interop.reference.connection import DEFAULT_PARAMETERS
from interop.reference.endpoint import stateless_reset, version_negotiation
from interop.reference.errors import Code
from interop.reference.events import Closed, StreamReset, StreamStopped
from interop.reference.frames import Ack, Done, MessagePart, Ping, Stream
from interop.reference.state import State
from tests.support.core_end import CLIENT, SERVER, CoreEnd, core_params
from tests.support.mixed_pair import (
    START_NS,
    blob,
    closed,
    datagrams,
    ended,
    messages,
    mixed,
    stream_bytes,
)
from tests.support.oracle import NOW_MS, PIN, SEED, Pair, client, entropy
from tests.support.virtual_link import Path

BAD = Path(loss=0.1, duplication=0.05, corruption=0.02, jitter_ns=8_000_000)
both_roles = pytest.mark.parametrize("core_is_client", [True, False], ids=["client", "server"])
MS = 1_000_000


def core_of(pair: Pair) -> CoreEnd:
    return pair.client if isinstance(pair.client, CoreEnd) else pair.server


def oracle_of(pair: Pair) -> Any:
    return pair.server if isinstance(pair.client, CoreEnd) else pair.client


def core_events(pair: Pair) -> list[Any]:
    return pair.client_events if isinstance(pair.client, CoreEnd) else pair.server_events


def oracle_events(pair: Pair) -> list[Any]:
    return pair.server_events if isinstance(pair.client, CoreEnd) else pair.client_events


@both_roles
@pytest.mark.parametrize("suite", [1, 2])
def test_a_clean_link_needs_one_round_trip_before_the_client_sends(
    core_is_client: bool, suite: int
) -> None:
    pair = mixed(core_is_client, Path(delay_ns=25 * MS), Config(suites=(suite,)))
    pair.run_until(lambda: pair.client.state is State.FINISHED_SENT)
    stream = pair.client.open_stream()
    pair.client.write_stream(stream, b"hello", fin=True)
    pair.run_until(lambda: stream in ended(pair.server_events))
    assert pair.link.now_ns - START_NS == 3 * 25 * MS
    assert stream_bytes(pair.server_events) == {stream: b"hello"}
    assert pair.client.exporter("x", 32) == pair.server.exporter("x", 32)


@both_roles
def test_the_server_takes_the_first_suite_of_the_client_that_it_knows(core_is_client: bool) -> None:
    pair = mixed(core_is_client, None, Config(suites=(2, 1)), Config(suites=(1, 2)))
    pair.establish()
    assert oracle_of(pair).suite == 2
    assert core_of(pair).connection.secrets.suite == 2


@both_roles
@pytest.mark.parametrize("lost", range(6))
def test_the_handshake_survives_the_loss_of_each_of_its_packets(
    core_is_client: bool, lost: int
) -> None:
    pair = mixed(core_is_client)
    seen: list[int] = []

    def drop(side: str, data: bytes) -> bool:
        seen.append(data[5])
        return len(seen) - 1 == lost

    pair.link.drop = drop
    pair.establish()
    pair.run_for(2)
    assert len(seen) > min(lost, 4)


@both_roles
@pytest.mark.parametrize("seed", range(4))
def test_the_handshake_gets_through_a_terrible_link(core_is_client: bool, seed: int) -> None:
    bad = Path(loss=0.4, duplication=0.3, corruption=0.1, jitter_ns=300 * MS)
    slow = Config(handshake_timeout_ns=60_000 * MS)
    pair = mixed(core_is_client, bad, slow, slow, seed=seed)
    pair.establish()
    assert pair.client.exporter("x", 32) == pair.server.exporter("x", 32)


@both_roles
@pytest.mark.parametrize("controller", ["bbr", "new_reno"])
@pytest.mark.parametrize("suite", [1, 2])
def test_streams_and_messages_arrive_whole_over_a_bad_link(
    core_is_client: bool, suite: int, controller: str
) -> None:
    config = Config(suites=(suite,), skip_every_packets=50)
    pair = mixed(core_is_client, BAD, config, config, seed=suite, controller=controller)
    pair.establish()
    up, down = pair.client.open_stream(), pair.server.open_stream()
    one_way = pair.client.open_stream(unidirectional=True)
    pair.client.write_stream(up, blob(300_000, "up"), fin=True)
    pair.client.write_stream(one_way, blob(5_000, "one way"), fin=True)
    pair.server.write_stream(down, blob(300_000, "down"), fin=True)
    sent = [blob(size, f"message {size}") for size in (0, 1, 64, 1100, 1135, 1136, 1200, 60_000)]
    for message in sent:
        pair.client.send_message(message)
        pair.server.send_message(message)
    pair.run_until(
        lambda: (
            {up, one_way} <= ended(pair.server_events)
            and down in ended(pair.client_events)
            and pair.client.is_flushed
            and pair.server.is_flushed
        ),
        seconds=120,
    )
    assert stream_bytes(pair.server_events) == {
        up: blob(300_000, "up"),
        one_way: blob(5_000, "one way"),
    }
    assert stream_bytes(pair.client_events) == {down: blob(300_000, "down")}
    assert sorted(messages(pair.server_events)) == sorted(sent)
    assert sorted(messages(pair.client_events)) == sorted(sent)
    assert oracle_of(pair).recovery.lost_packets > 0
    assert core_of(pair).stats["packets_lost"] > 0


@both_roles
def test_a_stream_is_answered_on_its_other_half(core_is_client: bool) -> None:
    pair = mixed(core_is_client, BAD, seed=9)
    pair.establish()
    for opener, other, events, other_events in (
        (pair.client, pair.server, pair.client_events, pair.server_events),
        (pair.server, pair.client, pair.server_events, pair.client_events),
    ):
        stream = opener.open_stream()
        opener.write_stream(stream, b"question", fin=True)
        pair.run_until(lambda o=other_events, s=stream: s in ended(o))
        other.write_stream(stream, b"answer", fin=True)
        pair.run_until(lambda e=events, s=stream: s in ended(e))
        assert stream_bytes(events)[stream] == b"answer"
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed)
    pair.run_for(5)
    assert core_of(pair).stats["streams"] == 0
    assert oracle_of(pair).streams.send == {}


@both_roles
def test_data_that_overtakes_the_client_finished_is_kept(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    finished_lost: list[bytes] = []

    def drop(side: str, data: bytes) -> bool:
        if data[5] == 0x20 and not finished_lost:
            finished_lost.append(data)
            return True
        return False

    pair.link.drop = drop
    pair.run_until(lambda: pair.client.state is State.FINISHED_SENT)
    stream = pair.client.open_stream()
    pair.client.write_stream(stream, b"early", fin=True)
    pair.run_until(lambda: pair.server.state is State.ESTABLISHED)
    assert stream_bytes(pair.server_events) == {stream: b"early"}


@both_roles
def test_the_server_sends_nothing_protected_before_it_verified_finished(
    core_is_client: bool,
) -> None:
    pair = mixed(core_is_client)
    pair.link.drop = lambda side, data: data[5] == 0x20
    pair.run_for(5)
    assert pair.server.state is State.HELLO_ANSWERED
    assert {data[5] for side, data in pair.link.sent if side == "right"} == {0x03}
    pair.run_for(6)
    assert (pair.client.state, pair.server.state) == (State.CLOSED, State.CLOSED)


@both_roles
def test_datagrams_arrive_and_are_not_repeated(core_is_client: bool) -> None:
    pair = mixed(core_is_client, Path(loss=0.3), seed=2)
    pair.establish()
    for number in range(100):
        pair.client.send_datagram(b"%d" % number)
        pair.server.send_datagram(b"" if number == 50 else b"%d" % -number)
    pair.run_for(5)
    for events in (pair.client_events, pair.server_events):
        assert 0 < len(datagrams(events)) <= 100
        assert len(set(datagrams(events))) == len(datagrams(events))


@both_roles
def test_small_windows_hold_the_sender_back_and_open_again(core_is_client: bool) -> None:
    small = replace(
        DEFAULT_PARAMETERS,
        max_data=3000,
        max_stream_data=2000,
        max_message_data=30_001,
        max_message_bytes=30_000,
    )
    config = Config(parameters=small)
    pair = mixed(core_is_client, Path(loss=0.05), config, config)
    pair.establish()
    sent = [blob(30_000, str(number)) for number in range(3)]
    ids = {}
    for end in (pair.client, pair.server):
        ids[end] = [end.open_stream() for _ in range(3)]
        for stream in ids[end]:
            end.write_stream(stream, blob(20_000), fin=True)
        for message in sent:
            end.send_message(message)
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 300)
    for end, events in ((pair.client, pair.server_events), (pair.server, pair.client_events)):
        assert [stream_bytes(events)[stream] for stream in ids[end]] == [blob(20_000)] * 3
        assert sorted(messages(events)) == sorted(sent)


@both_roles
def test_a_window_of_one_largest_message_never_closes_for_good(core_is_client: bool) -> None:
    narrow = replace(DEFAULT_PARAMETERS, max_message_data=2001, max_message_bytes=2000)
    config = Config(parameters=narrow)
    pair = mixed(core_is_client, None, config, config)
    pair.establish()
    sent = [blob(size, str(number)) for number, size in enumerate((400, 2000, 2000, 1, 2000))]
    for message in sent:
        pair.client.send_message(message)
        pair.server.send_message(message)
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 60)
    assert sorted(messages(pair.client_events)) == sorted(sent)
    assert sorted(messages(pair.server_events)) == sorted(sent)


def open_when_allowed(pair: Pair, end: Any) -> int:
    """Open a unidirectional stream; the oracle always may, its data waits instead."""
    if not isinstance(end, CoreEnd):
        stream: int = end.open_stream(unidirectional=True)
        return stream
    opened: list[int | None] = [None]

    def attempt() -> bool:
        opened[0] = end.connection.open_stream(False)
        return opened[0] is not None

    pair.run_until(attempt)
    assert opened[0] is not None
    return opened[0]


@both_roles
def test_streams_beyond_the_limit_wait_until_earlier_ones_end(core_is_client: bool) -> None:
    few = Config(parameters=replace(DEFAULT_PARAMETERS, max_streams_uni=2, max_streams_bidi=1))
    pair = mixed(core_is_client, Path(loss=0.1), few, few, seed=4)
    pair.establish()
    for number in range(10):
        for end, events in ((pair.client, pair.server_events), (pair.server, pair.client_events)):
            stream = open_when_allowed(pair, end)
            end.write_stream(stream, b"%d" % number, fin=True)
            pair.run_until(lambda s=stream, e=events: s in ended(e))
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed)


@both_roles
def test_a_reset_reaches_the_peer_with_its_code(core_is_client: bool) -> None:
    pair = mixed(core_is_client, Path(loss=0.2), seed=5)
    pair.establish()
    for end, events, others in (
        (pair.client, pair.client_events, pair.server_events),
        (pair.server, pair.server_events, pair.client_events),
    ):
        stream = end.open_stream(unidirectional=True)
        end.write_stream(stream, b"abc")
        pair.run_until(lambda o=others, s=stream: s in stream_bytes(o))
        end.reset_stream(stream, 77)
        pair.run_until(lambda o=others, s=stream: StreamReset(s, 77) in o)
        assert not [e for e in events if isinstance(e, StreamStopped)]
    pair.run_for(5)
    assert core_of(pair).stats["streams"] == 0
    assert oracle_of(pair).streams.receive == {}


@both_roles
def test_a_reset_gives_the_window_back(core_is_client: bool) -> None:
    small = Config(parameters=replace(DEFAULT_PARAMETERS, max_data=3000, max_stream_data=2000))
    pair = mixed(core_is_client, Path(loss=0.1), small, small, seed=6)
    pair.establish()
    for end, others in ((pair.client, pair.server_events), (pair.server, pair.client_events)):
        for _ in range(5):
            given_up = end.open_stream()
            end.write_stream(given_up, blob(5000))
            pair.run_until(lambda o=others, s=given_up: s in stream_bytes(o))
            end.reset_stream(given_up, 1)
            pair.run_until(lambda o=others, s=given_up: StreamReset(s, 1) in o)
        stream = end.open_stream()
        end.write_stream(stream, blob(10_000), fin=True)
        pair.run_until(lambda o=others, s=stream: s in ended(o))
        assert stream_bytes(others)[stream] == blob(10_000)


@both_roles
def test_stop_sending_is_answered_with_a_reset_of_the_same_code(core_is_client: bool) -> None:
    pair = mixed(core_is_client, Path(loss=0.2), seed=5)
    pair.establish()
    for end, events, other, others in (
        (pair.client, pair.client_events, pair.server, pair.server_events),
        (pair.server, pair.server_events, pair.client, pair.client_events),
    ):
        stream = end.open_stream()
        end.write_stream(stream, b"abc")
        pair.run_until(lambda o=others, s=stream: s in stream_bytes(o))
        other.stop_stream(stream, 77)
        pair.run_until(lambda e=events, s=stream: StreamStopped(s, 77) in e)
        pair.run_until(lambda e=end: not core_or_oracle_owes_reset(e))
    pair.run_for(3)
    resets = [e for e in oracle_events(pair) if isinstance(e, StreamReset)]
    assert [e.code for e in resets] == [77]


def core_or_oracle_owes_reset(end: Any) -> bool:
    """Tell whether a RESET_STREAM of *end* was not acknowledged yet."""
    if isinstance(end, CoreEnd):
        return False
    return any(half.state.name == "RESET" for half in end.streams.send.values())


@both_roles
@pytest.mark.parametrize("core_every", [40, 1 << 20], ids=["core-updates", "core-follows"])
@pytest.mark.parametrize("oracle_every", [33, 1 << 20], ids=["oracle-updates", "oracle-follows"])
def test_key_updates_do_not_lose_data(
    core_is_client: bool, core_every: int, oracle_every: int
) -> None:
    config = Config(update_after_packets=oracle_every)
    pair = mixed(core_is_client, BAD, config, config, seed=3, key_update_packets=core_every)
    pair.establish()
    for end in (pair.client, pair.server):
        end.write_stream(end.open_stream(), blob(200_000), fin=True)
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 120)
    pair.run_for(2)
    assert stream_bytes(pair.server_events) == {0: blob(200_000)}
    assert stream_bytes(pair.client_events) == {1: blob(200_000)}
    updates, phase = core_of(pair).stats["key_updates"], oracle_of(pair).phases.phase
    assert abs(updates - phase) <= 1
    if min(core_every, oracle_every) < 1000:
        assert updates >= 4
    else:
        assert updates == phase == 0


@both_roles
def test_a_key_update_in_both_directions_at_once_is_one_update(core_is_client: bool) -> None:
    pair = mixed(core_is_client, key_update_packets=20)
    pair.establish()
    core, oracle = core_of(pair), oracle_of(pair)
    while core.stats["key_updates"] == 0:
        core.ping()
        pair.run_for(0.001)
        if core.stats["key_updates"]:
            break
        pair.run_for(0.5)
    assert oracle.phases.phase == 0
    assert oracle.update_keys()
    oracle.send_message(b"in the new phase")
    pair.run_for(2)
    assert messages(core_events(pair)) == [b"in the new phase"]
    assert core.stats["key_updates"] == oracle.phases.phase == 1
    assert core.stats["does_not_open"] == 0
    assert oracle.counters["unopened"] == 0


@both_roles
def test_late_packets_of_the_old_phase_open_until_three_probe_timeouts_passed(
    core_is_client: bool,
) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle = core_of(pair), oracle_of(pair)
    oracle.ping()
    pair.run_for(1)
    now = pair.link.now_ns
    late = [oracle._seal([Ping()], now) for _ in range(3)]
    assert oracle.update_keys()
    core.handle_datagram(oracle._seal([Ping()], now), now)
    assert core.stats["key_updates"] == 1
    before = core.stats["packets_received"]
    core.handle_datagram(late[0], now)
    assert core.stats["packets_received"] == before + 1
    timeout = core.stats["probe_timeout_ns"]
    core.handle_datagram(late[1], now + 3 * timeout - MS)
    assert core.stats["packets_received"] == before + 2
    core.handle_datagram(late[2], now + 3 * timeout + MS)
    assert core.stats["packets_received"] == before + 2
    assert core.stats["does_not_open"] == 1


@both_roles
@pytest.mark.parametrize("core_closes", [True, False])
def test_close_reaches_the_peer_and_both_ends_forget(
    core_is_client: bool, core_closes: bool
) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.client.send_message(b"before")
    pair.server.send_message(b"before")
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed)
    closer, other = core_of(pair), oracle_of(pair)
    told = oracle_events(pair)
    if not core_closes:
        closer, other, told = other, closer, core_events(pair)
    closer.close(pair.link.now_ns, 7, "bye, à bientôt")
    pair.run_until(lambda: other.state is State.DRAINING)
    assert closed(told) == [Closed(7, "bye, à bientôt", application=True, remote=True)]
    assert messages(told) == [b"before"]
    pair.run_until(lambda: pair.client.state is pair.server.state is State.CLOSED)
    assert core_of(pair).endpoint.connections() == []
    assert pair.client.next_timeout() is pair.server.next_timeout() is None


@both_roles
def test_both_may_close_at_once(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.client.close(pair.link.now_ns, 1, "a")
    pair.server.close(pair.link.now_ns, 2, "b")
    pair.run_for(0.05)
    assert pair.client.state is pair.server.state is State.DRAINING
    pair.run_until(lambda: pair.client.state is pair.server.state is State.CLOSED)
    assert [e.code for e in closed(pair.client_events)] == [1]
    assert [e.code for e in closed(pair.server_events)] == [2]


@both_roles
def test_a_closing_core_answers_with_halving_frequency(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    core.close(now)
    assert len(core.poll_datagrams(now)) == 1
    answers = []
    for _ in range(9):
        core.handle_datagram(oracle._seal([Ping()], now), now)
        answers.append(len(core.poll_datagrams(now)))
    assert answers == [1, 1, 0, 1, 0, 0, 0, 1, 0]


@both_roles
def test_a_close_in_a_packet_that_does_not_parse_is_not_acted_on(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    core.close(now)
    number = oracle.recovery.take_number()
    plaintext = b"\x32\x00\x00\xff"
    header = b"QUNT\x02\x00" + oracle.peer_id + number.to_bytes(4, "big") + bytes(4)
    header += (len(plaintext) + 16).to_bytes(2, "big")
    core.handle_datagram(header + oracle.phases.seal(number, header, plaintext), now)
    assert core.state is State.CLOSING


@both_roles
def test_closing_before_the_handshake_is_done_is_silent(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.link.drop = lambda side, data: side == "right"
    pair.run_for(0.1)
    sent = len(pair.link.sent)
    pair.client.close(pair.link.now_ns)
    pair.server.close(pair.link.now_ns)
    pair.run_for(1)
    assert pair.client.state is pair.server.state is State.CLOSED
    assert len(pair.link.sent) == sent
    assert core_of(pair).endpoint.stats()["connections"] == 0


@both_roles
def test_silence_ends_both_at_the_smaller_idle_timeout(core_is_client: bool) -> None:
    quiet = Config(parameters=replace(DEFAULT_PARAMETERS, idle_timeout_ms=4000))
    for configs in ((quiet, None), (None, quiet)):
        pair = mixed(core_is_client, None, *configs)
        pair.establish()
        pair.run_for(3.5)
        assert pair.client.state is pair.server.state is State.ESTABLISHED
        sent = len(pair.link.sent)
        pair.run_for(1)
        assert pair.client.state is pair.server.state is State.CLOSED
        assert len(pair.link.sent) == sent
        assert core_of(pair).connection.cause is CloseCause.IDLE_TIMEOUT


@both_roles
def test_keepalive_of_one_end_keeps_both(core_is_client: bool) -> None:
    quiet = Config(
        parameters=replace(DEFAULT_PARAMETERS, idle_timeout_ms=2000), keepalive_ns=900 * MS
    )
    for configs in ((quiet, None), (None, quiet)):
        pair = mixed(core_is_client, None, *configs)
        pair.establish()
        pair.run_for(20)
        assert pair.client.state is pair.server.state is State.ESTABLISHED


@both_roles
def test_a_handshake_that_gets_no_answer_ends_after_its_timeout(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.link.drop = lambda side, data: True
    pair.run_for(9.9)
    assert pair.client_events == []
    hellos = [int.from_bytes(d[22:26], "big") for _, d in pair.link.sent]
    assert hellos == list(range(10))
    pair.run_for(0.2)
    assert pair.client.state is State.CLOSED
    assert pair.client.next_timeout() is None


def violate(pair: Pair, *frames: Any) -> Code:
    """Let the oracle send *frames*; return the code with which the core closes."""
    oracle_of(pair)._control.extend(frames)
    pair.run_until(lambda: bool(closed(oracle_events(pair))))
    assert core_of(pair).connection.cause is CloseCause.LOCAL_ERROR
    return Code(closed(oracle_events(pair))[0].code)


@both_roles
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (lambda client: Stream(client, 1 << 18, b"x"), Code.FLOW_CONTROL),
        (lambda client: Stream(400 | client, 0, b"x"), Code.STREAM_LIMIT),
        (lambda client: Stream(1 - client, 0, b"x"), Code.STREAM_STATE),
        (lambda client: MessagePart(0, 10, 5, b"123456"), Code.MESSAGE_LIMIT),
        (lambda client: MessagePart(65536, 10, 0, b"1"), Code.MESSAGE_LIMIT),
        (lambda client: Ack(((0, 999),), 0), Code.PROTOCOL_VIOLATION),
    ],
)
def test_a_broken_rule_closes_with_its_code(core_is_client: bool, frame: Any, code: Code) -> None:
    # Bit 0 of ids that the oracle opens: 1 when it is the server.
    made = frame(1 if core_is_client else 0)
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    assert violate(pair, made) is code


def test_done_from_a_client_closes_and_another_from_the_server_changes_nothing() -> None:
    pair = mixed(core_is_client=False)
    pair.establish()
    assert violate(pair, Done(bytes(16))) is Code.PROTOCOL_VIOLATION
    pair = mixed(core_is_client=True)
    pair.establish()
    oracle_of(pair)._control.append(Done(bytes(16)))
    pair.run_for(1)
    assert pair.client.state is State.ESTABLISHED
    reset = stateless_reset(SEED, oracle_of(pair).own_id)
    pair.client.handle_datagram(reset, pair.link.now_ns, "right")
    assert pair.client.state is State.DRAINING


@both_roles
def test_a_message_just_within_the_distance_is_taken(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    oracle_of(pair)._control.append(MessagePart(65535, 1, 0, b"1"))
    pair.run_until(lambda: messages(core_events(pair)) == [b"1"])
    assert core_of(pair).state is State.ESTABLISHED


@both_roles
def test_an_acknowledgement_of_a_number_skipped_on_purpose_closes(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    core, oracle = core_of(pair), oracle_of(pair)
    skipped: list[int] = []
    pair.link.sent.clear()
    side = "left" if core_is_client else "right"
    while not skipped:
        core.ping()
        pair.run_for(0.05)
        sent = [int.from_bytes(d[22:26], "big") for s, d in pair.link.sent if s == side]
        skipped = sorted(set(range(min(sent), max(sent))) - set(sent))
    assert oracle.state is State.ESTABLISHED
    # The next one is acknowledged blindly, before anything above it was.
    oracle._acknowledger.handle_packet(max(sent) + 1, True, pair.link.now_ns)
    oracle._acknowledger._received.add(skipped[0], skipped[0])
    pair.run_until(lambda: bool(closed(oracle_events(pair))))
    assert closed(oracle_events(pair))[0].code == Code.PROTOCOL_VIOLATION


@both_roles
def test_a_late_acknowledgement_of_a_lost_packet_acknowledges_nothing_else(
    core_is_client: bool,
) -> None:
    """Every second packet is lost, so that one repair carries more ranges than a packet may note.

    Each packet carries one message. The repair is lost too, and some first packets arrive late.
    """
    pair = mixed(core_is_client, controller="new_reno")
    pair.establish()
    core, oracle, batch = core_of(pair), oracle_of(pair), 90
    core.write_stream(core.open_stream(), blob(30_000), fin=True)
    pair.run_until(lambda: core.is_flushed)
    now, late, acks = pair.link.now_ns, {}, []
    sent = [b"%d" % number for number in range(4 * batch)]
    for number, message in enumerate(sent):
        now += MS // 16
        core.send_message(message)
        (data,) = core.poll_datagrams(now)
        if number % 2:
            oracle.handle_datagram(data, now)
        else:
            late[number] = data
        if number % batch == batch - 1:
            acks.append(oracle.poll_datagrams(now)[-1])
    now += 10 * MS
    for data in acks:
        core.handle_datagram(data, now)
    assert core.poll_datagrams(now)
    assert core.stats["packets_lost"] > 170
    for number in [*range(260, 234, -2), *range(22, -2, -2)]:
        oracle.handle_datagram(late[number], now)
    for data in oracle.poll_datagrams(now):
        core.handle_datagram(data, now)
    assert core.stats["packets_spurious"] == 25
    pair.link.now_ns = now
    pair.run_until(lambda: core.is_flushed)
    assert sorted(messages(oracle_events(pair))) == sorted(sent)


def restarted_core(**choices: Any) -> Endpoint:
    return Endpoint(core_params(**choices), entropy("restarted"), SEED)


def test_a_restarted_core_server_resets_the_oracle_s_connection() -> None:
    pair = mixed(core_is_client=False)
    pair.establish()
    pair.client.send_message(b"is anybody there? " * 3)
    (data,) = pair.client.poll_datagrams(pair.link.now_ns)
    restarted = restarted_core()
    restarted.handle_datagram(data, CLIENT, pair.link.now_ns)
    ((address, reset),) = restarted.poll_datagrams(pair.link.now_ns)
    assert address == CLIENT
    assert len(reset) < len(data)
    pair.client.handle_datagram(reset, pair.link.now_ns, "right")
    assert pair.client.state is State.DRAINING


def test_a_restarted_oracle_server_resets_the_core_s_connection() -> None:
    pair = mixed(core_is_client=True)
    pair.establish()
    pair.client.send_message(b"is anybody there? " * 3)
    (data,) = pair.client.poll_datagrams(pair.link.now_ns)
    draw = entropy("restarted")
    restarted = OracleEndpoint(Config(), SEED, lambda: draw_server_inputs(NOW_MS, draw))
    restarted.handle_datagram(data, pair.link.now_ns, "left")
    ((reset, _),) = restarted.poll_datagrams(pair.link.now_ns)
    forged = stateless_reset(bytes(32), data[6:22])
    pair.client.handle_datagram(forged, pair.link.now_ns, "right")
    pair.client.handle_datagram(reset, pair.link.now_ns, "elsewhere")
    assert pair.client.state is State.ESTABLISHED
    pair.client.handle_datagram(reset, pair.link.now_ns, "right")
    assert pair.client.state is State.DRAINING
    assert pair.client.connection.cause is CloseCause.STATELESS_RESET
    pair.run_for(5)
    assert pair.client.state is State.CLOSED


@both_roles
def test_packets_from_another_address_are_dropped_and_counted(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    packet = oracle._seal([Ping()], now)
    before = core.stats
    core.handle_datagram(packet, now, "elsewhere")
    assert core.stats["wrong_address"] == 1
    assert core.stats["packets_received"] == before["packets_received"]
    core.handle_datagram(packet, now)
    assert core.stats["packets_received"] == before["packets_received"] + 1


@both_roles
def test_a_packet_counts_once_however_often_it_comes(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    packet = oracle._seal([MessagePart(0, 1, 0, b"1")], now)
    for _ in range(3):
        core.handle_datagram(packet, now)
    assert messages(core.poll_events()) == [b"1"]
    assert core.stats["replayed"] == 2


@both_roles
def test_no_flipped_bit_gets_through(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    packet = oracle._seal([MessagePart(0, 1, 0, b"1")], now)
    received = core.stats["packets_received"]
    for bit in range(8 * len(packet)):
        changed = bytearray(packet)
        changed[bit // 8] ^= 1 << bit % 8
        core.handle_datagram(bytes(changed), now)
    assert core.stats["packets_received"] == received
    assert core.state is State.ESTABLISHED
    core.handle_datagram(packet, now)
    assert messages(core.poll_events()) == [b"1"]


def test_the_syn_of_version_1_is_answered_with_version_negotiation() -> None:
    endpoint = restarted_core()
    syn = b"QUNT\x01\x01" + bytes(range(16)) + bytes(10)
    endpoint.handle_datagram(syn, CLIENT, START_NS)
    assert endpoint.poll_datagrams(START_NS) == [(CLIENT, version_negotiation(bytes(range(16))))]
    for _ in range(300):
        endpoint.handle_datagram(syn, CLIENT, START_NS)
    assert len(endpoint.poll_datagrams(START_NS)) == 99


def test_version_negotiation_is_only_reported_when_the_handshake_times_out() -> None:
    end = CoreEnd.client(core_params(), PIN, entropy("core"), START_NS)
    (hello,) = end.poll_datagrams(START_NS)
    answer = version_negotiation(hello[6:22])
    end.handle_datagram(answer[:-1] + b"\x07", START_NS)
    assert end.state is State.HELLO_SENT
    end.handle_timeout(START_NS + 10_000 * MS)
    end.poll_datagrams(START_NS + 10_000 * MS)
    (told,) = end.poll_events()
    assert isinstance(told, Closed)
    assert "version 7" in told.reason


def test_unfinished_handshakes_are_bounded_and_expire() -> None:
    endpoint = restarted_core(max_half_open=3)
    for number in range(5):
        end = client(name=f"client {number}")
        end.connect(START_NS)
        (hello,) = end.poll_datagrams(START_NS)
        endpoint.handle_datagram(hello, ("192.0.2.7", 1000 + number), START_NS)
    assert endpoint.stats()["half_open"] == 3
    assert endpoint.stats()["half_open_limit"] == 2
    assert len(endpoint.poll_datagrams(START_NS)) == 3
    due = endpoint.next_timeout()
    assert due == START_NS + 10_000 * MS
    endpoint.handle_timeout(due)
    assert endpoint.poll_datagrams(due) == []
    endpoint.poll_connections()
    assert endpoint.stats()["connections"] == endpoint.stats()["half_open"] == 0


def test_an_endpoint_that_only_connects_answers_no_hello() -> None:
    endpoint = Endpoint(Params(), entropy("client"))
    end = client()
    end.connect(START_NS)
    (hello,) = end.poll_datagrams(START_NS)
    endpoint.handle_datagram(hello, SERVER, START_NS)
    endpoint.handle_datagram(b"QUNT\x01\x01" + bytes(26), SERVER, START_NS)
    assert endpoint.poll_datagrams(START_NS) == []
