"""Two ends of a connection over a real loopback socket, for tests of the public API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import quantum
from quantum.opening import Opening
from quantum.server import Handler


class Pair(NamedTuple):
    """A client, the server's connection with it, and the listener."""

    client: quantum.Connection
    server: quantum.Connection
    listener: quantum.Listener


IDENTITY = quantum.Identity(bytes(range(32)))


def quick(**changes: Any) -> quantum.TransportConfig:
    """Return a configuration for loopback, where an end without a round trip measured lingers
    for milliseconds."""
    return quantum.TransportConfig(**{"initial_rtt": 0.005, "max_ack_delay": 0.005, **changes})


def pattern(size: int, seed: int = 1) -> bytes:
    """Return *size* bytes in which no two blocks of a stream's frames are alike."""
    count = min(size // 4 + 1, 5_003)
    block = b"".join((seed * 65_537 + n).to_bytes(4, "big") for n in range(count))
    return (block * (size // len(block) + 1))[:size]


@asynccontextmanager
async def pair(
    config: quantum.TransportConfig | None = None,
    server_config: quantum.TransportConfig | None = None,
) -> AsyncIterator[Pair]:
    """Connect a client to a listener whose handler only waits for the end.

    The server has the client's *config* when it is given none.
    """
    accepted: asyncio.Future[quantum.Connection] = asyncio.get_running_loop().create_future()

    async def hold(connection: quantum.Connection) -> None:
        if not accepted.done():
            accepted.set_result(connection)
        await connection.wait_closed()

    async with (
        listening(hold, server_config or config) as listener,
        dial(listener, config) as client,
    ):
        yield Pair(client, await accepted, listener)


def listening(
    handler: Handler, config: quantum.TransportConfig | None = None
) -> Opening[quantum.Listener]:
    """Serve *handler* on a free loopback port."""
    return quantum.serve(handler, "127.0.0.1", 0, identity=IDENTITY, config=config or quick())


def dial(
    listener: quantum.Listener, config: quantum.TransportConfig | None = None, timeout: float = 10.0
) -> Opening[quantum.Connection]:
    """Connect to *listener*."""
    return quantum.connect(
        ("127.0.0.1", listener.port), pin=IDENTITY.pin, config=config or quick(), timeout=timeout
    )


async def echo(connection: quantum.Connection) -> None:
    """Send back what comes: streams as streams, messages as messages."""

    async def one(stream: quantum.Stream) -> None:
        async with stream:
            async for chunk in stream:
                await stream.write(chunk)

    async def messages() -> None:
        async for message in connection.messages():
            await connection.send(message)

    async with asyncio.TaskGroup() as group:
        group.create_task(messages())
        async for stream in connection.streams():
            group.create_task(one(stream))
