"""The UDP proxy over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import pytest

from quantum.testing import Impairment, UdpProxy
from tests.support.waiting import until

MS = 1_000_000


class Peer(asyncio.DatagramProtocol):
    """A UDP socket that remembers what came; as a server it echoes."""

    def __init__(self, echo: bool) -> None:
        self.echo = echo
        self.got: list[bytes] = []
        self.sources: set[object] = set()
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of asyncio do not inherit from the class that describes them.
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.address: tuple[str, int] = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.append(data)
        self.sources.add(addr)
        self._news.set()
        if self.echo:
            self.transport.sendto(data, addr)

    async def have(self, count: int) -> list[bytes]:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return self.got


@asynccontextmanager
async def peer(
    *, echo: bool = False, address: tuple[str, int] = ("127.0.0.1", 0)
) -> AsyncIterator[Peer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Peer(echo), local_addr=address
    )
    try:
        yield protocol
    finally:
        transport.close()


async def test_datagrams_pass_both_ways_and_clients_are_told_apart() -> None:
    async with (
        peer(echo=True) as server,
        peer() as one,
        peer() as two,
        UdpProxy(server.address) as proxy,
    ):
        for i in range(20):
            one.transport.sendto(b"one %d" % i, proxy.address)
            two.transport.sendto(b"two %d" % i, proxy.address)
        assert await one.have(20) == [b"one %d" % i for i in range(20)]
        assert await two.have(20) == [b"two %d" % i for i in range(20)]
        assert len(server.sources) == 2
        assert proxy.counts.clients == 2
        assert proxy.counts.forwarded == 80
        assert proxy.counts.dropped == 0


async def test_delay_is_felt_in_each_direction() -> None:
    loop = asyncio.get_running_loop()
    async with (
        peer(echo=True) as server,
        peer() as client,
        UdpProxy(server.address, Impairment(delay_ns=30 * MS)) as proxy,
    ):
        sent = loop.time()
        client.transport.sendto(b"ping", proxy.address)
        await client.have(1)
        assert loop.time() - sent >= 0.059


async def test_loss_duplication_and_corruption_are_counted() -> None:
    impairment = Impairment(loss=0.2, duplicate=0.1, corrupt=0.1)
    async with (
        peer() as server,
        peer() as client,
        UdpProxy(server.address, impairment, seed=4) as proxy,
    ):
        for i in range(500):
            client.transport.sendto(b"%04d" % i, proxy.address)
            if i % 50 == 49:  # no socket buffer overflows
                await until(partial(_has_seen, proxy, i + 1))
        counts = proxy.counts
        await server.have(counts.forwarded)
        assert counts.forwarded == 500 - counts.dropped + counts.duplicated
        assert 60 < counts.dropped < 140
        assert 15 < counts.duplicated < 75
        assert 15 < counts.corrupted < 75


def _has_seen(proxy: UdpProxy, datagrams: int) -> bool:
    counts = proxy.counts
    return counts.forwarded - counts.duplicated + counts.dropped == datagrams


async def test_the_impairment_can_change_under_way() -> None:
    async with (
        peer() as server,
        peer() as client,
        UdpProxy(server.address, Impairment(loss=1)) as proxy,
    ):
        client.transport.sendto(b"lost", proxy.address)
        await until(lambda: proxy.counts.dropped == 1)
        proxy.impair(Impairment())
        client.transport.sendto(b"found", proxy.address)
        assert await server.have(1) == [b"found"]


async def test_a_cut_loses_what_is_under_way_and_a_restore_mends() -> None:
    async with (
        peer() as server,
        peer() as client,
        UdpProxy(server.address, Impairment(delay_ns=3600 * 1000 * MS)) as proxy,
    ):
        client.transport.sendto(b"under way", proxy.address)
        await until(lambda: proxy.counts.clients == 1)
        proxy.cut()
        proxy.impair(Impairment())
        client.transport.sendto(b"into the void", proxy.address)
        await until(lambda: proxy.counts.dropped == 2)
        proxy.restore()
        client.transport.sendto(b"through", proxy.address)
        assert await server.have(1) == [b"through"]


async def test_an_upstream_that_goes_away_and_comes_back_is_found_again() -> None:
    async with peer() as client:
        async with peer(echo=True) as server:
            proxy = await UdpProxy(server.address).start()
            client.transport.sendto(b"first", proxy.address)
            await client.have(1)
            address = server.address
        async with proxy:
            await asyncio.sleep(0)  # the transport closes its socket in the next turn

            def knock() -> bool:
                client.transport.sendto(b"anyone?", proxy.address)
                return proxy.counts.refused > 0

            await until(knock)
            async with peer(echo=True, address=address):
                before = len(client.got)
                client.transport.sendto(b"again", proxy.address)
                await client.have(before + 1)
                assert client.got[-1] in {b"again", b"anyone?"}


async def test_the_client_table_is_bounded() -> None:
    async with peer(echo=True) as server, UdpProxy(server.address, max_clients=4) as proxy:
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10)]
        for sock in socks:
            sock.sendto(b"x", proxy.address)
        await until(lambda: proxy.counts.evicted == 6)
        assert proxy.counts.clients == 4
        for sock in socks:
            sock.close()


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with UdpProxy(("127.0.0.1", 9)) as first:
        with pytest.raises(OSError, match="in use"):
            await UdpProxy(("127.0.0.1", 9)).start(port=first.port)


async def test_a_proxy_closes_twice_without_harm() -> None:
    proxy = await UdpProxy(("127.0.0.1", 9)).start()
    await proxy.close()
    await proxy.close()
