"""Handshakes that are wrong, each in its own way: dropped, counted by reason, nothing kept."""

from collections.abc import Callable
from random import Random

import pytest

from cython_ext.core import ConnectionState, Endpoint, Params, Verdict, ed25519_public
from cython_ext.core.handshake import (
    ClientHandshake,
    ServerHandshake,
    check_client_hello,
    mac1_key,
)
from cython_ext.crypto import suite as crypto
from cython_ext.wire import encode_header
from tests.support.memory import resident_bytes
from tests.support.raw_client import ADDRESS, PIN, SEED, START_NS, RawClient, new_server

MAC = 16


def sealed_again(datagram: bytes) -> bytes:
    """Return *datagram* with a right mac1: from someone who knows the pin."""
    return datagram[:-MAC] + crypto.mac(mac1_key(PIN), datagram[:-MAC])[:MAC]


def put(at: int, data: bytes) -> Callable[[bytes], bytes]:
    """Return a change that writes *data* at *at* and makes mac1 right again."""
    return lambda hello: sealed_again(hello[:at] + data + hello[at + len(data) :])


def flip(at: int) -> Callable[[bytes], bytes]:
    """Return a change of one bit, without a new mac1."""
    return lambda hello: hello[:at] + bytes([hello[at] ^ 0x10]) + hello[at + 1 :]


def resized(size: int) -> Callable[[bytes], bytes]:
    """Return a change of size, with a right length field and mac1."""

    def change(hello: bytes) -> bytes:
        cut = hello[: size - MAC].ljust(size - MAC, b"\0") + bytes(MAC)
        return sealed_again(cut[:30] + (size - 32).to_bytes(2, "big") + cut[32:])

    return change


# A hello's payload: n, version, n, suite, n, group, random, key share, key id, n, name ...
BODY = 32
VERSION, SUITE, GROUP = BODY + 1, BODY + 3, BODY + 5
RANDOM, SHARE, KEY_ID, NAME = BODY + 6, BODY + 38, BODY + 70, BODY + 78
PARAMS = NAME + 1
OFFER = Params().encode()
COOKIE = PARAMS + 2 + len(OFFER)

WRONG: list[tuple[str, Callable[[bytes], bytes], Verdict]] = [
    ("magic", flip(0), Verdict.BAD_MAGIC),
    ("version 1", lambda h: h[:4] + b"\x01" + h[5:], Verdict.VERSION_ONE),
    ("version 3", lambda h: h[:4] + b"\x03" + h[5:], Verdict.BAD_VERSION),
    ("version 0", lambda h: h[:4] + b"\x00" + h[5:], Verdict.VERSION_NEGOTIATION),
    ("flags SYN and FIN", lambda h: h[:5] + b"\x05" + h[6:], Verdict.BAD_FLAGS),
    ("flags ECE", lambda h: h[:5] + b"\x81" + h[6:], Verdict.BAD_FLAGS),
    ("a RETRY", lambda h: h[:5] + b"\x09" + h[6:], Verdict.RETRY_IGNORED),
    ("a reset", lambda h: h[:5] + b"\x08" + h[6:], Verdict.BAD_RESET),
    ("a server hello", lambda h: h[:5] + b"\x03" + h[6:], Verdict.UNKNOWN_ID),
    ("a finished of nobody", lambda h: h[:5] + b"\x20" + h[6:], Verdict.UNKNOWN_ID),
    ("connection id of zeros", put(6, bytes(16)), Verdict.ZERO_ID),
    ("connection id flipped", flip(6), Verdict.HELLO_MAC),
    ("sequence flipped", flip(25), Verdict.HELLO_MAC),
    ("ack flipped", flip(29), Verdict.HELLO_MAC),
    ("ack that is not zero", put(26, b"\0\0\0\x01"), Verdict.HELLO_MALFORMED),
    ("length flipped", flip(31), Verdict.BAD_LENGTH),
    ("version flipped", flip(VERSION), Verdict.HELLO_MAC),
    ("another version offered", put(VERSION, b"\x07"), Verdict.HELLO_UNACCEPTABLE),
    ("unknown suite", put(SUITE, b"\x09"), Verdict.HELLO_UNACCEPTABLE),
    ("unknown group", put(GROUP, b"\x09"), Verdict.HELLO_UNACCEPTABLE),
    ("random flipped", flip(RANDOM), Verdict.HELLO_MAC),
    ("key share flipped", flip(SHARE), Verdict.HELLO_MAC),
    ("key share of low order", put(SHARE, bytes(32)), Verdict.HELLO_MALFORMED),
    ("key id flipped", flip(KEY_ID), Verdict.HELLO_MAC),
    ("another key id", put(KEY_ID, b"12345678"), Verdict.HELLO_UNACCEPTABLE),
    ("a name that is not UTF-8", put(NAME, b"\x02\xff\xff"), Verdict.HELLO_MALFORMED),
    ("a name beyond the end", put(NAME, b"\xff" * 260), Verdict.HELLO_MALFORMED),
    ("parameters flipped", flip(PARAMS + 2), Verdict.HELLO_MAC),
    ("a parameter twice", put(PARAMS + 2, OFFER[:2] + b"\x04" * 5), Verdict.HELLO_MALFORMED),
    ("parameters beyond the end", put(PARAMS, b"\xff\xff"), Verdict.HELLO_MALFORMED),
    ("a cookie", put(COOKIE, b"\0\x01c"), Verdict.HELLO_MALFORMED),
    ("a ticket", put(COOKIE + 2, b"\0\x01t"), Verdict.HELLO_MALFORMED),
    ("padding that is not zero", put(1_100, b"\x01"), Verdict.HELLO_MALFORMED),
    ("mac1 flipped", flip(1_199), Verdict.HELLO_MAC),
    ("truncated", lambda h: h[:-1], Verdict.BAD_LENGTH),
    ("truncated, with its length", resized(1_199), Verdict.HELLO_SIZE),
    ("oversized", lambda h: h + b"\0", Verdict.BAD_LENGTH),
    ("oversized, with its length", resized(1_201), Verdict.HELLO_SIZE),
    ("a header alone", resized(48), Verdict.HELLO_SIZE),
    ("less than a header", lambda h: h[:31], Verdict.TOO_SHORT),
    ("nothing", lambda h: b"", Verdict.TOO_SHORT),
]


def refused(server: Endpoint, datagram: bytes) -> tuple[Verdict, int]:
    """Deliver *datagram*; return the verdict that was counted, and how many answers left."""
    before = server.stats()
    server.handle_datagram(datagram, ADDRESS, START_NS)
    after = server.stats()
    counted = [
        v
        for v in Verdict
        if v.name.lower() in after and after[v.name.lower()] != before[v.name.lower()]
    ]
    assert len(counted) == 1, counted
    assert (after["connections"], after["half_open"]) == (
        before["connections"],
        before["half_open"],
    )
    return counted[0], len(server.poll_datagrams(START_NS))


@pytest.mark.parametrize(
    ("change", "verdict"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_a_wrong_hello_is_dropped_and_counted(
    change: Callable[[bytes], bytes], verdict: Verdict
) -> None:
    server = new_server()
    wrong = change(RawClient(server).hello())
    counted, answers = refused(server, wrong)
    assert counted == verdict
    # Only version negotiation answers strangers, and never with more than came.
    assert answers == (verdict in (Verdict.VERSION_ONE, Verdict.BAD_VERSION))
    # The right hello still works afterwards.
    RawClient(server).connect()


def test_no_single_flipped_bit_of_a_hello_gets_through() -> None:
    server = new_server()
    hello = RawClient(server).hello()
    rng = Random(1)
    for at in range(len(hello)):
        wrong = hello[:at] + bytes([hello[at] ^ 1 << rng.randrange(8)]) + hello[at + 1 :]
        counted, _ = refused(server, wrong)
        assert counted != Verdict.ACCEPTED, at
    assert server.stats()["connections"] == 0


def test_a_hello_for_another_server_is_dropped() -> None:
    server = new_server()
    other = ClientHandshake(
        ed25519_public(bytes(32)), b"i" * 16, OFFER, (1,), "", Random(1).randbytes
    )
    assert refused(server, other.hello(0)) == (Verdict.HELLO_MAC, 0)


def test_a_hello_at_an_endpoint_that_only_connects_is_dropped() -> None:
    client = Endpoint(Params(), Random(1).randbytes)
    assert refused(client, RawClient(new_server()).hello()) == (Verdict.NOT_ACCEPTING, 0)


def test_a_replayed_hello_is_a_duplicate_once_its_handshake_is_over() -> None:
    server = new_server()
    client = RawClient(server)
    hello = client.hello()
    client.number = 0
    client.connect()
    assert refused(server, hello) == (Verdict.HELLO_DUPLICATE, 0)


def test_a_replayed_hello_within_the_handshake_is_answered_alike_and_keeps_one_state() -> None:
    server = new_server()
    client = RawClient(server)
    hello = client.hello()
    for _ in range(50):
        client.deliver(hello)
    answers = client.datagrams()
    assert len(answers) == 50
    assert len({answer[32:99] for answer in answers}) == 1
    assert len({answer[22:26] for answer in answers}) == 50
    assert sum(map(len, answers)) < 50 * 1_200
    assert server.stats()["connections"] == server.stats()["half_open"] == 1


def test_another_hello_of_the_same_client_conflicts() -> None:
    server = new_server()
    first = RawClient(server)
    first.deliver(first.hello())
    first.datagrams()
    other = ClientHandshake(PIN, first.id, OFFER, (2,), "", Random(5).randbytes)
    assert refused(server, other.hello(0)) == (Verdict.HELLO_CONFLICT, 0)


def test_a_server_that_closes_takes_no_hello() -> None:
    server = new_server()
    server.refuse_new()
    assert refused(server, RawClient(server).hello()) == (Verdict.NOT_ACCEPTING, 0)


def test_half_open_handshakes_and_connections_are_bounded_and_memory_stays() -> None:
    server = new_server(Params(max_half_open=8, max_connections=12))
    clients = [RawClient(server, seed=n) for n in range(40)]
    for client in clients[:8]:
        client.deliver(client.hello())
    counted, answers = refused_after_polling(server, clients[8].hello())
    assert (counted, answers) == (Verdict.HALF_OPEN_LIMIT, 0)
    # They end in silence after the handshake time-out, and make room.
    clients[0].wait(11_000_000_000)
    assert server.poll_connections()
    assert (server.stats()["half_open"], server.stats()["connections"]) == (0, 0)
    for number, client in enumerate(clients[10:22]):
        client.address = ("192.0.2.67", 1_000 + number)
        client.now_ns = clients[0].now_ns
        client.connect()
    assert refused_after_polling(server, clients[30].hello())[0] == Verdict.CONNECTION_LIMIT


def refused_after_polling(server: Endpoint, datagram: bytes) -> tuple[Verdict, int]:
    server.poll_datagrams(START_NS)
    return refused(server, datagram)


def half_open_client() -> tuple[RawClient, Endpoint]:
    server = new_server()
    client = RawClient(server)
    client.deliver(client.hello())
    (answer,) = client.datagrams()
    assert client.handshake.handle_server_hello(answer, 0) == Verdict.ACCEPTED
    return client, server


def test_a_finished_with_any_bit_flipped_is_dropped() -> None:
    client, server = half_open_client()
    finished = client.finished()
    seen = set()
    for at in range(len(finished)):
        wrong = finished[:at] + bytes([finished[at] ^ 4]) + finished[at + 1 :]
        seen.add(refused(server, wrong)[0])
    assert Verdict.ACCEPTED not in seen
    assert Verdict.DOES_NOT_OPEN in seen
    client.deliver(finished)
    assert client.handle.state == ConnectionState.ESTABLISHED


@pytest.mark.parametrize("plain", [b"\x01" + bytes(32), bytes(33), b"\x00", bytes(34), b""])
def test_a_finished_that_says_something_else_is_dropped(plain: bytes) -> None:
    client, server = half_open_client()
    schedule = client.handshake._schedule
    assert schedule is not None
    header = encode_header(2, 0x20, client.server_id, 1, 0, len(plain) + 16)
    wrong = header + schedule.key(schedule.client, seal=True).seal(1, header, plain)
    assert refused(server, wrong) == (Verdict.BAD_FINISHED, 0)


def test_a_replayed_finished_is_dropped() -> None:
    client, server = half_open_client()
    finished = client.finished()
    client.deliver(finished)
    client.datagrams()
    assert refused(server, finished) == (Verdict.WRONG_STATE, 0)


def test_a_finished_from_another_address_is_dropped() -> None:
    client, server = half_open_client()
    server.handle_datagram(client.finished(), ("192.0.2.99", 1), START_NS)
    assert server.stats()["wrong_address"] == 1
    assert client.handle.state == ConnectionState.HELLO_ANSWERED


def test_packets_before_the_finished_are_kept_up_to_ten() -> None:
    client, server = half_open_client()
    packet = encode_header(2, 0, client.server_id, 7, 0, 20) + bytes(20)
    for _ in range(14):
        client.deliver(packet)
    assert server.stats()["early_limit"] == 4


# -- at a client ---------------------------------------------------------------------------------


def calling() -> tuple[Endpoint, bytes]:
    """Return a client that sent its hello, and the hello."""
    client = Endpoint(Params(), Random(9).randbytes)
    client.connect(ADDRESS, PIN, START_NS)
    ((_, hello),) = client.poll_datagrams(START_NS)
    return client, hello


def answering(hello: bytes, seed: bytes = SEED, pin: bytes = PIN) -> ServerHandshake:
    checked = check_client_hello(hello, PIN, mac1_key(PIN), (1, 2))
    assert not isinstance(checked, Verdict)
    signer = crypto.Signer(seed)
    signer.public = pin
    return ServerHandshake(checked, signer, b"s" * 16, OFFER, Random(3).randbytes)


def test_a_server_hello_with_any_bit_flipped_is_dropped() -> None:
    client, hello = calling()
    answer = answering(hello).answer(0, 0)
    seen = set()
    for at in range(len(answer)):
        wrong = answer[:at] + bytes([answer[at] ^ 2]) + answer[at + 1 :]
        seen.add(refused(client, wrong)[0])
    assert Verdict.ACCEPTED not in seen
    assert {Verdict.DOES_NOT_OPEN, Verdict.HELLO_MALFORMED, Verdict.WRONG_STATE} <= seen
    client.handle_datagram(answer, ADDRESS, START_NS)
    assert client.connections()[0].state == ConnectionState.FINISHED_SENT


@pytest.mark.parametrize(
    ("at", "data", "verdict"),
    [
        (32, b"\x01", Verdict.HELLO_MALFORMED),
        (33, b"\x09", Verdict.HELLO_UNACCEPTABLE),
        (34, b"\x02", Verdict.HELLO_MALFORMED),
        (67, bytes(32), Verdict.HELLO_MALFORMED),
        (26, bytes(4), Verdict.WRONG_STATE),
        (26, b"\0\0\0\x02", Verdict.WRONG_STATE),
    ],
    ids=["version", "suite", "group", "share of low order", "no SYN answered", "SYN never sent"],
)
def test_a_clear_part_that_is_wrong_is_dropped(at: int, data: bytes, verdict: Verdict) -> None:
    client, hello = calling()
    answer = answering(hello).answer(0, 0)
    wrong = answer[:at] + data + answer[at + len(data) :]
    assert refused(client, wrong) == (verdict, 0)


def test_a_server_with_another_key_is_refused() -> None:
    client, hello = calling()
    other = bytes(range(32))
    answer = answering(hello, other, ed25519_public(other)).answer(0, 0)
    assert refused(client, answer) == (Verdict.BAD_IDENTITY, 0)


def test_a_server_that_claims_the_pin_without_its_key_is_refused() -> None:
    client, hello = calling()
    assert refused(client, answering(hello, bytes(range(32))).answer(0, 0)) == (
        Verdict.BAD_SIGNATURE,
        0,
    )


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda p: p[:-1] + bytes([p[-1] ^ 1]), Verdict.BAD_FINISHED),
        (lambda p: p + b"\0", Verdict.HELLO_MALFORMED),
        (lambda p: p[:-1], Verdict.HELLO_MALFORMED),
        (lambda p: bytes(16) + p[16:], Verdict.HELLO_MALFORMED),
        (lambda p: p[:18] + b"\xff" + p[19:], Verdict.HELLO_MALFORMED),
        (lambda p: p[: 18 + len(OFFER)] + b"\x02" + p[19 + len(OFFER) :], Verdict.BAD_IDENTITY),
        (lambda p: b"", Verdict.HELLO_MALFORMED),
    ],
    ids=["finished", "longer", "shorter", "id of zeros", "parameters", "identity type", "empty"],
)
def test_a_sealed_part_that_is_wrong_is_dropped(
    change: Callable[[bytes], bytes], verdict: Verdict
) -> None:
    client, hello = calling()
    server = answering(hello)
    server._plain = change(server._plain)
    assert refused(client, server.answer(0, 0)) == (verdict, 0)


def test_a_second_server_hello_is_dropped() -> None:
    client, hello = calling()
    server = answering(hello)
    client.handle_datagram(server.answer(0, 0), ADDRESS, START_NS)
    client.poll_datagrams(START_NS)
    assert refused(client, server.answer(1, 0)) == (Verdict.WRONG_STATE, 0)


def test_a_hundred_thousand_wrong_hellos_cost_no_memory() -> None:
    server = new_server()
    hello = RawClient(server).hello()
    wrong = [change(hello) for _, change, verdict in WRONG if verdict != Verdict.VERSION_ONE]

    def flood(rounds: int) -> None:
        for _ in range(rounds):
            for datagram in wrong:
                server.handle_datagram(datagram, ADDRESS, START_NS)
            server.poll_datagrams(START_NS)

    flood(50)
    before = resident_bytes()
    flood(2_500)
    assert resident_bytes() - before < 4 << 20
    stats = server.stats()
    assert stats["datagrams_received"] == 2_550 * len(wrong)
    assert (stats["connections"], stats["half_open"], stats["accepted"]) == (0, 0, 0)
