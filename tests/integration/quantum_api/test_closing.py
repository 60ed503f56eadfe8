"""How connections end over real sockets: in order, at once, by the peer, in silence."""

import asyncio
import gc
import logging
import socket
import weakref

import pytest

import quantum
from quantum.server import HANDLER_FAILED, SHUTTING_DOWN
from tests.support.connected import IDENTITY, dial, listening, pair, pattern, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def collect(stream: quantum.Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_a_client_that_writes_and_closes_at_once_is_heard_to_the_last_byte() -> None:
    data = pattern(2 << 20)
    got: list[object] = []

    async def read_all(connection: quantum.Connection) -> None:
        stream = await connection.accept_stream()
        got.append(await collect(stream))
        got.extend([message async for message in connection.messages()])

    async with listening(read_all) as listener:
        async with dial(listener) as client:
            stream = await client.open_stream(unidirectional=True)
            await stream.write(data)
            stream.finish()
            await client.send(b"bye")
        await until(lambda: len(got) == 2)
    assert got == [data, b"bye"]


async def test_a_handler_that_returns_has_said_everything() -> None:
    data = pattern(1 << 20)

    async def say(connection: quantum.Connection) -> None:
        stream = await connection.open_stream(unidirectional=True)
        await stream.write(data)
        stream.finish()
        await connection.send(b"and this")

    async with listening(say) as listener, dial(listener) as client:
        stream = await client.accept_stream()
        assert b"".join([chunk async for chunk in stream]) == data
        assert await client.receive() == b"and this"
        await client.wait_closed()
        assert isinstance(client.error, quantum.ConnectionClosed)
        assert (client.error.code, client.error.remote) == (0, True)


async def test_what_came_before_the_end_stays_readable() -> None:
    async with pair() as (client, server, _):
        stream = await client.open_stream()
        await stream.write(b"written")
        await client.send(b"sent")
        await client.flush()
        await client.close(7, "enough")
        await server.wait_closed()
        theirs = await server.accept_stream()
        assert await theirs.read() == b"written"
        assert await server.receive() == b"sent"
        for _ in range(2):
            with pytest.raises(quantum.ConnectionClosed, match="code 7: enough"):
                await theirs.read()
        with pytest.raises(quantum.ConnectionClosed):
            await server.receive()
        with pytest.raises(quantum.ConnectionClosed):
            await theirs.write(b"x")


async def test_closing_tells_both_ends_code_reason_and_side() -> None:
    async with pair() as (client, server, _):
        await server.close(1 << 61, "grund: größer\N{SNOWMAN}")
        await client.wait_closed()
        for end, remote in ((server, False), (client, True)):
            error = end.error
            assert isinstance(error, quantum.ConnectionClosed)
            assert (error.code, error.remote, error.is_application) == (1 << 61, remote, True)
            assert "größer\N{SNOWMAN}" in error.reason
            assert end.is_closed
        with pytest.raises(quantum.ConnectionClosed):
            client.send_datagram(b"x")
        with pytest.raises(quantum.ConnectionClosed):
            await client.open_stream()
        with pytest.raises(quantum.ConnectionClosed):
            await client.send(b"x")


async def test_a_long_reason_is_cut_between_characters() -> None:
    async with pair() as (client, server, _):
        client.abort(3, "é" * 300)
        await server.wait_closed()
        assert isinstance(server.error, quantum.ConnectionClosed)
        assert server.error.reason.endswith(": " + "é" * 128)


async def test_a_code_that_is_none_is_refused_before_anything_happens() -> None:
    async with pair() as (client, _, _):
        for code in (-1, 1 << 62):
            with pytest.raises(quantum.ConfigurationError, match="a close code is 0 to"):
                client.abort(code)
            with pytest.raises(quantum.ConfigurationError, match="a close code is 0 to"):
                await client.close(code)
        assert not client.is_closed


async def test_abort_drops_what_was_not_delivered_and_wakes_everybody() -> None:
    config = quick(
        max_data=20_000,
        max_stream_data=20_000,
        send_buffer_bytes=10_000,
        max_streams_bidi=1,
        message_buffer_bytes=2_000,
        max_message_bytes=1_000,
        max_message_data=1_001,
    )
    async with pair(config) as (client, server, _):
        stream = await client.open_stream()
        for _ in range(2):
            await asyncio.wait_for(client.send(bytes(1_000)), 5)
        waits = [
            stream.write(bytes(1 << 20)),
            stream.read(),
            stream.wait_delivered(),
            client.open_stream(),
            client.accept_stream(),
            client.receive(),
            client.receive_datagram(),
            client.flush(),
            asyncio.wait_for(client.send(bytes(1_000)), 30),
        ]
        tasks = [asyncio.create_task(wait) for wait in waits]
        await until(lambda: server.stats().stream_bytes_received == 20_000)
        assert not any(task.done() for task in tasks)
        client.abort(5, "never mind")
        assert client.is_closed, "at once, without a turn of the loop"
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, quantum.ConnectionClosed)
            assert (outcome.code, outcome.remote) == (5, False)
        await server.wait_closed()
        assert isinstance(server.error, quantum.ConnectionClosed)
        assert server.error.code == 5


async def test_close_gives_up_on_a_peer_that_does_not_read() -> None:
    config = quick(max_data=20_000, max_stream_data=20_000, close_timeout=0.2, max_ack_delay=0.001)
    async with pair(config) as (client, server, _):
        stream = await client.open_stream()
        await stream.write(bytes(100_000))
        started = asyncio.get_running_loop().time()
        await client.close()
        assert 0.2 <= asyncio.get_running_loop().time() - started < 3
        await server.wait_closed()


async def test_close_can_be_called_by_many_and_again() -> None:
    async with pair() as (client, server, _):
        await client.send(b"last")
        await asyncio.wait_for(asyncio.gather(*(client.close(n) for n in range(5))), 5)
        await client.close()
        client.abort()
        assert await server.receive() == b"last"
        await server.close()


async def test_a_close_that_is_cancelled_leaves_no_socket() -> None:
    config = quick(max_data=20_000, max_stream_data=20_000, close_timeout=30)
    async with pair(config) as (client, server, _):
        stream = await client.open_stream()
        await stream.write(bytes(100_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(9, "in a hurry"), 0.05)
        assert client.is_closed
        await server.wait_closed()
        assert isinstance(server.error, quantum.ConnectionClosed)
        assert server.error.code == 9


async def test_an_error_in_the_body_ends_the_connection_at_once_with_a_code() -> None:
    async with pair() as (_, server, listener):
        theirs: list[quantum.Connection] = []

        async def fail() -> None:
            async with dial(listener) as client:
                theirs.append(client)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        error = theirs[0].error
        assert isinstance(error, quantum.ConnectionClosed)
        assert (error.code, error.remote) == (1, False)
        assert not server.is_closed


async def test_flush_is_done_when_the_peer_has_it_even_if_it_closed_since() -> None:
    async with pair() as (client, server, _):
        await client.send(b"x")
        await client.flush()
        await server.close()
        await client.wait_closed()
        await client.flush()


async def test_flush_gives_up_after_its_time_out() -> None:
    config = quick(max_data=20_000, max_stream_data=20_000)
    async with pair(config) as (client, _, _):
        stream = await client.open_stream()
        await stream.write(bytes(100_000))
        with pytest.raises(TimeoutError):
            await client.flush(0.05)
        assert not client.is_closed
        client.abort()
        with pytest.raises(quantum.ConnectionClosed):
            await client.flush()


async def test_a_peer_that_is_gone_is_noticed_by_the_idle_time_out() -> None:
    config = quick(idle_timeout=0.3, max_ack_delay=0.001, initial_rtt=0.01)
    async with pair(config) as (client, _, listener):
        stream = await client.open_stream()
        await stream.write(b"x")
        await client.flush()
        # The server's process is killed: its socket is gone without a word.
        await kill(listener)
        waiting = asyncio.create_task(stream.read())
        with pytest.raises(quantum.IdleTimeout, match=r"idle time-out of 0.3 s"):
            await asyncio.wait_for(waiting, 5)
        assert issubclass(quantum.IdleTimeout, TimeoutError)
        assert issubclass(quantum.IdleTimeout, ConnectionError)


async def kill(listener: quantum.Listener) -> None:
    """End a listener without a word to its peers, as SIGKILL would."""
    listener._endpoint._close()
    await listener.close(timeout=0)


async def test_keepalive_keeps_an_idle_connection() -> None:
    config = quick(idle_timeout=0.3, keepalive=0.1, max_ack_delay=0.001, initial_rtt=0.01)
    async with pair(config) as (client, server, _):
        before = client.stats().packets_sent
        await until(lambda: client.stats().packets_sent > before + 8)
        assert not client.is_closed
        assert not server.is_closed


async def test_a_restarted_server_says_that_it_does_not_know_the_connection() -> None:
    async def hold(connection: quantum.Connection) -> None:
        await connection.wait_closed()

    async with listening(hold) as first, dial(first) as client:
        stream = await client.open_stream()
        await stream.write(b"x" * 100)
        await client.flush()
        await kill(first)
        async with quantum.serve(hold, "127.0.0.1", first.port, identity=IDENTITY) as second:
            started = asyncio.get_running_loop().time()
            await stream.write(b"y" * 100)
            with pytest.raises(quantum.StatelessReset, match="does not know this connection"):
                await asyncio.wait_for(stream.read(), 5)
            assert asyncio.get_running_loop().time() - started < 1
            assert second.connections == []


async def test_a_handler_that_fails_is_logged_and_closes_with_a_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(connection: quantum.Connection) -> None:
        raise ZeroDivisionError("a bug")

    with caplog.at_level(logging.ERROR, "quantum.server"):
        async with listening(fail) as listener, dial(listener) as client:
            await client.wait_closed()
            assert isinstance(client.error, quantum.ConnectionClosed)
            assert (client.error.code, client.error.remote) == (HANDLER_FAILED, True)
            assert "a bug" not in client.error.reason, "the peer is told no internals"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ZeroDivisionError
    ]


async def test_a_handler_whose_peer_went_away_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = asyncio.Event()

    async def read(connection: quantum.Connection) -> None:
        try:
            await connection.receive()
        finally:
            ended.set()

    with caplog.at_level(logging.DEBUG, "quantum"):
        async with listening(read) as listener:
            async with dial(listener) as client:
                client.abort(3)
            await ended.wait()
    assert caplog.records == []


async def test_a_handler_that_fails_by_another_connection_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hold(connection: quantum.Connection) -> None:
        await connection.wait_closed()

    async with listening(hold) as upstream:

        async def relay(connection: quantum.Connection) -> None:
            async with dial(upstream) as further:
                further.abort(4, "upstream")
                await further.receive()

        with caplog.at_level(logging.ERROR, "quantum.server"):
            async with listening(relay) as listener, dial(listener) as client:
                await client.wait_closed()
                assert isinstance(client.error, quantum.ConnectionClosed)
                assert client.error.code == HANDLER_FAILED
    assert len(caplog.records) == 1


async def test_a_listener_that_closes_tells_its_clients_and_lets_handlers_end() -> None:
    ended: list[str] = []

    async def work(connection: quantum.Connection) -> None:
        await connection.send(b"hello")
        with pytest.raises(quantum.ConnectionClosed):
            await connection.receive()
        await asyncio.sleep(0.01)
        ended.append("in order")

    async with listening(work) as listener:
        clients = [await dial(listener) for _ in range(5)]
        for client in clients:
            assert await client.receive() == b"hello"
        await listener.close()
        await listener.close()
        assert ended == ["in order"] * 5
        for client in clients:
            await client.wait_closed()
            assert isinstance(client.error, quantum.ConnectionClosed)
            assert (client.error.code, client.error.remote) == (SHUTTING_DOWN, True)
            await client.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", listener.port))


async def test_a_handler_that_does_not_end_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def hang(connection: quantum.Connection) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with listening(hang) as listener, dial(listener):
        await until(lambda: bool(listener.connections))
        await listener.close(timeout=0.3)
        assert cancelled.is_set()


async def test_a_handler_may_close_its_own_listener() -> None:
    done = asyncio.Event()
    listeners: list[quantum.Listener] = []

    async def shut_down(connection: quantum.Connection) -> None:
        await connection.receive()
        await listeners[0].close(timeout=1)
        done.set()

    async with listening(shut_down) as listener:
        listeners.append(listener)
        async with dial(listener) as client:
            await client.send(b"stop")
            await asyncio.wait_for(done.wait(), 5)
            await client.wait_closed()
            assert isinstance(client.error, quantum.ConnectionClosed)
            assert client.error.code == SHUTTING_DOWN


async def test_a_socket_that_breaks_ends_its_connections_with_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pair() as (client, server, listener):
        waiting = asyncio.create_task(server.receive())
        await asyncio.sleep(0)
        listener._endpoint._fail(OSError(9, "Bad file descriptor"))
        with pytest.raises(quantum.TransportFailure, match="the UDP socket is unusable: Bad file"):
            await waiting
        assert "unusable" in caplog.text
        client.abort()


async def test_errors_do_not_grow_by_being_raised_again() -> None:
    async with pair() as (client, _, _):
        client.abort()
        lengths = set()
        for _ in range(20):
            try:
                await client.receive()
            except quantum.ConnectionClosed as error:
                trace, length = error.__traceback__, 0
                while trace is not None:
                    trace, length = trace.tb_next, length + 1
                lengths.add(length)
        assert len(lengths) == 1


async def test_an_ended_connection_is_let_go() -> None:
    async with listening(ignore) as listener:
        client = await dial(listener)
        stream = await client.open_stream()
        await stream.write(b"x")
        gone: list[weakref.ref[object]] = [weakref.ref(client), weakref.ref(stream)]
        await client.close()
        del client, stream
        await until(lambda: listener.connections == [])
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
        await until(lambda: listener.stats()["connections"] == 0)


async def ignore(connection: quantum.Connection) -> None:
    await connection.wait_closed()
