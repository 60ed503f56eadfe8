"""The tasks between two lines in memory: they end well, and a changed byte is always noticed."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bench.peers.line import ContentError, Line, StreamLine
from bench.peers.tasks import (
    PATTERN,
    PERIOD,
    answer_task,
    is_pattern,
    messages,
    pattern,
    run_bulk,
    run_handshake,
    run_messages,
    run_realtime,
    run_request,
    run_response,
)

Client = Callable[[Line], Awaitable[Any]]
Change = Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    return data


async def bulk(line: Line) -> Any:
    return await run_bulk(line, time.monotonic_ns(), 0.2)


CLIENTS: dict[str, Client] = {
    "bulk": bulk,
    "messages": lambda line: run_messages(line, 500),
    "request": lambda line: run_request(line, 50),
    "realtime": lambda line: run_realtime(line, 20, 1000),
    "response": lambda line: run_response(line, 5, 20_480, 0.0),
}


async def run(client: Client, to_server: Change = same, to_client: Change = same) -> Any:
    """Run a task over a TCP connection with a hand between that may change what passes."""
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        with contextlib.suppress(ContentError, EOFError, OSError):
            await answer_task(StreamLine(reader, writer))
        writer.transport.abort()

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Change
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(change(data))
                await writer.drain()
        writer.transport.abort()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        there, back = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.gather(carry(reader, back, to_server), carry(there, writer, to_client))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    door = await asyncio.start_server(between, "127.0.0.1", 0)
    async with server, door:
        reader, writer = await asyncio.open_connection(*door.sockets[0].getsockname())
        try:
            async with asyncio.timeout(30):
                return await client(StreamLine(reader, writer))
        finally:
            writer.transport.abort()
            await asyncio.gather(*handlers)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_task_ends_with_its_content_right(name: str) -> None:
    assert (await run(CLIENTS[name]))["ok"] is True


async def test_a_handshake_exchanges_a_byte() -> None:
    await run(run_handshake)


def flip_after(count: int) -> Change:
    """Return a change of one bit in the byte at *count*."""
    seen = 0

    def change(data: bytes) -> bytes:
        nonlocal seen
        at, seen = count - seen, seen + len(data)
        if not 0 <= at < len(data):
            return data
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return change


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_flipped_bit_on_the_way_to_the_server_is_noticed(name: str) -> None:
    # In the body of the first message, or of bulk: behind the header and two numbers.
    with pytest.raises((ContentError, EOFError, OSError)):
        await run(CLIENTS[name], to_server=flip_after(32 + 16 + 9))


@pytest.mark.parametrize("name", ["request", "response"])
async def test_a_flipped_bit_on_the_way_back_is_noticed(name: str) -> None:
    with pytest.raises(ContentError):
        await run(CLIENTS[name], to_client=flip_after(40))


async def test_realtime_counts_every_message_and_its_delay() -> None:
    outcome = await run(CLIENTS["realtime"])
    assert len(outcome["delays_us"]) == 20
    assert outcome["missing"] == 0
    assert all(0 < delay < 5e6 for delay in outcome["delays_us"])


async def test_bulk_counts_what_came_in_time_alone() -> None:
    outcome = await run(CLIENTS["bulk"])
    assert outcome["bytes"] > 0
    assert outcome["seconds"] == 0.2


def test_the_pattern_is_the_one_of_the_contract() -> None:
    assert len(PATTERN) == PERIOD
    assert PATTERN[300] == (300 * 131 + (300 >> 8) * 7) & 0xFF
    assert pattern(PERIOD + 5, 3) == PATTERN[5:8]
    assert pattern(PERIOD - 1, 2) == PATTERN[-1:] + PATTERN[:1]


def test_a_long_piece_is_compared_to_its_end() -> None:
    piece = PATTERN * 25
    assert is_pattern(piece, 0)
    assert not is_pattern(piece, 1)
    assert not is_pattern(piece[:-1] + bytes([piece[-1] ^ 1]), 0)


def test_messages_carry_their_number_and_the_pattern_from_there() -> None:
    third = list(messages(3))[2]
    assert third == (2).to_bytes(8, "little") + PATTERN[2:58]
