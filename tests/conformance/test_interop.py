"""Core and oracle carry data to each other over a bad link, each in both roles."""

from dataclasses import replace
from typing import Any

import pytest

from interop.reference import Config
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.events import StreamReset, StreamStopped
from interop.reference.frames import Ping
from interop.reference.state import State
from tests.support.core_end import CoreEnd
from tests.support.mixed_pair import (
    MS,
    START_NS,
    blob,
    both_roles,
    core_events,
    core_of,
    datagrams,
    ended,
    messages,
    mixed,
    oracle_events,
    oracle_of,
    stream_bytes,
)
from tests.support.oracle import Pair
from tests.support.virtual_link import Path

BAD = Path(loss=0.1, duplication=0.05, corruption=0.02, jitter_ns=8_000_000)


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
