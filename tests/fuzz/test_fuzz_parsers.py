"""Bounded fuzzing of everything that reads bytes from the network.

Twenty thousand inputs each, from one seed per run: QUANTUM_FUZZ_SEED picks another. Mutations start
from valid inputs, since random bytes hardly pass the first check.
"""

import os
from collections.abc import Callable
from random import Random

import pytest

from cython_ext.core import ConnectionState, Endpoint, Params, Verdict
from cython_ext.core.handshake import ClientHello, check_client_hello, mac1_key
from cython_ext.core.params import decode_params
from cython_ext.crypto import suite as crypto
from cython_ext.wire import decode_header, decode_v1, encode_ack, encode_header, parse_frames
from interop.reference.errors import ViolationError
from interop.reference.frames import Ack, Frame, MessageExpired, Repair, decode_frames
from quantum.testing import Impairment, Pair
from tests.support.frame_values import values
from tests.support.memory import resident_bytes
from tests.support.raw_client import (
    ADDRESS,
    PIN,
    START_NS,
    RawClient,
    datagram,
    limit,
    message,
    message_part,
    new_server,
    reset_stream,
    stop_sending,
    stream,
    varint,
)

pytestmark = pytest.mark.fuzz

INPUTS = 20_000
SEED = os.environ.get("QUANTUM_FUZZ_SEED", "quantum")
INTERESTING = [0, 1, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, (1 << 62) - 1]
MS = 1_000_000


def mutated(rng: Random, data: bytes) -> bytes:
    """Return *data* after one to four small accidents."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 4:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 5:
            out[at : at + 8] = varint(rng.choice(INTERESTING))
        else:
            other = rng.randrange(len(out) + 1)
            out[at:at] = out[other : other + rng.randrange(1, 40)]
    return bytes(out[:65_000])


def some_frame(rng: Random) -> bytes:
    """Return one well-formed frame with values from all over."""

    def number() -> int:
        return rng.choice((rng.randrange(8), rng.randrange(2_000), rng.choice(INTERESTING)))

    body = rng.randbytes(rng.choice((0, 1, 20, 200)))
    offset = min(number(), (1 << 62) - 1 - len(body))
    low = rng.randrange(40)
    makers: list[Callable[[], bytes]] = [
        lambda: bytes(rng.randrange(1, 9)),
        lambda: b"\x01",
        lambda: encode_ack([(low, low + rng.randrange(3))], number()),
        lambda: encode_ack([(low + 60, low + 61), (low, low + 9)], number()),
        lambda: reset_stream(number(), number(), number()),
        lambda: stop_sending(number(), number()),
        lambda: stream(number(), offset, body, fin=rng.random() < 0.3),
        lambda: limit(0x10, number()),
        lambda: limit(0x11, number(), number()),
        lambda: limit(rng.choice((0x12, 0x13)), number()),
        lambda: limit(0x1A, number()),
        lambda: message(number(), body),
        lambda: message_part(number(), number(), number(), body),
        lambda: datagram(body),
        lambda: MessageExpired(number(), number()).encode(),
        lambda: some_repair(rng).encode(),
        lambda: some_recovery(rng).encode(),
        lambda: b"\x30" + rng.randbytes(16),
        lambda: b"\x31" + varint(number()) + varint(len(body)) + body,
        lambda: rng.randbytes(rng.randrange(1, 30)),
    ]
    return rng.choice(makers)()


def some_repair(rng: Random) -> Repair:
    """Return a parity of low numbers, now and then of one far above."""
    k = rng.choice((1, 1, 2, 3, 10, 100, 255))
    first = rng.choice((0, 1, 2, 5, rng.randrange(2_000), 1 << 40))
    sources = tuple(first + place * rng.choice((1, 1, 2)) for place in range(k))
    sources = tuple(sorted(set(sources)))
    m = rng.randrange(1, 257 - len(sources))
    shard = rng.choice((bytes(30), b"\x18\x00\x01x", rng.randbytes(rng.randrange(1, 200))))
    return Repair(sources, m, rng.randrange(m), shard)


def some_recovery(rng: Random) -> Ack:
    """Return an acknowledgement that says that packets below it were rebuilt."""
    low = rng.randrange(40)
    marks = rng.choice((None, (rng.randrange(9), 0, rng.randrange(3))))
    rebuilt = tuple((n, n) for n in range(low - 1, max(low - 1 - 2 * rng.randrange(1, 70), -1), -2))
    return Ack(((low, low + rng.randrange(3)),), 9, marks, rebuilt)


def some_frames(rng: Random) -> bytes:
    data = b"".join(some_frame(rng) for _ in range(rng.choice((1, 1, 2, 3, 8))))
    return mutated(rng, data) if rng.random() < 0.4 else data


def test_headers_are_read_or_refused() -> None:
    rng = Random(f"{SEED} headers")
    accepted = 0
    for _ in range(INPUTS):
        body = rng.randbytes(rng.choice((0, 16, 40)))
        good = encode_header(
            2, rng.choice((0, 1, 2, 3, 32)), rng.randbytes(16), rng.getrandbits(32), 0, len(body)
        )
        data = mutated(rng, good + body)
        verdict, fields = decode_header(data)
        assert (fields is None) == (verdict != Verdict.ACCEPTED)
        if fields is not None:
            accepted += 1
            assert len(data) >= 32
            assert fields[0] != 2 or fields[5] == len(data) - 32
        decode_v1(data)
    assert accepted > INPUTS // 100


def test_frames_are_read_or_refused() -> None:
    rng = Random(f"{SEED} frames")
    read = 0
    for _ in range(INPUTS):
        data = some_frames(rng)
        frames = parse_frames(data)
        read += frames is not None
        assert frames is None or len(frames) <= len(data)
        assert (None if frames is None else values(frames)) == as_the_oracle_reads(data)
    assert INPUTS // 5 < read < INPUTS


def as_the_oracle_reads(data: bytes) -> list[Frame] | None:
    """Return the frames of *data*, None when the oracle refuses them."""
    try:
        return decode_frames(data)
    except ViolationError:
        return None


def test_hellos_are_read_or_refused() -> None:
    rng = Random(f"{SEED} hellos")
    mac_key = mac1_key(PIN)
    good = RawClient(new_server()).hello()
    accepted = 0
    for _ in range(INPUTS):
        # The sender knows the pin, so mac1 is right and the parser is what stands between.
        body = mutated(rng, good[32:190])
        body = body[:900] + bytes(1_184 - 32 - len(body[:900]))
        data = good[:32] + body
        data += crypto.mac(mac_key, data)[:16]
        found = check_client_hello(data, PIN, mac_key, (1, 2))
        accepted += isinstance(found, ClientHello)
        assert isinstance(found, ClientHello) or found in (
            Verdict.HELLO_MALFORMED,
            Verdict.HELLO_UNACCEPTABLE,
            Verdict.HELLO_SIZE,
        )
        decode_params(data[110:160])
    assert accepted > 0


def test_an_endpoint_survives_hellos_from_those_who_know_the_pin() -> None:
    rng = Random(f"{SEED} endpoint")
    server = new_server(Params(max_half_open=50, max_connections=100))
    good = RawClient(server).hello()
    mac_key = mac1_key(PIN)
    now = START_NS
    for _ in range(INPUTS // 4):
        data = mutated(rng, good)[:1_184].ljust(1_184, b"\0")
        data = data[:30] + (1_168).to_bytes(2, "big") + data[32:]
        server.handle_datagram(data + crypto.mac(mac_key, data)[:16], ADDRESS, now)
        answers = server.poll_datagrams(now)
        assert sum(len(answer) for _, answer in answers) <= 1_200
        server.poll_connections()
        now += 100 * MS
        server.handle_timeout(now)
        stats = server.stats()
        assert stats["half_open"] <= 50
        assert stats["connections"] <= 100


def fuzzed(server: Endpoint, rng: Random, count: int) -> int:
    """Send *count* authentic packets of frames from all over; return the connections used."""
    client, handle, used = None, None, 0
    for _ in range(count):
        if client is None or handle is None or handle.state != ConnectionState.ESTABLISHED:
            if client is not None:
                client.wait(1_000 * MS)
                server.poll_connections()
            now = max(START_NS, server.next_timeout() or 0) if client is None else client.now_ns
            used += 1
            client = RawClient(server, seed=rng.random())
            client.address = (ADDRESS[0], rng.randrange(1_024, 60_000))
            client.now_ns = now
            client.connect()
            handle = client.handle
        client.deliver(client.seal(some_frames(rng), flags=rng.choice((0, 0, 0, 4, 16))))
        if rng.random() < 0.3:
            client.now_ns += rng.randrange(30 * MS)
            server.handle_timeout(client.now_ns)
            client.receive()
        if rng.random() < 0.1:
            for _kind, stream_id, _code in handle.poll_events():
                handle.stream_read(stream_id, 1 << 20)
            handle.receive_messages()
            handle.receive_datagrams()
            handle.send_message(b"m")
            stream_id = handle.open_stream()
            if stream_id is not None:
                handle.stream_write(stream_id, bytes(3_000))
                handle.stream_finish(stream_id)
        stats = handle.stats()
        assert stats["streams"] <= 4 * 256
        assert stats["in_flight_bytes"] <= stats["window_bytes"] + 12 * 1_232
    return used


def test_a_connection_survives_any_frames_of_an_authentic_peer() -> None:
    server = new_server()
    fuzzed(server, Random(f"{SEED} warm"), INPUTS // 10)
    before = resident_bytes()
    used = fuzzed(server, Random(f"{SEED} frames at an endpoint"), INPUTS)
    assert used > 10
    assert resident_bytes() - before < 24 << 20
    assert server.stats()["connections"] <= 2


def test_a_transfer_survives_mutated_copies_of_its_own_packets() -> None:
    rng = Random(f"{SEED} wire")
    pair = Pair(Impairment(delay_ns=5 * MS, loss=0.02), seed=8)
    injected = 0

    def with_mutants(number: int, data: bytes) -> list[bytes]:
        nonlocal injected
        mutants = [mutated(rng, data) for _ in range(rng.randrange(4))]
        injected += len(mutants)
        return [*mutants, data, *mutants[:1]]

    pair.client.tap = pair.server.tap = with_mutants
    pair.connect()
    rounds = 0
    while injected < INPUTS:
        pair.exchange(rng.randbytes(400_000), rng.randbytes(400_000))
        rounds += 1
    for peer in (pair.client, pair.server):
        stats = peer.endpoint.stats()
        assert stats["connections"] == 1
        assert stats["does_not_open"] > 1_000
    assert rounds > 0
