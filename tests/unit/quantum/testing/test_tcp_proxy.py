"""The TCP proxy over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from quantum.testing import Impairment, TcpProxy
from tests.support.waiting import until

MS = 1_000_000


@asynccontextmanager
async def echo_server(port: int = 0) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"<end>")
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    try:
        async with asyncio.timeout(20):
            _, answer = await asyncio.gather(send(), reader.read())
            return answer
    finally:
        writer.close()


async def test_a_stream_passes_unchanged_and_ends_when_its_sender_ends_it() -> None:
    data = Random(1).randbytes(5_000_000)
    async with echo_server() as port, TcpProxy(("127.0.0.1", port)) as proxy:
        assert await exchange(proxy.port, data) == data + b"<end>"
        await until(lambda: proxy.counts.connections == 0)
        assert proxy.counts.forwarded_bytes == 2 * len(data) + 5
        assert proxy.counts.accepted == 1
        assert proxy.counts.broken == 0


async def test_delay_is_felt_in_each_direction_but_does_not_limit_the_rate() -> None:
    loop = asyncio.get_running_loop()
    impairment = Impairment(delay_ns=40 * MS)
    async with echo_server() as port, TcpProxy(("127.0.0.1", port), impairment) as proxy:
        began = loop.time()
        await exchange(proxy.port, bytes(2_000_000))
        # Chunk after chunk, 30 chunks of 64 KiB would need 30 delays.
        assert 0.08 <= loop.time() - began < 1.0


async def test_a_lost_segment_stalls_its_direction_for_200_ms() -> None:
    loop = asyncio.get_running_loop()
    lossy = Impairment(loss=1)
    async with (
        echo_server() as port,
        TcpProxy(("127.0.0.1", port), lossy, Impairment()) as proxy,
    ):
        began = loop.time()
        assert await exchange(proxy.port, b"x") == b"x<end>"
        assert loop.time() - began >= 0.199
        assert proxy.counts.stalls == 1


async def test_a_cut_is_silent_and_a_restore_lets_everything_through() -> None:
    async with echo_server() as port, TcpProxy(("127.0.0.1", port)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        moved = proxy.counts.forwarded_bytes
        proxy.cut()
        writer.write(b"during")
        late = asyncio.create_task(exchange(proxy.port, b"new"))
        await until(lambda: proxy.counts.accepted == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert proxy.counts.forwarded_bytes == moved
        proxy.restore()
        assert await reader.readexactly(6) == b"during"
        assert await late == b"new<end>"
        writer.close()


async def test_connections_are_refused_while_upstream_is_away_and_pass_when_it_is_back() -> None:
    async with echo_server() as port:
        proxy = await TcpProxy(("127.0.0.1", port)).start()
        assert await exchange(proxy.port, b"x") == b"x<end>"
    async with proxy:
        with pytest.raises(ConnectionResetError):
            await exchange(proxy.port, b"y")
        assert proxy.counts.refused == 1
        async with echo_server(port):
            assert await exchange(proxy.port, b"z") == b"z<end>"


async def test_a_reset_breaks_open_connections_and_no_others() -> None:
    async with echo_server() as port, TcpProxy(("127.0.0.1", port)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        await reader.readexactly(1)
        await proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert proxy.counts.broken == 1
        assert await exchange(proxy.port, b"y") == b"y<end>"
        writer.close()


async def test_an_upstream_that_dies_breaks_the_connection_of_its_client() -> None:
    async with echo_server() as port:
        proxy = await TcpProxy(("127.0.0.1", port)).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        await reader.readexactly(1)
    async with proxy, asyncio.timeout(10):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


async def test_a_sender_waits_when_the_proxy_holds_enough() -> None:
    impairment = Impairment(delay_ns=3600 * 1000 * MS)
    async with echo_server() as port, TcpProxy(("127.0.0.1", port), impairment) as proxy:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(bytes(64 * 1024 * 1024))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()
        writer.transport.abort()


async def test_a_proxy_closes_twice_without_harm() -> None:
    proxy = await TcpProxy(("127.0.0.1", 9)).start()
    await proxy.close()
    await proxy.close()
