"""Channels at the gateway: fan-out, recovery, permissions, slow listeners; over real sockets."""

from pathlib import Path

import pytest

from gateway import messages as m
from gateway.close_codes import CloseCode
from gateway.errors import Code
from tests.support.gateways import Refusal, Speaker, running

pytestmark = pytest.mark.integration


async def test_a_publication_reaches_every_listener_in_its_own_codec(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        listeners = [
            await Speaker.logged_in(gateway, "bob", transport, codec)
            for transport in ("websocket", "http", "quantum")
            for codec in ("json", "protobuf")
        ]
        for listener in listeners:
            await listener.ask(m.Subscribe("room"), m.Subscribed)
        writer = await Speaker.logged_in(gateway)
        value = {"text": "grüß dich", "n": [1, 2.5, None, True], "big": 2**60}
        sent = await writer.ask(m.Publish("room", value), m.Published, payload=b"\x00\xff")
        assert sent.subscribers == 6
        assert writer.session is not None
        for listener in listeners:
            pushed = await listener.push()
            assert pushed.body == m.Message(value, sender=writer.session.user)
            assert (pushed.channel, pushed.offset, pushed.epoch) == ("room", 1, sent.epoch)
            assert pushed.payload == b"\x00\xff"
        for client in [writer, *listeners]:
            await client.cut()


async def test_after_unsubscribing_nothing_comes(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        await client.ask(m.Subscribe("room"), m.Subscribed)
        await client.ask(m.Unsubscribe("room"), m.Done)
        await client.ask(m.Unsubscribe("room"), m.Done)
        assert (await client.ask(m.Publish("room"), m.Published)).subscribers == 0
        await client.ask(m.Ping(), m.Pong)
        assert not client.pushes
        await client.cut()


async def test_a_late_subscriber_recovers_from_its_position(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        first = await client.ask(m.Publish("room", 1), m.Published)
        for n in (2, 3):
            await client.ask(m.Publish("room", n), m.Published)
        joined = await client.ask(
            m.Subscribe("room", recover=True, offset=1, epoch=first.epoch), m.Subscribed
        )
        assert joined.recovered
        assert [(await client.push()).offset for _ in range(2)] == [2, 3]
        ahead = await client.ask(
            m.Subscribe("room", recover=True, offset=99, epoch=first.epoch), m.Subscribed
        )
        assert not ahead.recovered
        assert ahead.offset == 3
        await client.cut()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (m.Subscribe("user:somebody-else"), Code.FORBIDDEN),
        (m.Subscribe("$internal"), Code.FORBIDDEN),
        (m.Publish("$internal"), Code.FORBIDDEN),
        (m.Publish("doc:x"), Code.INVALID),
        (m.Subscribe("x" * 256), Code.INVALID),
        (m.Subscribe("a\nb"), Code.INVALID),
        (m.Subscribe("doc:nonsense"), Code.INVALID),
        (m.Welcome(1), Code.UNKNOWN_KIND),
    ],
)
async def test_a_channel_that_is_not_the_clients_is_refused(
    tmp_path: Path, body: m.Body, code: Code
) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        with pytest.raises(Refusal) as caught:
            await client.ask(body, m.Done)
        assert caught.value.body.code in (code, Code.NOT_FOUND)
        await client.cut()


async def test_a_users_own_channel_is_open_to_its_writers(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        alice, bob = await Speaker.logged_in(gateway), await Speaker.logged_in(gateway, "bob")
        assert alice.session is not None
        mine = f"user:{alice.session.user}"
        await alice.ask(m.Subscribe(mine), m.Subscribed)
        await bob.ask(m.Publish(mine, "hi"), m.Published)
        assert (await alice.push()).body == m.Message("hi", sender=bob.session.user)  # type: ignore[union-attr]
        await alice.cut()
        await bob.cut()


async def test_a_client_may_not_hold_channels_without_bound(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        for n in range(128):
            await client.ask(m.Subscribe(f"c{n}"), m.Subscribed)
        with pytest.raises(Refusal, match="128 channels") as caught:
            await client.ask(m.Subscribe("one more"), m.Subscribed)
        assert caught.value.body.code == Code.LIMIT_REACHED
        await client.ask(m.Subscribe("c5"), m.Subscribed)
        await client.cut()


async def test_a_listener_that_does_not_read_is_closed_and_delays_nobody(tmp_path: Path) -> None:
    bounds = {"outbox_messages": 64, "outbox_bytes": 1 << 20}
    async with running(tmp_path, client=bounds) as gateway:
        deaf = await Speaker.logged_in(gateway, "bob")
        await deaf.ask(m.Subscribe("room"), m.Subscribed)
        reader = await Speaker.logged_in(gateway, "bob")
        await reader.ask(m.Subscribe("room"), m.Subscribed)
        deaf_client = next(iter(gateway.hub))
        deaf._reader.cancel()
        writer = await Speaker.logged_in(gateway)
        rounds = 0
        while deaf_client.close_code is None:
            rounds += 1
            assert rounds < 400, "the deaf listener was never closed"
            await writer.ask(m.Publish("room"), m.Published, payload=b"x" * 100_000)
            assert (await reader.push()).offset == rounds
        assert deaf_client.close_code is CloseCode.SLOW_CONSUMER
        while deaf_client in list(gateway.hub):
            await writer.ask(m.Ping(), m.Pong)
        closed = gateway.metrics.registry.get_sample_value(
            "quantum_gateway_connections_closed_total", {"code": CloseCode.SLOW_CONSUMER.name}
        )
        assert closed == 1
        for client in (deaf, reader, writer):
            await client.dialed.cut()


async def test_a_slow_listener_may_lose_the_oldest_and_is_told(tmp_path: Path) -> None:
    bounds = {"outbox_messages": 16, "policy": "drop_oldest"}
    async with running(tmp_path, client=bounds) as gateway:
        slow = await Speaker.logged_in(gateway, "bob")
        await slow.ask(m.Subscribe("room"), m.Subscribed)
        [slow_client] = gateway.hub
        writer = await Speaker.logged_in(gateway)
        slow._reader.cancel()
        while not slow_client.outbox.dropped:
            await writer.ask(m.Publish("room"), m.Published, payload=b"x" * 100_000)
        last = await writer.ask(m.Publish("room"), m.Published)
        offsets, told = [], False
        while not offsets or offsets[-1] != last.offset:
            envelope = slow.codec.decode(await slow.dialed.receive())
            if isinstance(envelope.body, m.Resync):
                told = envelope.body.channel == "room"
            else:
                offsets.append(envelope.offset)
        assert told
        assert offsets == sorted(offsets)
        assert len(offsets) < last.offset
        await slow.dialed.cut()
        await writer.cut()
