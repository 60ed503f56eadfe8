"""Bounded fuzzing of repair blocks at an endpoint, by a peer that holds the keys.

QUANTUM_FUZZ_SEED picks another seed than the fixed one.
"""

import os
from itertools import pairwise
from random import Random

import pytest

from cython_ext.core import ConnectionState
from cython_ext.fec import ReedSolomon
from tests.support.memory import resident_bytes
from tests.support.raw_client import (
    RawClient,
    datagram,
    message,
    message_expired,
    message_part,
    new_server,
    stream,
    varint,
)

pytestmark = pytest.mark.fuzz

SEED = os.environ.get("QUANTUM_FUZZ_SEED", "quantum")
BLOCKS = 600
HOSTILE = 8_000
FEC = 0x10
MS = 1_000_000


def repair(numbers: list[int], m: int, index: int, shard: bytes) -> bytes:
    """Return REPAIR; *numbers* ascend."""
    gaps = [b - a - 1 for a, b in pairwise(numbers)]
    fields = [len(numbers), m, index, numbers[0], *gaps, len(shard)]
    return b"\x20" + b"".join(map(varint, fields)) + shard


def test_blocks_that_lose_no_more_than_they_have_parities_lose_nothing() -> None:
    rng = Random(f"{SEED} honest blocks")
    client = RawClient(new_server()).connect()
    sent, told = 0, []
    for _ in range(BLOCKS):
        k, m = rng.randrange(1, 25), rng.randrange(1, 7)
        numbers, plaintexts, packets = [], [], []
        for _ in range(k):
            body = rng.randbytes(rng.choice((0, 1, 40, 400)))
            plaintexts.append(message(sent, sent.to_bytes(4, "big") + body))
            sent += 1
            numbers.append(client.number)
            packets.append(client.seal(plaintexts[-1], flags=FEC))
            client.number += rng.random() < 0.1
        shards = ReedSolomon(k, m).encode(plaintexts)
        frames = [repair(numbers, m, index, shards[index]) for index in rng.sample(range(m), m)]
        packets += [client.seal(frame) for frame in frames]
        lost = rng.sample(packets, rng.randrange(m + 1))
        arriving = [packet for packet in packets if packet not in lost]
        if rng.random() < 0.3:
            rng.shuffle(arriving)
        client.deliver(*arriving)
        client.deliver(*rng.sample(packets, rng.randrange(2)))
        told += client.handle.receive_messages()
        client.now_ns += rng.randrange(30 * MS)
        client.server.handle_timeout(client.now_ns)
        client.receive()
    stats = client.handle.stats()
    assert sorted(int.from_bytes(data[:4], "big") for data in told) == list(range(sent))
    assert stats["fec_packets_recovered"] > BLOCKS
    assert client.handle.state == ConnectionState.ESTABLISHED


def some_source(rng: Random) -> bytes:
    """Return what a packet with the flag may contain, and now and then what it may not."""
    body = rng.randbytes(rng.choice((0, 1, 20)))
    number = rng.randrange(200)
    frames = [
        message(number, body),
        message_part(number, 60, rng.randrange(30), body),
        message_expired(number, 60),
        stream(4 * rng.randrange(3), rng.randrange(4_000), body),
        datagram(body),
        bytes(rng.randrange(9)),
    ]
    return rng.choice(frames) + (b"\x01" if rng.random() < 0.002 else b"")


def hostile(client: RawClient, rng: Random, held: list[tuple[int, bytes]]) -> None:
    """Let *client* send a source, or a parity of some of those it sent."""
    if rng.random() < 0.5 or len(held) < 3:
        plaintext = some_source(rng)
        held.append((client.number, plaintext))
        packet = client.seal(plaintext, flags=FEC if rng.random() < 0.95 else 0)
        if rng.random() < 0.6:
            client.deliver(packet)
        return
    chosen = sorted(rng.sample(held[-rng.choice((4, 20, 80)) :], rng.randrange(1, 4)))
    numbers, plaintexts = [number for number, _ in chosen], [data for _, data in chosen]
    if rng.random() < 0.05:
        numbers[-1] += rng.randrange(3)
    m = rng.choice((1, 2, 6, 200))
    index = rng.randrange(m)
    length = max(map(len, plaintexts)) + rng.choice((0, 0, 0, 0, 1, 40))
    shard = ReedSolomon(len(plaintexts), m).encode(plaintexts, shard_bytes=max(length, 1))[index]
    if rng.random() < 0.02:
        shard = rng.randbytes(len(shard))
    client.deliver(client.seal(repair(numbers, m, index, shard)))


def abused(rng: Random, count: int) -> tuple[int, int]:
    """Send *count* packets; return the connections used and the packets rebuilt."""
    server = new_server()
    used = rebuilt = 0
    client = RawClient(server, seed=rng.random())
    handle = None
    held: list[tuple[int, bytes]] = []
    for _ in range(count):
        if handle is None or handle.state != ConnectionState.ESTABLISHED:
            client.wait(1_000 * MS)
            server.poll_connections()
            now_ns, used = client.now_ns, used + 1
            client = RawClient(server, seed=rng.random())
            client.address = ("192.0.2.77", rng.randrange(1_024, 60_000))
            client.now_ns = now_ns
            client.connect()
            handle, held = client.handle, []
        before = handle.stats()["fec_packets_recovered"]
        hostile(client, rng, held)
        rebuilt += handle.stats()["fec_packets_recovered"] - before
        if rng.random() < 0.1:
            client.now_ns += rng.randrange(30 * MS)
            server.handle_timeout(client.now_ns)
            client.receive()
            handle.receive_messages()
            handle.receive_datagrams()
    return used, rebuilt


def test_a_connection_survives_any_repair_blocks_of_an_authentic_peer() -> None:
    abused(Random(f"{SEED} warm blocks"), HOSTILE // 4)
    before = resident_bytes()
    used, rebuilt = abused(Random(f"{SEED} hostile blocks"), HOSTILE)
    assert used > 5
    assert rebuilt > 100
    assert resident_bytes() - before < 16 << 20
