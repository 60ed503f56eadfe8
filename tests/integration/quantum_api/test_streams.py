"""Streams over real sockets: bytes, ends, back-pressure, cancellation."""

import asyncio
from dataclasses import replace

import pytest

import quantum
from tests.support.connected import dial, echo, listening, pair, pattern, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration

SMALL = quick(max_data=64 << 10, max_stream_data=32 << 10, send_buffer_bytes=16 << 10)
# What a stream can hold when nobody reads: below twice the send buffer, and the peer's window.
HELD = 2 * SMALL.send_buffer_bytes + SMALL.max_stream_data


async def collect(stream: quantum.Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def send_whole(stream: quantum.Stream, data: bytes, piece: int = 65_536) -> None:
    for at in range(0, len(data), piece):
        await stream.write(data[at : at + piece])
    stream.finish()


async def test_megabytes_go_both_ways_at_once() -> None:
    there, back = pattern(6 << 20, 1), pattern(5 << 20, 2)
    async with pair() as (client, server, _):
        ours = await client.open_stream()
        _, _, got_back = await asyncio.gather(
            send_whole(ours, there), answer(server, there, back), collect(ours)
        )
        assert got_back == back
        assert client.stats().stream_bytes_received == len(back)


async def answer(server: quantum.Connection, expected: bytes, reply: bytes) -> None:
    stream = await server.accept_stream()
    got, _ = await asyncio.gather(collect(stream), send_whole(stream, reply))
    assert got == expected


async def test_two_hundred_streams_at_once_keep_their_bytes_apart() -> None:
    async def one(connection: quantum.Connection, n: int) -> None:
        data = pattern(2_000 + 37 * n, n)
        async with await connection.open_stream() as stream:
            await stream.write(data)
            stream.finish()
            assert await collect(stream) == data

    async with listening(echo) as listener, dial(listener) as client:
        await asyncio.gather(*(one(client, n) for n in range(200)))
        await until(lambda: client.stats().streams == 0)
        await until(lambda: listener.connections[0].stats().streams == 0)


async def test_more_streams_than_are_allowed_at_once_wait_for_their_turn() -> None:
    config = quick(max_streams_bidi=4, max_streams_uni=4)

    async def one(connection: quantum.Connection, n: int) -> None:
        async with await connection.open_stream() as stream:
            await stream.write(b"%d" % n)
            stream.finish()
            assert await stream.read_exactly(len(b"%d" % n)) == b"%d" % n
            assert await stream.read() == b""

    async with listening(echo, config) as listener, dial(listener) as client:
        await asyncio.gather(*(one(client, n) for n in range(60)))


@pytest.mark.parametrize("end", ["read", "stopped", "reset"])
async def test_unidirectional_streams_one_after_the_other_never_run_out(end: str) -> None:
    config = quick(max_streams_uni=4)
    async with pair(config) as (client, server, _):
        for n in range(30):
            ours = await asyncio.wait_for(client.open_stream(unidirectional=True), 5)
            await ours.write(b"%d" % n)
            theirs = await server.accept_stream()
            if end == "read":
                ours.finish()
                assert await collect(theirs) == b"%d" % n
            elif end == "stopped":
                theirs.stop(n)
            else:
                ours.reset(n)
        await until(lambda: client.stats().streams == 0)
        await until(lambda: server.stats().streams == 0)


async def test_a_peer_that_opens_and_resets_fills_no_queue() -> None:
    config = quick(max_streams_uni=4)
    async with pair(config) as (client, server, _):
        for n in range(4):
            stream = await client.open_stream(unidirectional=True)
            await stream.write(b"x")
            stream.reset(n)
        await client.flush()
        # Nothing was accepted, so nothing more is allowed.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.open_stream(unidirectional=True), 0.1)
        for n in range(4):
            theirs = await server.accept_stream()
            with pytest.raises(quantum.StreamReset) as caught:
                await theirs.read()
            assert caught.value.code == n
        await asyncio.wait_for(client.open_stream(unidirectional=True), 5)


async def test_halves_that_do_not_exist_are_refused_in_a_sentence() -> None:
    async with pair() as (client, server, _):
        ours = await client.open_stream(unidirectional=True)
        await ours.write(b"x")
        theirs = await server.accept_stream()
        assert (ours.can_write, ours.can_read) == (True, False)
        assert (theirs.can_write, theirs.can_read) == (False, True)
        with pytest.raises(quantum.StreamFinished, match="is ours: it can only be written"):
            await ours.read()
        with pytest.raises(quantum.StreamFinished, match="nothing to stop"):
            ours.stop()
        for act in (theirs.finish, theirs.reset):
            with pytest.raises(quantum.StreamFinished, match="peer's: it can only be read"):
                act()
        with pytest.raises(quantum.StreamFinished, match="peer's: it can only be read"):
            await theirs.write(b"x")


async def test_a_reader_that_does_not_read_makes_the_writer_wait() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        written = 0

        async def keep_writing() -> None:
            nonlocal written
            while True:
                await stream.write(bytes(4_096))
                written += 4_096

        writer = asyncio.create_task(keep_writing())
        # A window's worth crosses to the reader, the rest stays behind.
        await until(lambda: server.stats().stream_bytes_received == SMALL.max_stream_data)
        await until(lambda: client.stats().in_flight_bytes == 0)
        before = written
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writer), 0.1)
        assert SMALL.max_stream_data < written == before <= HELD
        assert server.stats().stream_bytes_received == SMALL.max_stream_data
        theirs = await server.accept_stream()
        await theirs.read_exactly(200_000)
        await until(lambda: written > before + 100_000)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_a_cancelled_write_committed_nothing() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        sent = bytearray()
        for n in range(1_000):
            piece = pattern(8_192, n)
            try:
                await asyncio.wait_for(stream.write(piece), 0.05)
            except TimeoutError:
                break
            sent += piece
        else:
            pytest.fail("the writer never had to wait")
        theirs = await server.accept_stream()
        read = asyncio.create_task(collect(theirs))
        await stream.write(b"the end")
        stream.finish()
        assert await read == bytes(sent) + b"the end"


async def test_a_cancelled_read_loses_nothing() -> None:
    data = pattern(40_000)
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(data[:10_000])
        theirs = await server.accept_stream()
        got = bytearray()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(theirs.read_exactly(30_000), 0.05)
        got += await theirs.read(100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(theirs.read_exactly(30_000), 0.05)
        reader = asyncio.create_task(theirs.read_exactly(30_000))
        await stream.write(data[10_000:])
        stream.finish()
        got += await reader
        got += await collect(theirs)
        assert bytes(got) == data


async def test_a_read_that_waits_alone_can_be_cancelled_many_times() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"a")
        theirs = await server.accept_stream()
        assert await theirs.read() == b"a"
        for _ in range(50):
            task = asyncio.create_task(theirs.read())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await stream.write(b"b")
        assert await theirs.read() == b"b"


async def test_several_writers_share_a_stream_piece_by_piece() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        pieces = [bytes([n]) * 1_000 for n in range(100)]

        async def one(first: int) -> None:
            for piece in pieces[first::10]:
                await stream.write(piece)

        async def all_of_them() -> None:
            await asyncio.gather(*(one(n) for n in range(10)))
            stream.finish()

        writing = asyncio.create_task(all_of_them())
        got = await collect(await server.accept_stream())
        await writing
        assert sorted(got[at : at + 1_000] for at in range(0, len(got), 1_000)) == pieces


async def test_several_readers_get_every_byte_once() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        data = bytes(range(256)) * 1_000
        writing = asyncio.create_task(send_whole(stream, data, 4_096))
        theirs = await server.accept_stream()
        parts = await asyncio.gather(*(collect(theirs) for _ in range(5)))
        await writing
        together = b"".join(parts)
        assert len(together) == len(data)
        assert all(together.count(bytes([n])) == 1_000 for n in range(256))


async def test_a_write_larger_than_every_buffer_arrives_whole() -> None:
    data = pattern(1 << 20)
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()

        async def write() -> None:
            await stream.write(memoryview(data))
            stream.finish()

        writing = asyncio.create_task(write())
        assert await collect(await server.accept_stream()) == data
        await writing


async def test_an_end_without_data_is_an_end() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        stream.finish()
        stream.finish()
        theirs = await server.accept_stream()
        assert await theirs.read() == b""
        assert await theirs.read() == b""
        assert [chunk async for chunk in theirs] == []
        with pytest.raises(quantum.StreamFinished, match="open another"):
            await stream.write(b"more")


async def test_an_early_end_is_told_with_what_there_was() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"abc")
        stream.finish()
        theirs = await server.accept_stream()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await theirs.read_exactly(10)
        assert (caught.value.partial, caught.value.expected) == (b"abc", 10)
        assert await theirs.read_exactly(0) == b""


async def test_delivery_is_known_once_the_peer_has_everything() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        early = asyncio.create_task(stream.wait_delivered())
        await stream.write(bytes(100_000))
        theirs = await server.accept_stream()
        assert len(await theirs.read_exactly(100_000)) == 100_000
        assert not early.done()
        stream.finish()
        await asyncio.wait_for(early, 5)
        await stream.wait_delivered()
        stream.reset(1)
        assert await theirs.read() == b"", "a reset after delivery changes nothing"


async def test_a_reset_reaches_the_reader_with_its_code_every_time() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"never mind")
        theirs = await server.accept_stream()
        waiting = asyncio.create_task(theirs.read_exactly(1_000))
        delivered = asyncio.create_task(stream.wait_delivered())
        await asyncio.sleep(0)
        stream.reset(77)
        with pytest.raises(quantum.StreamReset) as caught:
            await waiting
        assert (caught.value.code, caught.value.remote) == (77, True)
        assert caught.value.stream_id == stream.id
        theirs.finish()
        await server.flush()
        for _ in range(3):
            with pytest.raises(quantum.StreamReset, match="with code 77"):
                await theirs.read()
        with pytest.raises(quantum.StreamFinished, match="was reset by this end"):
            await delivered
        with pytest.raises(quantum.StreamFinished, match="was reset by this end"):
            await stream.wait_delivered()
        with pytest.raises(quantum.StreamFinished):
            await stream.write(b"x")


async def test_a_stop_reaches_the_writer_with_its_code_and_ends_the_reader() -> None:
    async with pair(SMALL) as (client, server, _):
        stream = await client.open_stream()
        writing = asyncio.create_task(stream.write(bytes(1 << 20)))
        delivered = asyncio.create_task(stream.wait_delivered())
        theirs = await server.accept_stream()
        reading = asyncio.create_task(theirs.read_exactly(10 << 20))
        await asyncio.sleep(0)
        theirs.stop(9)
        for task in (writing, delivered):
            with pytest.raises(quantum.StreamStopped) as caught:
                await task
            assert (caught.value.code, caught.value.remote) == (9, True)
        with pytest.raises(quantum.StreamStopped) as here:
            await reading
        assert (here.value.code, here.value.remote) == (9, False)
        with pytest.raises(quantum.StreamStopped):
            await stream.write(b"x")
        # The other direction is not concerned.
        await theirs.write(b"still here")
        theirs.finish()
        assert await collect(stream) == b"still here"


@pytest.mark.parametrize("end", ["finish", "reset"])
async def test_a_writer_that_waits_learns_that_the_stream_was_ended_here(end: str) -> None:
    async with pair(SMALL) as (client, _, _):
        stream = await client.open_stream()
        writing = asyncio.create_task(stream.write(bytes(1 << 20)))
        await until(lambda: client.core.stream_unacknowledged(stream.id) > 0)
        getattr(stream, end)()
        with pytest.raises(quantum.StreamFinished):
            await asyncio.wait_for(writing, 5)
        stream.reset()


async def test_leaving_a_stream_ends_both_halves() -> None:
    async with pair() as (client, server, _):
        async with await client.open_stream() as stream:
            await stream.write(b"question")
        theirs = await server.accept_stream()
        assert await collect(theirs) == b"question"
        with pytest.raises(quantum.StreamStopped):
            await theirs.wait_delivered()

        async def fail() -> None:
            async with await client.open_stream() as stream:
                await stream.write(b"question")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        theirs = await server.accept_stream()
        with pytest.raises(quantum.StreamReset):
            await collect(theirs)


async def test_what_a_caller_gets_wrong_is_said_in_a_sentence() -> None:
    async with pair() as (client, _, _):
        stream = await client.open_stream()
        for size in (0, -1):
            with pytest.raises(quantum.ConfigurationError, match="max_bytes is 1 or more"):
                await stream.read(size)
        with pytest.raises(quantum.ConfigurationError, match="count is 0 or more"):
            await stream.read_exactly(-1)
        for code in (-1, 1 << 62):
            for act in (stream.reset, stream.stop):
                with pytest.raises(quantum.ConfigurationError, match="an error code is 0 to"):
                    act(code)
        with pytest.raises(TypeError, match="bytes-like"):
            await stream.write("text")  # type: ignore[arg-type]
        # None of it did any harm.
        await stream.write(b"x")
        stream.finish()


async def test_a_stream_of_unlike_windows_ends_whole() -> None:
    # Limits that no packet fits exactly, and a send buffer larger than the window.
    config = replace(SMALL, max_data=10_007, max_stream_data=3_001, send_buffer_bytes=50_021)
    data = pattern(400_000)
    async with pair(config) as (client, server, _):
        streams = [await client.open_stream() for _ in range(3)]
        writing = asyncio.gather(*(send_whole(stream, data, 7_777) for stream in streams))
        theirs = [await server.accept_stream() for _ in streams]
        got = await asyncio.gather(*(collect(stream) for stream in theirs))
        await writing
        assert all(part == data for part in got)
