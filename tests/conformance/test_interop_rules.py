"""What the oracle may not send to the core, and what neither has to believe."""

from typing import Any

import pytest

from cython_ext.core import CloseCause, Endpoint, Params
from interop.reference.endpoint import stateless_reset, version_negotiation
from interop.reference.errors import Code
from interop.reference.events import Closed
from interop.reference.frames import Ack, Done, MessagePart, Ping, Stream
from interop.reference.state import State
from tests.support.core_end import CLIENT, SERVER, CoreEnd, core_params
from tests.support.mixed_pair import (
    MS,
    START_NS,
    blob,
    both_roles,
    closed,
    core_events,
    core_of,
    messages,
    mixed,
    oracle_events,
    oracle_of,
    restarted_core,
)
from tests.support.oracle import PIN, SEED, Pair, client, entropy


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
