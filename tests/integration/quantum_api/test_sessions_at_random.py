"""Random sessions over a lossy link: whatever is reset, stopped or cancelled, nothing is left over.

Each stream carries a pattern of its own, so that a reader can tell a byte that is not its own.
"""

import asyncio
from random import Random

import pytest

import quantum
from quantum.testing import Impairment
from quantum.testing.proxy import UdpProxy
from tests.support.connected import IDENTITY, listening, pattern, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration

MS = 1_000_000
CONFIG = quick(
    max_data=60_000,
    max_stream_data=20_000,
    max_streams_bidi=6,
    max_streams_uni=3,
    send_buffer_bytes=10_000,
    handshake_timeout=30,
)
STREAMS = 60


async def write(stream: quantum.Stream, rng: Random, at: int) -> None:
    """Write at random from place *at* on, and end in one of the possible ways."""
    if not stream.can_write:
        return
    data = pattern(rng.randrange(1, 40_000), stream.id + 1)
    try:
        while at < len(data):
            piece = data[at : at + rng.randrange(1, 9_000)]
            try:
                await asyncio.wait_for(stream.write(piece), rng.choice([0.002, 5]))
            except TimeoutError:
                continue
            at += len(piece)
            if rng.random() < 0.03:
                stream.reset(3)
                return
        stream.finish()
        if rng.random() < 0.5:
            await stream.wait_delivered()
    except quantum.StreamStopped as error:
        check(error.code == 4)


async def read(stream: quantum.Stream, rng: Random) -> None:
    """Read at random, and end in one of the possible ways."""
    if not stream.can_read:
        return
    expected = pattern(40_000, stream.id + 1)
    at = 0
    try:
        while True:
            size = rng.randrange(1, 9_000)
            reading = stream.read(size) if rng.random() < 0.7 else stream.read_exactly(size)
            try:
                data = await asyncio.wait_for(reading, rng.choice([0.002, 5]))
            except TimeoutError:
                continue
            except asyncio.IncompleteReadError as error:
                check(error.partial == expected[at : at + len(error.partial)])
                return
            assert data == expected[at : at + len(data)]
            at += len(data)
            if not data:
                return
            if rng.random() < 0.03:
                stream.stop(4)
                return
    except quantum.StreamReset as error:
        check(error.code == 3)


def check(holds: bool) -> None:
    assert holds


async def take_part(connection: quantum.Connection, rng: Random) -> None:
    """Open and accept STREAMS streams each, and speak on all of them."""

    async def opened() -> None:
        for _ in range(STREAMS):
            stream = await connection.open_stream(unidirectional=rng.random() < 0.4)
            # So that the peer hears of it, whatever becomes of it.
            await stream.write(pattern(1, stream.id + 1))
            group.create_task(talk_on(stream, 1))

    async def accepted() -> None:
        for _ in range(STREAMS):
            group.create_task(talk_on(await connection.accept_stream(), 0))

    async def talk_on(stream: quantum.Stream, written: int) -> None:
        own = Random(rng.random())
        await asyncio.gather(write(stream, own, written), read(stream, own))

    async with asyncio.TaskGroup() as group:
        group.create_task(opened())
        group.create_task(accepted())


@pytest.mark.parametrize("seed", range(3))
async def test_no_stream_and_no_byte_is_left_over(seed: int) -> None:
    sides: list[quantum.Connection] = []
    both_done = asyncio.Event()

    async def serve(connection: quantum.Connection) -> None:
        sides.append(connection)
        await take_part(connection, Random(f"{seed} server"))
        await both_done.wait()

    link = Impairment(loss=0.05, delay_ns=2 * MS, duplicate=0.02, corrupt=0.01)
    async with (
        listening(serve, CONFIG) as listener,
        UdpProxy(("127.0.0.1", listener.port), link, seed=seed) as proxy,
        quantum.connect(("127.0.0.1", proxy.port), pin=IDENTITY.pin, config=CONFIG) as client,
    ):
        async with asyncio.timeout(60):
            await take_part(client, Random(f"{seed} client"))
            await client.flush()
            for side in (client, *sides):
                await until(lambda side=side: side.stats().streams == 0)  # type: ignore[misc]
                assert side._streams == {}
        both_done.set()
