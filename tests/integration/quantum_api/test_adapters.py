"""Streams in the clothes of asyncio: StreamReader and StreamWriter, Transport and Protocol."""

import asyncio
from typing import Any

import pytest

import quantum
from tests.support.connected import dial, echo, listening, pair, pattern, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration

SMALL = quick(max_data=64 << 10, max_stream_data=32 << 10, send_buffer_bytes=16 << 10)


class Recorder(asyncio.Protocol):
    """Writes down what its transport calls."""

    def __init__(self, stays_open: bool = False) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.transport: asyncio.BaseTransport | None = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.stays_open = stays_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)


async def test_code_for_tcp_runs_on_a_stream() -> None:
    data = pattern(1 << 20)
    async with listening(echo, SMALL) as listener, dial(listener, SMALL) as client:
        reader, writer = await client.open_stream_pair()
        assert writer.get_extra_info("stream").id == 0

        async def write() -> None:
            for at in range(0, len(data), 10_000):
                writer.write(data[at : at + 10_000])
                await writer.drain()
            writer.write_eof()

        writing = asyncio.create_task(write())
        assert await reader.read() == data
        await writing
        writer.close()
        await writer.wait_closed()


async def test_lines_can_be_read_on_both_ends() -> None:
    async with pair() as (client, server, _):
        reader, writer = await client.open_stream_pair()
        writer.writelines([b"one\n", b"two\n"])
        theirs, answer = await server.accept_stream_pair()
        assert [await theirs.readline(), await theirs.readline()] == [b"one\n", b"two\n"]
        answer.write(b"three\n")
        assert await reader.readuntil(b"\n") == b"three\n"
        for end in (writer, answer):
            end.close()
            await end.wait_closed()
        assert await theirs.read() == b""


async def test_a_writer_for_tcp_is_slowed_down_by_the_peer() -> None:
    async with pair(SMALL) as (client, server, _):
        _, writer = await client.open_stream_pair()
        drained = 0

        async def write() -> None:
            nonlocal drained
            for _ in range(400):
                writer.write(bytes(4_096))
                await writer.drain()
                drained += 4_096

        writing = asyncio.create_task(write())
        await until(lambda: server.stats().stream_bytes_received == SMALL.max_stream_data)
        await until(lambda: client.stats().in_flight_bytes == 0)
        before = drained
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writing), 0.05)
        held = SMALL.max_stream_data + 2 * SMALL.send_buffer_bytes + (64 << 10) + 4_096
        assert drained == before <= held
        theirs = await server.accept_stream()
        await theirs.read_exactly(400 * 4_096)
        await writing
        writer.close()
        await writer.wait_closed()


async def test_a_unidirectional_pair_has_one_half() -> None:
    async with pair() as (client, server, _):
        reader, writer = quantum.stream_pair(await client.open_stream(unidirectional=True))
        writer.write(b"one way")
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""
        theirs, back = await server.accept_stream_pair()
        assert await theirs.read() == b"one way"
        back.close()
        await back.wait_closed()


async def test_a_protocol_lives_from_made_to_lost() -> None:
    async with listening(echo) as listener, dial(listener) as client:
        protocol = Recorder()
        transport = quantum.StreamTransport(await client.open_stream(), protocol)
        transport.write(b"hello ")
        transport.writelines([b"wor", bytearray(b"ld")])
        transport.write(b"")
        assert transport.can_write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof was called"):
            transport.write(b"more")
        assert await asyncio.wait_for(protocol.lost, 5) is None
        assert protocol.calls == ["made", "eof", "lost"]
        assert protocol.data == b"hello world"
        assert protocol.transport is transport
        assert transport.is_closing()
        transport.close()
        transport.abort()
        await until(lambda: client.stats().streams == 0)


async def test_a_protocol_that_stays_open_may_answer_after_the_end() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"question")
        stream.finish()
        protocol = Recorder(stays_open=True)
        transport = quantum.StreamTransport(await server.accept_stream(), protocol)
        await until(lambda: "eof" in protocol.calls)
        transport.write(b"answer")
        transport.close()
        assert await protocol.lost is None
        assert await stream.read_exactly(6) == b"answer"
        assert await stream.read() == b""


async def test_a_protocol_is_paused_and_resumed_as_the_peer_reads() -> None:
    async with pair(SMALL) as (client, server, _):
        protocol = Recorder()
        transport = quantum.StreamTransport(await client.open_stream(), protocol)
        transport.set_write_buffer_limits(high=10_000)
        assert transport.get_write_buffer_limits() == (2_500, 10_000)
        data = bytearray(pattern(200_000))
        transport.write(data)
        expected, data[:] = bytes(data), bytes(len(data))
        assert protocol.calls == ["made", "pause"]
        assert 100_000 < transport.get_write_buffer_size() < 200_000
        transport.close()
        theirs = await server.accept_stream()
        assert b"".join([chunk async for chunk in theirs]) == expected
        assert await protocol.lost is None
        assert protocol.calls == ["made", "pause", "resume", "lost"]
        assert transport.get_write_buffer_size() == 0
        transport.write(b"too late, and ignored as asyncio does")
        for high, low in ((1, 2), (-1, None)):
            with pytest.raises(ValueError, match="must be >="):
                transport.set_write_buffer_limits(high, low)


async def test_a_paused_reader_gets_nothing_until_it_resumes() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"1")
        protocol = Recorder()
        transport = quantum.StreamTransport(await server.accept_stream(), protocol)
        await until(lambda: protocol.data == b"1")
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await stream.write(bytes(10_000))
        await client.flush()
        await asyncio.sleep(0)
        assert protocol.data == b"1"
        transport.resume_reading()
        await until(lambda: len(protocol.data) == 10_001)
        transport.abort()
        await protocol.lost


async def test_an_abort_resets_and_a_reset_is_told() -> None:
    async with pair() as (client, server, _):
        ours, theirs = Recorder(), Recorder()
        transport = quantum.StreamTransport(await client.open_stream(), ours)
        transport.write(b"x")
        other = quantum.StreamTransport(await server.accept_stream(), theirs)
        await until(lambda: theirs.data == b"x")
        transport.abort()
        assert await ours.lost is None
        assert isinstance(await theirs.lost, quantum.StreamReset)
        assert other.is_closing()


async def test_the_end_of_the_connection_is_told() -> None:
    async with pair(SMALL) as (client, server, _):
        protocol = Recorder()
        transport = quantum.StreamTransport(await client.open_stream(), protocol)
        transport.write(bytes(1 << 20))
        await server.accept_stream()
        server.abort(9, "gone")
        error = await asyncio.wait_for(protocol.lost, 5)
        assert isinstance(error, quantum.ConnectionClosed)
        assert error.code == 9
        transport.write(b"ignored")
        reader, writer = quantum.stream_pair(await dead_stream(client))
        writer.write(b"x")
        with pytest.raises(quantum.ConnectionClosed):
            await reader.read()


async def dead_stream(connection: quantum.Connection) -> quantum.Stream:
    return quantum.Stream(connection, 4)


@pytest.mark.parametrize("method", ["data_received", "eof_received", "pause_writing"])
async def test_a_protocol_that_fails_is_reported_and_loses_its_stream(method: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    class Broken(Recorder):
        pass

    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError

    setattr(Broken, method, fail)
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"x")
        stream.finish()
        protocol = Broken()
        transport = quantum.StreamTransport(await server.accept_stream(), protocol)
        transport.write(bytes(1 << 20))
        assert isinstance(await asyncio.wait_for(protocol.lost, 5), ZeroDivisionError)
        with pytest.raises(quantum.StreamReset):
            await stream.read_exactly(1 << 20)
    assert [context["protocol"] for context in reported] == [protocol]


async def test_the_protocol_can_be_switched() -> None:
    async with pair() as (client, server, _):
        first, second = Recorder(), Recorder()
        transport = quantum.StreamTransport(await client.open_stream(), first)
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        transport.write(b"x")
        theirs = await server.accept_stream()
        await theirs.write(b"for the second")
        theirs.finish()
        assert await second.lost is None
        assert (bytes(first.data), bytes(second.data)) == (b"", b"for the second")
