"""What a type checker makes of the public API; checked by `make types`, never run.

An ``ignore`` that is not needed is an error, so each marks a mistake that must be found.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import assert_type

import quantum
from quantum.opening import Opening


async def connecting(pin: str) -> None:
    assert_type(quantum.connect("host:1", pin=pin), Opening[quantum.Connection])
    connection = await quantum.connect(("host", 1), pin=bytes(32), timeout=5)
    assert_type(connection, quantum.Connection)
    async with quantum.connect("host:1", pin=pin, config=quantum.lan()) as entered:
        assert_type(entered, quantum.Connection)
    assert_type(await asyncio.wait_for(quantum.connect("host:1", pin=pin), 5), quantum.Connection)
    quantum.connect("host:1")  # type: ignore[call-arg]
    quantum.connect("host:1", pin)  # type: ignore[call-arg]
    quantum.connect("host:1", pin=None)  # type: ignore[arg-type]


async def serving(identity: quantum.Identity) -> None:
    async def handler(connection: quantum.Connection) -> None:
        pass

    async def wrong(connection: quantum.Stream) -> None:
        pass

    listener = await quantum.serve(handler, port=0, identity=identity)
    assert_type(listener, quantum.Listener)
    async with quantum.serve(handler, "::", 1, identity=identity) as entered:
        assert_type(entered.connections, list[quantum.Connection])
        assert_type(entered.stats(), dict[str, int])
        assert_type(entered.port, int)
    quantum.serve(wrong, identity=identity)  # type: ignore[arg-type]
    quantum.serve(handler)  # type: ignore[call-arg]


async def using(connection: quantum.Connection) -> None:
    assert_type(await connection.open_stream(unidirectional=True), quantum.Stream)
    assert_type(await connection.accept_stream(), quantum.Stream)
    assert_type(connection.streams(), AsyncIterator[quantum.Stream])
    assert_type(connection.messages(), AsyncIterator[bytes])
    assert_type(await connection.receive(), bytes)
    assert_type(await connection.receive_datagram(), bytes)
    assert_type(connection.send_datagram(memoryview(b"x")), bool)
    await connection.send(bytearray(b"x"))
    assert_type(connection.peer_address, tuple[str, int])
    assert_type(connection.error, quantum.ConnectionFailed | None)
    assert_type(connection.stats().rtt_ns, int)
    assert_type(connection.stats().loss, float)
    assert_type(connection.exporter("label", 32), bytes)
    pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    assert_type(await connection.open_stream_pair(), pair)
    assert_type(await connection.accept_stream_pair(), pair)
    await connection.send("text")  # type: ignore[arg-type]
    connection.send(b"x")  # type: ignore[unused-coroutine]


async def streaming(stream: quantum.Stream) -> None:
    async with stream as entered:
        assert_type(entered, quantum.Stream)
        async for chunk in stream:
            assert_type(chunk, bytes)
    assert_type(await stream.read(10), bytes)
    assert_type(await stream.read_exactly(10), bytes)
    assert_type(stream.write_nowait(b"x"), int)
    assert_type(quantum.stream_pair(stream)[0], asyncio.StreamReader)
    transport: asyncio.Transport = quantum.StreamTransport(stream, asyncio.Protocol())
    transport.write(b"x")
    stream.write(b"x")  # type: ignore[unused-coroutine]
    await stream.finish()  # type: ignore[func-returns-value, misc]


def configuring() -> None:
    config = quantum.TransportConfig(keepalive=5)
    assert_type(config.replace(idle_timeout=60.0), quantum.TransportConfig)
    config.keepalive = 3  # type: ignore[misc]
    quantum.TransportConfig(keep_alive=5)  # type: ignore[call-arg]


def catching(error: quantum.QuantumError) -> None:
    if isinstance(error, quantum.StreamError):
        assert_type(error.stream_id, int)
    elif isinstance(error, quantum.ConnectionClosed):
        assert_type(error.is_application, bool)
    assert_type((error.code, error.reason, error.remote), tuple[int, str, bool])
