"""Wrong handshakes against a real listener, from a raw UDP socket."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

import quantum
from cython_ext.core import Endpoint, Params
from tests.support.connected import IDENTITY, dial, listening, quick
from tests.support.hostile_hellos import Wrong, client_hello, syn, wrong_datagrams, wrong_finished
from tests.support.waiting import until

pytestmark = pytest.mark.integration

PIN = IDENTITY.public_key
WRONG = wrong_datagrams(PIN)
PAGE = os.sysconf("SC_PAGE_SIZE")


async def hold(connection: quantum.Connection) -> None:
    await connection.wait_closed()


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[quantum.Listener]:
    async with listening(hold) as listener:
        yield listener


@pytest.fixture
def intruder(listener: quantum.Listener) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
        intruder.setblocking(False)
        intruder.connect(("127.0.0.1", listener.port))
        yield intruder


def received(intruder: socket.socket) -> bytes | None:
    try:
        return intruder.recv(65_536)
    except BlockingIOError:
        return None


async def handled(listener: quantum.Listener, intruder: socket.socket, datagram: bytes) -> None:
    """Send *datagram*, and wait until the listener has dealt with it."""
    before = listener.stats()["receive_datagrams"]
    intruder.send(datagram)
    await until(lambda: listener.stats()["receive_datagrams"] > before)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
async def test_it_is_counted_by_its_reason_and_not_answered(
    wrong: Wrong, listener: quantum.Listener, intruder: socket.socket
) -> None:
    before = listener.stats()
    await handled(listener, intruder, wrong.datagram)
    after = listener.stats()
    assert after[wrong.reason] == before[wrong.reason] + 1
    assert after["accepted"] == before["accepted"]
    assert (after["half_open"], after["connections"]) == (0, 0)
    answer = received(intruder)
    if wrong.answer:
        assert answer is not None
        assert answer.startswith(wrong.answer)
        assert len(answer) < len(wrong.datagram)
    else:
        assert answer is None
    assert received(intruder) is None
    # And it serves on.
    async with dial(listener):
        pass


async def test_a_hello_is_answered_again_but_only_for_the_same_content(
    listener: quantum.Listener, intruder: socket.socket
) -> None:
    hello = client_hello(PIN)
    for number in range(3):
        await handled(listener, intruder, syn(hello, PIN, number=number))
        answer = received(intruder)
        assert answer is not None
        assert len(answer) < 1_200
        assert listener.stats()["half_open"] == 1
    changed = replace(hello, random=bytes([1]) * 32)
    await handled(listener, intruder, syn(changed, PIN, number=4))
    assert received(intruder) is None
    assert listener.stats()["hello_conflict"] == 1
    assert listener.stats()["half_open"] == 1


class RawClient:
    """A core client whose datagrams the test carries."""

    def __init__(self, listener: quantum.Listener) -> None:
        self.where = ("127.0.0.1", listener.port)
        self.endpoint = Endpoint(Params(), os.urandom)
        self.endpoint.connect(self.where, PIN, time.monotonic_ns())

    def sent(self) -> bytes:
        (_, datagram), *rest = self.endpoint.poll_datagrams(time.monotonic_ns())
        assert rest == []
        return datagram

    def take(self, datagram: bytes) -> None:
        self.endpoint.handle_datagram(datagram, self.where, time.monotonic_ns())


async def test_a_spoilt_finished_is_dropped_and_the_true_one_still_counts(
    listener: quantum.Listener, intruder: socket.socket
) -> None:
    client = RawClient(listener)
    hello = client.sent()
    await handled(listener, intruder, hello)
    answer = received(intruder)
    assert answer is not None
    client.take(answer)
    finished = client.sent()
    for wrong in wrong_finished(finished):
        before = listener.stats()
        await handled(listener, intruder, wrong.datagram)
        assert listener.stats()[wrong.reason] == before[wrong.reason] + 1, wrong.name
        assert listener.connections == []
        assert listener.stats()["half_open"] == 1
        assert received(intruder) is None
    await handled(listener, intruder, finished)
    await until(lambda: len(listener.connections) == 1)
    assert listener.stats()["half_open"] == 0
    # Replays of what began it change nothing.
    await handled(listener, intruder, hello)
    assert listener.stats()["hello_duplicate"] == 1
    await handled(listener, intruder, finished)
    assert listener.stats()["wrong_state"] == 1
    assert len(listener.connections) == 1


async def test_unfinished_handshakes_are_bounded_and_forgotten_in_time() -> None:
    config = quick(max_half_open=10, handshake_timeout=0.3)
    async with listening(hold, config) as listener:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
            intruder.connect(("127.0.0.1", listener.port))
            for n in range(1, 31):
                await handled(
                    listener, intruder, syn(client_hello(PIN), PIN, connection_id=bytes([n] * 16))
                )
            assert listener.stats()["half_open"] == 10
            assert listener.stats()["half_open_limit"] == 20
            await until(lambda: listener.stats()["half_open"] == 0)
            assert listener.stats()["connections"] == 0
        async with dial(listener):
            await until(lambda: len(listener.connections) == 1)


def has_received(listener: quantum.Listener, count: int) -> bool:
    return listener.stats()["receive_datagrams"] >= count


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_memory_does_not_grow(listener: quantum.Listener, intruder: socket.socket) -> None:
    async def flood(times: int) -> None:
        for _ in range(times):
            aim = listener.stats()["receive_datagrams"] + len(WRONG)
            for wrong in WRONG:
                intruder.send(wrong.datagram)
            await until(partial(has_received, listener, aim))
            while received(intruder) is not None:
                pass

    await flood(20)
    before = resident_bytes()
    await flood(200)
    assert resident_bytes() - before < 1 << 20
    assert listener.stats()["half_open"] == listener.stats()["connections"] == 0
    # Answers that strangers may cause are 100 a second.
    assert listener.stats()["version_negotiated"] < 600


async def test_a_flood_of_noise_does_not_stop_a_connection(
    listener: quantum.Listener, intruder: socket.socket
) -> None:
    async with dial(listener) as client:
        await until(lambda: len(listener.connections) == 1)
        server = listener.connections[0]
        await client.send(b"x")
        assert await server.receive() == b"x"
        for n in range(50):
            for wrong in WRONG:
                intruder.send(wrong.datagram)
            await client.send(b"%d" % n)
            assert await asyncio.wait_for(server.receive(), 5) == b"%d" % n
