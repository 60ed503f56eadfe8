"""The public API through a proxy that loses, delays, reorders, repeats and corrupts datagrams."""

import asyncio
from dataclasses import replace

import pytest

import quantum
from quantum.testing import Impairment
from quantum.testing.proxy import UdpProxy
from tests.support.connected import IDENTITY, echo, listening, pattern

pytestmark = pytest.mark.integration

MS = 1_000_000
LOSSY = Impairment(loss=0.05, delay_ns=25 * MS)


async def echoed(impairment: Impairment, size: int) -> quantum.ConnectionStats:
    data = pattern(size)
    async with (
        listening(echo) as listener,
        UdpProxy(("127.0.0.1", listener.port), impairment, seed=3) as proxy,
        quantum.connect(("127.0.0.1", proxy.port), pin=IDENTITY.pin, timeout=30) as client,
    ):
        stream = await client.open_stream()

        async def write() -> None:
            await stream.write(data)
            stream.finish()

        async def exchange() -> None:
            for n in range(200):
                await client.send(n.to_bytes(4, "big") * 16)

        writing = asyncio.gather(write(), exchange())
        got = b"".join([chunk async for chunk in stream])
        messages = [await client.receive() for _ in range(200)]
        await writing
        assert got == data
        assert sorted(messages) == [n.to_bytes(4, "big") * 16 for n in range(200)]
        assert proxy.counts.dropped + proxy.counts.corrupted > 0
        return client.stats()


async def test_bytes_and_messages_are_exact_through_loss_and_delay() -> None:
    stats = await echoed(LOSSY, 1 << 20)
    assert stats.packets_lost > 0
    assert stats.bytes_retransmitted > 0
    assert 0 < stats.loss < 0.3
    # A loop's timers are exact to a millisecond, each way.
    assert stats.rtt_minimum_ns >= 48 * MS


async def test_bytes_and_messages_are_exact_through_everything_at_once() -> None:
    bad = replace(LOSSY, delay_ns=5 * MS, duplicate=0.05, corrupt=0.02)
    await echoed(replace(bad, reorder=0.1, reorder_delay_ns=10 * MS), 300_000)


async def test_a_client_that_leaves_through_loss_is_heard_to_the_last_byte() -> None:
    data = pattern(200_000)
    got: list[bytes] = []

    async def read_one(connection: quantum.Connection) -> None:
        stream = await connection.accept_stream()
        got.append(b"".join([chunk async for chunk in stream]))

    async with (
        listening(read_one) as listener,
        UdpProxy(("127.0.0.1", listener.port), replace(LOSSY, loss=0.2), seed=5) as proxy,
    ):
        for _ in range(3):
            async with quantum.connect(
                ("127.0.0.1", proxy.port), pin=IDENTITY.pin, timeout=30
            ) as client:
                stream = await client.open_stream(unidirectional=True)
                await stream.write(data)
                stream.finish()
    assert got == [data] * 3


async def test_a_network_that_comes_back_goes_on() -> None:
    async with (
        listening(echo) as listener,
        UdpProxy(("127.0.0.1", listener.port)) as proxy,
        quantum.connect(("127.0.0.1", proxy.port), pin=IDENTITY.pin) as client,
    ):
        await client.send(b"before")
        assert await client.receive() == b"before"
        proxy.cut()
        await client.send(b"into the void")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.2)
        proxy.restore()
        assert await asyncio.wait_for(client.receive(), 5) == b"into the void"
