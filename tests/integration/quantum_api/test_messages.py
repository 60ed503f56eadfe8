"""Messages and datagrams over real sockets."""

import asyncio
import random
from typing import Any

import pytest

import quantum
from tests.support.connected import dial, listening, pair, pattern, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_messages_of_every_size_arrive_exactly_once() -> None:
    config = quick(max_message_bytes=100_000, max_message_data=300_000)
    rng = random.Random(4)
    sizes = [0, 0, 1, 1_199, 1_200, 1_201, 99_999, 100_000]
    sizes += [rng.randrange(3_000) for _ in range(500)]
    sent = [n.to_bytes(4, "big") + pattern(max(size - 4, 0), n) for n, size in enumerate(sizes)]
    sent[0] = sent[1] = b""
    sent[6], sent[7] = sent[6][:99_999], sent[7][:100_000]
    async with pair(config) as (client, server, _):
        assert client.max_message_bytes == 100_000

        async def send_all() -> None:
            for message in sent:
                await client.send(message)

        sending = asyncio.create_task(send_all())
        got = [await server.receive() for _ in sent]
        await sending
        assert sorted(got) == sorted(sent)
        await client.flush()
        assert server.core.receive_messages() == []
        assert server.stats().messages_received == len(sent) == client.stats().messages_sent


async def test_every_kind_of_buffer_can_be_sent() -> None:
    async with pair() as (client, server, _):
        for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
            await client.send(data)
            client.send_datagram(data)
            assert await server.receive() == b"abc"
            assert await server.receive_datagram() == b"abc"
        with pytest.raises(TypeError):
            client.send_datagram(3)  # type: ignore[arg-type]


async def test_a_message_too_large_is_refused_in_a_sentence() -> None:
    config = quick(max_message_bytes=1_000)
    async with pair(config) as (client, server, _):
        with pytest.raises(quantum.ConfigurationError) as caught:
            await client.send(bytes(1_001))
        assert "1001 bytes is larger than the peer's max_message_bytes = 1000" in str(caught.value)
        assert "send it on a stream" in str(caught.value)
        await client.send(bytes(1_000))
        assert await server.receive() == bytes(1_000)


async def test_who_does_not_receive_makes_the_sender_wait() -> None:
    config = quick(max_message_bytes=1_000, max_message_data=20_000, message_buffer_bytes=10_000)
    async with pair(config) as (client, server, _):
        sent = 0

        async def keep_sending() -> None:
            nonlocal sent
            while True:
                await client.send(sent.to_bytes(4, "big") * 100)
                sent += 1

        sending = asyncio.create_task(keep_sending())
        await until(lambda: server.stats().messages_received >= 45)
        await until(lambda: client.stats().in_flight_bytes == 0)
        before = sent
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.1)
        assert sent == before
        # What the receiver allows and what the sender keeps, in messages of 401 bytes of credit.
        assert server.stats().messages_received <= 20_000 // 401 + 1
        assert before <= (20_000 + 10_000) // 401 + 2
        got = [int.from_bytes((await server.receive())[:4], "big") for _ in range(500)]
        assert sorted(got) == list(range(500))
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_cancelled_send_sent_nothing_and_a_cancelled_receive_lost_nothing() -> None:
    config = quick(max_message_bytes=1_000, max_message_data=5_000, message_buffer_bytes=5_000)
    async with pair(config) as (client, server, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.receive(), 0.02)
        sent = 0
        try:
            while sent < 1_000:
                await asyncio.wait_for(client.send(sent.to_bytes(4, "big") * 200), 0.05)
                sent += 1
        except TimeoutError:
            assert sent
        assert sent < 1_000, "the sender never had to wait"
        got = [int.from_bytes((await server.receive())[:4], "big") for _ in range(sent)]
        assert sorted(got) == list(range(sent))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.receive(), 0.05)


async def test_messages_are_sent_by_priority_and_given_up_at_their_deadline() -> None:
    config = quick(max_message_bytes=1_000, max_message_data=1_001, message_buffer_bytes=20_000)
    async with pair(config) as (client, server, _):
        await client.send(bytes(1_000))
        await until(lambda: server.stats().messages_received == 1)
        # The receiver's credit is used up: these wait, but for one that cannot.
        await client.send(b"last", priority=7)
        await client.send(b"late", priority=0, deadline=0.02)
        await client.send(b"normal", deadline=3_600)
        await client.send(b"urgent", priority=0)
        await until(lambda: client.stats().messages_expired == 1)
        got = [await server.receive() for _ in range(4)]
        assert got[1:] == [b"urgent", b"normal", b"last"]
        await client.flush()
        assert server.stats().messages_expired_by_peer == 0


async def test_a_send_that_waits_for_room_until_its_deadline_returns() -> None:
    config = quick(max_message_bytes=2_000, max_message_data=2_001, message_buffer_bytes=2_000)
    async with pair(config) as (client, server, _):
        await client.send(bytes(2_000))
        await client.flush()
        # The credit is used up, and this one fills the buffer.
        await client.send(bytes(2_000), deadline=3_600)
        await asyncio.wait_for(client.send(bytes(2_000), deadline=0.02), 5)
        assert client.stats().messages_expired == 1
        assert server.stats().messages_received == 1


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"priority": 8}, "a priority is 0 .most urgent. to 7, not 8"),
        ({"priority": -1}, "a priority is 0 .most urgent. to 7, not -1"),
        ({"deadline": -0.1}, "deadline = -0.1 is not between 0 and 86,400 seconds"),
        ({"deadline": float("nan")}, "deadline = nan is not between"),
        ({"deadline": "soon"}, "deadline = 'soon' is not between"),
    ],
)
async def test_a_wrong_priority_or_deadline_is_refused_in_a_sentence(
    choice: dict[str, Any], sentence: str
) -> None:
    async with pair() as (client, _, _):
        with pytest.raises(quantum.ConfigurationError, match=sentence):
            await client.send(b"x", **choice)


async def test_the_realtime_profile_carries_messages_and_streams() -> None:
    config = quantum.realtime()
    async with pair(config) as (client, server, _):
        for number in range(50):
            await client.send(b"%d" % number, deadline=5)
        assert sorted([await server.receive() for _ in range(50)]) == sorted(
            b"%d" % number for number in range(50)
        )
        stream = await client.open_stream()
        await stream.write(pattern(500_000))
        stream.finish()
        accepted = await server.accept_stream()
        assert b"".join([chunk async for chunk in accepted]) == pattern(500_000)


async def test_several_receivers_share_the_messages() -> None:
    async with pair() as (client, server, _):
        got: list[bytes] = []

        async def receive_some() -> None:
            got.extend([message async for message in server.messages()])

        receivers = [asyncio.create_task(receive_some()) for _ in range(4)]
        for n in range(1_000):
            await client.send(n.to_bytes(2, "big"))
        await client.close()
        # Code 0 of the peer ends the iterators without an error.
        await asyncio.gather(*receivers)
        assert sorted(got) == [n.to_bytes(2, "big") for n in range(1_000)]


async def test_iterators_raise_when_the_peer_closed_with_a_code() -> None:
    async def refuse(connection: quantum.Connection) -> None:
        await connection.send(b"sorry")
        await connection.close(42, "not today")

    async with listening(refuse) as listener, dial(listener) as client:
        messages = client.messages()
        assert await anext(messages) == b"sorry"
        with pytest.raises(quantum.ConnectionClosed) as caught:
            await anext(messages)
        assert (caught.value.code, caught.value.remote) == (42, True)
        with pytest.raises(quantum.ConnectionClosed, match="code 42: not today"):
            async for _ in client.streams():
                pass


async def test_datagrams_arrive_and_never_wait() -> None:
    config = quick(datagram_queue=8)
    async with pair(config) as (client, server, _):
        assert client.send_datagram(b"")
        assert await server.receive_datagram() == b""
        largest = bytes(client.max_datagram_bytes)
        assert client.send_datagram(largest)
        assert await server.receive_datagram() == largest
        with pytest.raises(quantum.ConfigurationError, match="does not fit into a packet: at most"):
            client.send_datagram(largest + b"x")
        taken = [client.send_datagram(b"%d" % n) for n in range(10)]
        assert taken == [True] * 8 + [False] * 2
        assert client.stats().datagrams_dropped == 2
        assert [await server.receive_datagram() for _ in range(8)] == [b"%d" % n for n in range(8)]


async def test_a_receiver_that_is_slow_loses_the_oldest_datagrams() -> None:
    config = quick(datagram_queue=4)
    async with pair(config) as (client, server, _):
        for n in range(10):
            client.send_datagram(b"%d" % n)
            await client.flush()
        await until(lambda: server.stats().datagrams_dropped == 6)
        assert [await server.receive_datagram() for _ in range(4)] == [b"6", b"7", b"8", b"9"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.receive_datagram(), 0.02)


async def test_an_answer_leaves_at_once_and_what_follows_it_shares_packets() -> None:
    async with pair() as (client, server, _):
        await client.send(b"question")
        assert await server.receive() == b"question"
        await server.send(b"answer")
        assert not server.core.is_changed
        before = server.stats().packets_sent
        for _ in range(10):
            await server.send(b"more")
        assert server.core.is_changed
        assert [await client.receive() for _ in range(11)] == [b"answer"] + [b"more"] * 10
        assert server.stats().packets_sent <= before + 2


async def test_who_waits_for_an_answer_has_sent_the_question() -> None:
    async with pair() as (client, server, _):
        # So that nothing that came lets the question leave before the wait.
        await client.flush()
        stream = await client.open_stream()
        await stream.write(b"question")
        stream.finish()
        answer = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        assert not client.core.is_changed
        theirs = await server.accept_stream()
        assert await theirs.read() == b"question"
        await theirs.write(b"answer")
        theirs.finish()
        assert await answer == b"answer"
