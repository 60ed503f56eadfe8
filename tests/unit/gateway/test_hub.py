"""Channels: fan-out, history and bounds, by an injected clock and clients without sockets."""

from collections.abc import AsyncIterator, Sequence

import pytest

from gateway import codecs
from gateway import messages as m
from gateway.client import Client, Encoded
from gateway.close_codes import CloseCode
from gateway.errors import GatewayError
from gateway.hub import Hub, HubLimits
from gateway.identity import Identity
from gateway.limits import ClientLimits
from gateway.outbox import Policy
from tests.support.gateway_clock import ManualClock


class Nowhere:
    """A peer that is never read from nor written to."""

    transport = "none"
    host = "192.0.2.1"
    port = 1

    async def frames(self) -> AsyncIterator[bytes]:
        return
        yield b""

    async def send(self, frames: Sequence[bytes]) -> None:
        raise AssertionError("nothing writes in these tests")

    async def close(self, code: CloseCode, reason: str = "") -> None:
        raise AssertionError("nothing closes in these tests")


class Room:
    """A hub with a clock and clients."""

    def __init__(self, **limits: float) -> None:
        self.clock = ManualClock()
        self._epochs = 0
        self.hub = Hub(self.clock, self._epoch, HubLimits(**limits))  # type: ignore[arg-type]

    def _epoch(self) -> str:
        self._epochs += 1
        return f"epoch-{self._epochs}"

    def client(self, name: str, codec: str = "json", limits: ClientLimits | None = None) -> Client:
        limits = limits or ClientLimits()
        client = Client(name, Nowhere(), codecs.load(codec), codecs.sniff, limits, self.clock)
        client.authenticate(Identity(f"user-{name}", name), f"session-{name}")
        self.hub.add(client)
        self.hub.bind(client)
        return client


def queued(client: Client) -> list[m.Envelope]:
    return [client.codec.decode(data) for data in client.outbox.take(1 << 30)]


def test_listeners_of_one_codec_share_the_same_bytes() -> None:
    room = Room()
    clients = [room.client(str(n)) for n in range(3)]
    for client in clients:
        room.hub.join(client, "c")
    room.hub.publish("c", value={"a": 1})
    first, second, third = (client.outbox.take(1 << 20)[0] for client in clients)
    assert first is second is third


def test_offsets_grow_by_one_in_each_channel() -> None:
    hub = Room().hub
    assert [hub.publish("c")[0] for _ in range(3)] == [1, 2, 3]
    assert hub.publish("d")[0] == 1


def test_history_is_bounded_in_messages_and_in_bytes() -> None:
    room = Room(history_messages=3, history_bytes=500)
    client = room.client("a")
    for _ in range(5):
        epoch = room.hub.publish("c")[1]
    assert room.hub.join(client, "c", m.Position("c", 1, epoch))[0].recovered is False
    outcome, missed = room.hub.join(client, "c", m.Position("c", 2, epoch))
    assert outcome.recovered
    assert [e.envelope.offset for e in missed] == [3, 4, 5]
    room.hub.publish("c", payload=b"x" * 400)
    assert room.hub.join(client, "c", m.Position("c", 4, epoch))[0].recovered is False
    assert room.hub.join(client, "c", m.Position("c", 5, epoch))[0].recovered


def test_history_ends_with_time() -> None:
    room = Room(history_s=60)
    client = room.client("a")
    epoch = room.hub.publish("c")[1]
    room.clock.advance(61)
    room.hub.publish("c")
    room.hub.sweep()
    assert room.hub.join(client, "c", m.Position("c", 0, epoch))[0].recovered is False
    assert room.hub.join(client, "c", m.Position("c", 1, epoch))[0].recovered


def test_a_forgotten_channel_comes_back_with_another_epoch() -> None:
    room = Room(history_s=60)
    epoch = room.hub.publish("c")[1]
    room.clock.advance(61)
    room.hub.sweep()
    assert room.hub.channels == 0
    outcome, _ = room.hub.join(room.client("a"), "c", m.Position("c", 1, epoch))
    assert outcome.epoch != epoch
    assert not outcome.recovered


def test_a_channel_with_listeners_is_not_forgotten() -> None:
    room = Room(history_s=60)
    room.hub.join(room.client("a"), "c")
    room.clock.advance(1000)
    room.hub.sweep()
    assert room.hub.channels == 1


def test_the_table_of_channels_is_bounded() -> None:
    room = Room(max_channels=10)
    client = room.client("a")
    room.hub.join(client, "kept")
    for n in range(1000):
        room.hub.publish(f"c{n}")
    assert room.hub.channels == 10
    assert room.hub.listeners("kept") == 1
    for n in range(9):
        room.hub.join(client, f"held{n}")
    with pytest.raises(GatewayError, match="too many channels"):
        room.hub.publish("one more")


def test_a_client_that_leaves_is_forgotten_everywhere() -> None:
    room = Room()
    client = room.client("a")
    room.hub.join(client, "c")
    room.hub.remove(client)
    assert (len(room.hub), room.hub.users, room.hub.listeners("c")) == (0, 0, 0)
    assert room.hub.of_session("session-a") is None
    room.hub.remove(client)


def test_a_session_belongs_to_its_newest_connection() -> None:
    room = Room()
    old, new = room.client("a"), room.client("b")
    new.session_id = old.session_id
    assert room.hub.bind(new) is old
    room.hub.remove(old)
    assert room.hub.of_session("session-a") is new


def test_a_listener_that_coalesces_keeps_the_newest_of_each_key() -> None:
    room = Room()
    client = room.client("a", limits=ClientLimits(policy=Policy.COALESCE))
    room.hub.join(client, "c")
    for n in range(5):
        room.hub.publish("c", value=n, key="cursor")
    room.hub.publish("c", value="text")
    assert [e.body.value for e in queued(client) if isinstance(e.body, m.Message)] == [4, "text"]


def test_deadlines_name_the_clients_that_broke_them() -> None:
    room = Room()
    limits = ClientLimits(login_timeout_s=5, idle_timeout_s=50)
    ready = room.client("a", limits=limits)
    stranger = Client("b", Nowhere(), codecs.load("json"), codecs.sniff, limits, room.clock)
    room.hub.add(stranger)
    assert room.hub.overdue() == []
    room.clock.advance(6)
    assert room.hub.overdue() == [(stranger, CloseCode.LOGIN_TIMEOUT)]
    room.hub.remove(stranger)
    room.clock.advance(46)
    assert room.hub.overdue() == [(ready, CloseCode.IDLE)]
    ready.track(1)
    assert room.hub.overdue() == [], "a client that waits for an answer is not idle"


def test_an_envelope_is_encoded_once_for_each_codec() -> None:
    encoded = Encoded(m.Envelope(m.Ping(1)))
    for name in codecs.CODECS:
        codec = codecs.load(name)
        assert encoded.for_codec(codec) is encoded.for_codec(codec)
        assert codec.decode(encoded.for_codec(codec)).body == m.Ping(1)
