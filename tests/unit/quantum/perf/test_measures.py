"""A measurement that lost, doubled, swapped or changed anything is void."""

import asyncio
from collections.abc import Callable

import pytest

from quantum.perf.measures import BODY, MEASURES, MESSAGE, PERIOD, REQUEST, Outcome, answer
from quantum.perf.peer import ContentError

Meddle = Callable[[int, bytes], list[bytes]]


def honest(index: int, data: bytes) -> list[bytes]:
    return [data]


class MemoryLine:
    """One end of a connection in memory; *meddle* decides what becomes of the nth thing sent."""

    def __init__(self, meddle: Meddle = honest) -> None:
        self.other: MemoryLine
        self._meddle = meddle
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._stream = asyncio.StreamReader()
        self._index = 0

    def _meddled(self, data: bytes) -> list[bytes]:
        self._index += 1
        return self._meddle(self._index - 1, data)

    async def write(self, data: bytes) -> None:
        for part in self._meddled(data):
            self.other._stream.feed_data(part)
        await asyncio.sleep(0)

    async def read(self) -> bytes:
        return await self._stream.read(100_000)

    async def read_exactly(self, count: int) -> bytes:
        return await self._stream.readexactly(count)

    async def send(self, message: bytes) -> None:
        for copy in self._meddled(message):
            self.other._messages.put_nowait(copy)

    async def receive(self) -> bytes:
        return await self._messages.get()

    async def flush(self) -> None:
        await asyncio.sleep(0)


async def measured(name: str, count: int, meddle: Meddle = honest) -> Outcome:
    client, server = MemoryLine(meddle), MemoryLine()
    client.other, server.other = server, client
    serving = asyncio.ensure_future(answer(server))
    try:
        async with asyncio.timeout(10):
            return await MEASURES[name].client(client, count)
    finally:
        serving.cancel()


@pytest.mark.parametrize(
    ("name", "count"), [("bulk", 3 * PERIOD + 17), ("messages", 500), ("requests", 50)]
)
async def test_an_honest_line_passes(name: str, count: int) -> None:
    outcome = await measured(name, count)
    assert outcome.amount == count
    assert outcome.seconds > 0
    assert outcome.value > 0


def change_fifth(index: int, data: bytes) -> list[bytes]:
    return [bytes([data[0] ^ 1]) + data[1:]] if index == 5 else [data]


def double_fifth(index: int, data: bytes) -> list[bytes]:
    return [data, data] if index == 5 else [data]


def double_one_and_lose_another(index: int, data: bytes) -> list[bytes]:
    return {5: [data, data], 6: []}.get(index, [data])


def change_a_body(index: int, data: bytes) -> list[bytes]:
    return [data[:-1] + bytes([data[-1] ^ 128])] if index == 5 else [data]


@pytest.mark.parametrize(
    "meddle", [change_fifth, double_fifth, double_one_and_lose_another, change_a_body]
)
@pytest.mark.parametrize(("name", "count"), [("bulk", 3 * PERIOD), ("messages", 500)])
async def test_meddling_is_found(name: str, count: int, meddle: Meddle) -> None:
    with pytest.raises(ContentError, match="arrived"):
        await measured(name, count, meddle)


async def test_an_answer_that_differs_from_its_request_is_found() -> None:
    with pytest.raises(ContentError, match="came back changed"):
        await measured("requests", 20, change_fifth_message)


def change_fifth_message(index: int, data: bytes) -> list[bytes]:
    return [MESSAGE.pack(99, BODY)] if index == 5 else [data]


async def test_messages_may_come_in_any_order() -> None:
    held: list[bytes] = []

    def swap(index: int, data: bytes) -> list[bytes]:
        if index == 5:
            held.append(data)
            return []
        return [data, held.pop()] if held else [data]

    assert (await measured("messages", 100, swap)).amount == 100


@pytest.mark.parametrize("request_", [REQUEST.pack(b"x", 1), REQUEST.pack(b"b", 1 << 60)])
async def test_a_request_that_makes_no_sense_is_refused(request_: bytes) -> None:
    client, server = MemoryLine(), MemoryLine()
    client.other, server.other = server, client
    await client.write(request_)
    with pytest.raises(ContentError, match="no measurement"):
        await answer(server)
