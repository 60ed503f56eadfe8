"""Peers that shook hands and then break the rules: the right code, and bounded memory."""

from collections.abc import Callable

import pytest

from cython_ext.core import CloseCause, ConnectionState, Params, TransportError
from cython_ext.wire import encode_ack
from tests.support.memory import resident_bytes
from tests.support.raw_client import (
    ACK,
    PING,
    RawClient,
    datagram,
    limit,
    message,
    message_expired,
    message_part,
    new_server,
    reset_stream,
    stop_sending,
    stream,
    varint,
)

SMALL = Params(
    max_data=4_000,
    max_stream_data=2_000,
    max_streams_bidi=3,
    max_streams_uni=2,
    max_message_bytes=500,
    max_message_data=1_000,
    datagram_queue=4,
)
E = TransportError
TOP = (1 << 62) - 1
MS = 1_000_000

# Stream ids: 0 client bidirectional, 1 server bidirectional, 2 client uni, 3 server uni.
VIOLATIONS: list[tuple[str, list[bytes], TransportError]] = [
    ("an ACK of a number never sent", [encode_ack([(900, 900)], 0)], E.PROTOCOL_VIOLATION),
    ("an ACK of the last number", [encode_ack([(TOP, TOP)], 0)], E.PROTOCOL_VIOLATION),
    ("DONE from a client", [b"\x30" + bytes(16)], E.PROTOCOL_VIOLATION),
    ("an unknown frame", [b"\x2f"], E.FRAME_ENCODING),
    ("a reserved frame", [b"\x24" + bytes(8)], E.FRAME_ENCODING),
    ("a repair frame", [b"\x20" + bytes(8)], E.FRAME_ENCODING),
    ("a frame cut short", [b"\x06\x00"], E.FRAME_ENCODING),
    ("a varint cut short", [b"\x10\xc0\x00"], E.FRAME_ENCODING),
    ("STREAM longer than the packet", [b"\x0a\x00\x05abc"], E.FRAME_ENCODING),
    ("STREAM beyond the last offset", [stream(0, TOP, b"x")], E.FRAME_ENCODING),
    ("an ACK with a range below zero", [b"\x02\x05\x00\x00\x06"], E.FRAME_ENCODING),
    ("an ACK with a gap below zero", [b"\x02\x05\x00\x01\x00\x05\x00"], E.FRAME_ENCODING),
    ("an ACK with more ranges than bytes", [b"\x02\x05\x00\xff" + b"\0" * 7], E.FRAME_ENCODING),
    ("MAX_STREAMS above 2^60", [limit(0x12, (1 << 60) + 1)], E.FRAME_ENCODING),
    ("a reason too long", [b"\x31\x00" + varint(257) + bytes(257)], E.FRAME_ENCODING),
    ("stream credit exceeded", [stream(0, 2_000, b"x")], E.FLOW_CONTROL),
    ("stream credit exceeded far", [stream(0, TOP - 1, b"x")], E.FLOW_CONTROL),
    (
        "connection credit exceeded",
        [stream(0, 1_999, b"x"), stream(4, 1_999, b"x"), stream(8, 0, b"x")],
        E.FLOW_CONTROL,
    ),
    (
        "connection credit exceeded by a reset",
        [stream(0, 1_999, b"x"), stream(4, 1_999, b"x"), reset_stream(8, 1, 1)],
        E.FLOW_CONTROL,
    ),
    ("stream credit exceeded by a reset", [reset_stream(0, 1, 2_001)], E.FLOW_CONTROL),
    ("one stream too many", [stream(12, 0, b"x")], E.STREAM_LIMIT),
    ("one unidirectional stream too many", [stream(10, 0, b"")], E.STREAM_LIMIT),
    ("the last stream id", [stream(TOP - 3, 0, b"")], E.STREAM_LIMIT),
    ("a stream too many by STOP_SENDING", [stop_sending(400, 0)], E.STREAM_LIMIT),
    ("a stream too many by MAX_STREAM_DATA", [limit(0x11, 400, 9)], E.STREAM_LIMIT),
    ("data on our unidirectional stream", [stream(3, 0, b"x")], E.STREAM_STATE),
    ("a reset of our unidirectional stream", [reset_stream(3, 0, 0)], E.STREAM_STATE),
    ("data on a stream we never opened", [stream(1, 0, b"x")], E.STREAM_STATE),
    ("STOP_SENDING for a stream we never opened", [stop_sending(1, 0)], E.STREAM_STATE),
    ("STOP_SENDING for a stream only they send on", [stop_sending(2, 0)], E.STREAM_STATE),
    ("credit for a stream only they send on", [limit(0x11, 2, 9)], E.STREAM_STATE),
    ("data beyond the end", [stream(0, 0, b"abc", fin=True), stream(0, 3, b"d")], E.FINAL_SIZE),
    ("an end below the data", [stream(0, 0, b"abc"), stream(0, 0, b"ab", fin=True)], E.FINAL_SIZE),
    (
        "an end that moves",
        [stream(0, 0, b"abc", fin=True), stream(0, 0, b"abcd", fin=True)],
        E.FINAL_SIZE,
    ),
    ("a reset below the data", [stream(0, 0, b"abc"), reset_stream(0, 1, 2)], E.FINAL_SIZE),
    ("a reset that moves", [reset_stream(0, 1, 2), reset_stream(0, 1, 3)], E.FINAL_SIZE),
    ("a message too large", [message(0, bytes(501))], E.MESSAGE_LIMIT),
    ("a part of a message too large", [message_part(0, 501, 0, b"x")], E.MESSAGE_LIMIT),
    ("message credit exceeded", [message(n, bytes(333)) for n in range(3)], E.MESSAGE_LIMIT),
    ("a message far ahead", [message(65_536, b"")], E.MESSAGE_LIMIT),
    ("a message very far ahead", [message(0, b""), message(TOP, b"")], E.MESSAGE_LIMIT),
    ("an expired message too large", [message_expired(0, 501)], E.MESSAGE_LIMIT),
    ("an expired message far ahead", [message_expired(65_536, 0)], E.MESSAGE_LIMIT),
    (
        "an expired message of another size than its part",
        [message_part(0, 10, 0, b"a"), message_expired(0, 11)],
        E.MESSAGE_LIMIT,
    ),
    (
        "credit exceeded by one that expired",
        [message(0, bytes(499)), message(1, bytes(499)), message_expired(2, 0)],
        E.MESSAGE_LIMIT,
    ),
    ("a part beyond its total", [message_part(0, 10, 8, b"abc")], E.MESSAGE_LIMIT),
    (
        "totals that differ",
        [message_part(0, 10, 0, b"a"), message_part(0, 11, 1, b"b")],
        E.MESSAGE_LIMIT,
    ),
]


@pytest.mark.parametrize(
    ("payloads", "code"), [row[1:] for row in VIOLATIONS], ids=[row[0] for row in VIOLATIONS]
)
def test_a_broken_rule_closes_with_its_code(payloads: list[bytes], code: TransportError) -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    replies = [client.send(payload) for payload in payloads]
    closes = [frame for frames in replies for frame in frames if frame[0] == 0x31]
    assert [frame[1] for frame in closes] == [code]
    # Nothing before the last frame was wrong.
    assert closes[0] in replies[-1]
    assert (handle.state, handle.cause) == (ConnectionState.CLOSING, CloseCause.LOCAL_ERROR)
    assert handle.close_frame[0] == code
    client.wait(5_000 * MS)
    client.server.poll_connections()
    assert client.server.stats()["connections"] == 0


def test_the_header_may_not_acknowledge_what_was_not_sent() -> None:
    for number in (900, 0, 0xFFFFFFFF):
        client = RawClient(new_server()).connect()
        client.deliver(client.seal(PING, flags=ACK, ack=number))
        codes = [frame[1] for frame in client.receive() if frame[0] == 0x31]
        assert codes == [E.PROTOCOL_VIOLATION]


@pytest.mark.parametrize("in_header", [False, True])
def test_a_number_skipped_on_purpose_may_not_be_acknowledged(in_header: bool) -> None:
    client = RawClient(new_server()).connect()
    for _ in range(900):
        client.send(PING, PING)
    sent = client.sent_by_server
    skipped = sorted(set(range(sent[0], sent[-1])) - set(sent))
    assert skipped, "the server never skipped a number"
    newest = [n for n in sent if n > skipped[-1]]
    if in_header:
        client.deliver(client.seal(PING, flags=ACK, ack=skipped[-1] + 1))
    else:
        client.deliver(client.seal(encode_ack([(skipped[-1] - 1, newest[0])], 0)))
    codes = [frame[1] for frame in client.receive() if frame[0] == 0x31]
    assert codes == [E.PROTOCOL_VIOLATION]


def test_data_scattered_over_too_many_gaps_closes() -> None:
    client = RawClient(new_server()).connect()
    codes: list[object] = []
    for at in range(1, 2_400, 2):
        codes += [frame[1] for frame in client.send(stream(0, at, b"x")) if frame[0] == 0x31]
    assert codes[:1] == [E.TOO_MANY_GAPS]


def test_no_frame_of_a_packet_with_a_broken_one_counts() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(stream(0, 0, b"abc") + message(0, b"m") + datagram(b"d") + b"\x2f")
    assert client.server.stats()["frame_refused"] == 1
    assert handle.stats()["streams"] == 0
    assert handle.receive_messages() == []
    assert handle.receive_datagrams() == []


def test_frames_for_streams_that_ended_are_ignored() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(stream(2, 0, b"abc", fin=True))
    assert handle.stream_read(2, 10) == b"abc"
    assert handle.poll_events()
    assert handle.stats()["streams"] == 0
    client.send(stream(2, 0, b"abc", fin=True), reset_stream(2, 1, 3), stream(2, 1, b"b"))
    assert handle.state == ConnectionState.ESTABLISHED


def test_replayed_and_forged_packets_are_dropped_and_counted() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    packet = client.seal(datagram(b"once"))
    client.deliver(packet, packet, packet)
    forged = packet[:22] + b"\0\0\0\x63" + packet[26:]
    client.deliver(forged, packet[:-1] + bytes([packet[-1] ^ 1]))
    client.deliver(client.seal(PING, number=20_000), client.seal(PING, number=11_000))
    stats = client.server.stats()
    assert (stats["replayed"], stats["does_not_open"], stats["out_of_window"]) == (3, 1, 1)
    assert handle.receive_datagrams() == [b"once"]
    assert handle.stats()["packets_dropped"] == 5


def test_packets_from_another_address_are_dropped_and_counted() -> None:
    client = RawClient(new_server()).connect()
    client.server.handle_datagram(client.seal(PING), ("192.0.2.200", 9), client.now_ns)
    assert client.server.stats()["wrong_address"] == 1


# -- floods --------------------------------------------------------------------------------------


Payloads = Callable[[int], bytes]


def growth_of(client: RawClient, payload_of: Payloads, count: int) -> int:
    """Send *count* payloads; return by how much the process grew after the first tenth."""
    before = 0
    for number in range(count):
        if number == count // 10:
            before = resident_bytes()
        client.deliver(client.seal(payload_of(number)))
        if number % 16 == 0:
            client.datagrams()
            client.now_ns += MS
    return resident_bytes() - before


@pytest.mark.parametrize(
    "payload_of",
    [
        lambda n: PING,
        lambda n: b"",
        lambda n: bytes(1_000),
        lambda n: datagram(bytes(1_000)),
        lambda n: stream(0, 0, bytes(1_000)),
        lambda n: reset_stream(0, n, 0),
        lambda n: stop_sending(0, n),
        lambda n: message(0, b""),
        lambda n: message_expired(n, 500),
        lambda n: message_expired(0, n % 3),
        lambda n: limit(0x10, n) + limit(0x11, 0, n) + limit(0x12, n) + limit(0x1A, n),
    ],
    ids=[
        "ping",
        "empty",
        "padding",
        "datagram",
        "stream",
        "reset",
        "stop",
        "message",
        "expired",
        "expired again",
        "limits",
    ],
)
def test_a_flood_of_one_frame_grows_nothing(payload_of: Payloads) -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    assert growth_of(client, payload_of, 20_000) < 3 << 20
    assert handle.state == ConnectionState.ESTABLISHED


def test_an_unread_queue_of_datagrams_drops_the_oldest() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(*(datagram(bytes([n])) for n in range(10)))
    assert handle.receive_datagrams() == [bytes([n]) for n in range(6, 10)]
    assert handle.stats()["datagrams_dropped"] == 6


def test_a_flood_of_empty_messages_ends_at_the_credit() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(*(message(n, b"") for n in range(1_000)))
    assert handle.state == ConnectionState.ESTABLISHED
    client.send(message(1_000, b""))
    assert handle.close_frame[0] == E.MESSAGE_LIMIT


def test_an_expired_message_gives_its_credit_back_and_is_not_delivered() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(message_part(0, 400, 0, bytes(300)), message_expired(1, 400))
    assert handle.stats()["messages_expired_by_peer"] == 1
    frames = client.send(message_expired(0, 400)) + client.wait(100 * MS)
    assert handle.receive_messages() == []
    assert handle.stats()["messages_expired_by_peer"] == 2
    # 2 x 401 were used and are free again, beside the 1,000 of the beginning.
    assert (0x1A, 1_802) in frames
    # What comes late of them is ignored, whatever it says.
    client.send(message_part(0, 400, 300, bytes(100)), message(1, bytes(9_000)))
    client.send(message_expired(0, 9_000), message(2, b"next"))
    assert handle.receive_messages() == [b"next"]
    assert handle.state == ConnectionState.ESTABLISHED


def test_a_message_that_was_delivered_stays_delivered_when_it_expires() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    client.send(message(0, b"in time"), message_expired(0, 7))
    assert handle.receive_messages() == [b"in time"]
    assert handle.stats()["messages_expired_by_peer"] == 0


def test_half_sent_messages_are_bounded_by_the_credit() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    before = resident_bytes()
    for number in range(0, 70_000, 40):
        parts = [message_part(n, 64, 63, b"x") for n in range(number, number + 40)]
        client.deliver(client.seal(b"".join(parts)))
        client.datagrams()
        if handle.state != ConnectionState.ESTABLISHED:
            break
    assert handle.close_frame[0] == E.MESSAGE_LIMIT
    # 4 MiB of credit for messages of 64 bytes: the bookkeeping may be a few times that, not more.
    assert resident_bytes() - before < 40 << 20


def test_streams_opened_and_reset_for_ever_leave_nothing_behind() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    opened = 0
    allowed = 3
    before = 0
    for _ in range(4_000):
        if opened == allowed:
            break
        answers = client.send(stream(4 * opened, 0, b"x") + reset_stream(4 * opened, 7, 1))
        opened += 1
        for _kind, stream_id, _code in handle.poll_events():
            handle.stream_read(stream_id, 10)
            handle.stream_reset(stream_id, 0)
        answers += client.receive()
        newest = client.sent_by_server[-1]
        answers += client.send(encode_ack([(newest, newest)], 0))
        handle.poll_events()
        answers += client.receive()
        allowed = max([allowed, *(f[1] for f in answers if f[0] == 0x12 and isinstance(f[1], int))])
        if opened == 400:
            before = resident_bytes()
    assert opened == 4_000
    assert handle.stats()["streams"] <= 3
    assert resident_bytes() - before < 3 << 20


def test_streams_that_nobody_reads_stop_at_the_limit() -> None:
    client = RawClient(new_server(SMALL)).connect()
    handle = client.handle
    for number in range(4):
        client.send(stream(4 * number, 0, b"x", fin=True))
    assert handle.close_frame[0] == E.STREAM_LIMIT
    assert handle.stats()["streams"] == 3


def test_packets_for_unknown_ids_are_answered_within_the_rate() -> None:
    server = new_server()
    packet = RawClient(server).connect().seal(bytes(100))
    stranger = packet[:6] + b"\x77" * 16 + packet[22:]
    server.poll_datagrams(1_000 * MS)
    for _ in range(1_000):
        server.handle_datagram(stranger, ("192.0.2.3", 5), 1_000 * MS)
    answers = server.poll_datagrams(1_000 * MS)
    assert len(answers) == 100
    assert {len(data) for _, data in answers} == {48}
    assert server.stats()["unknown_id"] == 1_000
    # Neither short packets nor resets are answered, so that nobody plays ping-pong.
    server.handle_datagram(stranger[:48], ("192.0.2.3", 5), 9_000 * MS)
    server.handle_datagram(answers[0][1], ("192.0.2.3", 5), 9_000 * MS)
    assert server.poll_datagrams(9_000 * MS) == []


def test_a_closing_server_answers_packets_ever_less_often() -> None:
    client = RawClient(new_server()).connect()
    client.handle.close(5, b"bye", True, client.now_ns)
    assert [f[:2] for f in client.receive()] == [(0x32, 5)]
    answered = [bool(client.send(PING)) for _ in range(40)]
    assert [n + 1 for n, yes in enumerate(answered) if yes] == [1, 2, 4, 8, 16, 32]


def test_the_peer_of_a_flood_of_acknowledgements_keeps_answering() -> None:
    client = RawClient(new_server()).connect()
    first = client.sent_by_server[0]
    for _ in range(3_000):
        client.send(encode_ack([(first, first)], 1 << 40) * 20)
    assert client.handle.state == ConnectionState.ESTABLISHED
    assert client.send(PING) + client.wait(30 * MS)
