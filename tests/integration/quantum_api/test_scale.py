"""Many connections on one listener, and what is left of them."""

import asyncio

import pytest

import quantum
from quantum.endpoint import UdpEndpoint
from tests.support.connected import dial, echo, listening, quick
from tests.support.memory import resident_bytes
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_factories=["asyncio"])]

CONFIG = quick(handshake_timeout=60, idle_timeout=60)


async def hold(connection: quantum.Connection) -> None:
    await connection.wait_closed()


async def test_five_hundred_clients_connect_at_once_and_are_served() -> None:
    async def one(listener: quantum.Listener, n: int) -> None:
        async with dial(listener, CONFIG, timeout=60) as client:
            stream = await client.open_stream()
            await stream.write(b"%d" % n)
            stream.finish()
            assert b"".join([chunk async for chunk in stream]) == b"%d" % n

    async with listening(echo, CONFIG) as listener:
        await asyncio.gather(*(one(listener, n) for n in range(500)))
        await until(lambda: listener.stats()["connections"] == 0)
        assert listener.stats()["half_open"] == 0
        assert listener.connections == []


async def test_two_thousand_connections_leave_nothing_behind() -> None:
    async with listening(hold, CONFIG) as listener:

        async def visit() -> None:
            async with dial(listener, CONFIG, timeout=60) as client:
                await client.send(b"hello")

        async def visits(count: int) -> None:
            for _ in range(0, count, 100):
                await asyncio.gather(*(visit() for _ in range(100)))
            await until(lambda: listener.stats()["connections"] == 0)

        # Once for what is made at first use and for the high-water mark of a hundred at a time.
        await visits(400)
        before = resident_bytes()
        await visits(2_000)
        assert listener.connections == []
        assert len(listener._tasks) == 0
        assert listener.stats()["half_open"] == 0
        # 2 KiB a connection would be a leak of the smallest part of one.
        assert resident_bytes() - before < 2_000 * 2_048


async def test_an_idle_connection_costs_the_server_little() -> None:
    async with listening(hold, CONFIG) as listener:
        warm = [await dial(listener, CONFIG) for _ in range(20)]
        # Clients in this process weigh much more, each with a socket and its buffers: they are
        # let go, and the server's side of the connections stays until its idle time-out.
        before = resident_bytes()
        for _ in range(200):
            await silent_visit(listener)
        await until(lambda: len(listener.connections) == 220)
        grown = resident_bytes() - before
        assert grown < 220 * 32_768, f"{grown / 200:.0f} bytes for an idle connection"
        for client in warm:
            client.discard()


async def silent_visit(listener: quantum.Listener) -> None:
    """Connect, and leave without a word."""
    before = len(listener.connections)
    client = await dial(listener, CONFIG)
    await until(lambda: len(listener.connections) > before)
    assert isinstance(client._owned, UdpEndpoint)
    client._owned._close()
