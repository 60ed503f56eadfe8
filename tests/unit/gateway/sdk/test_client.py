import asyncio

import pytest

from gateway.close_codes import CloseCode
from gateway.messages import Error, Login, Ping, Resume
from gateway.sdk import (
    AuthenticationFailed,
    ClientClosed,
    ClientConfig,
    ConnectFailed,
    InvalidCall,
    RequestRefused,
    RequestTimeout,
    connect,
)
from tests.support.fake_gateway import FakeGateway
from tests.support.sdk_clients import EAGER, make_client, until


async def test_a_client_logs_in_once() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        assert (client.username, client.session_id, client.is_online) == ("ann", "s1", True)
    assert sum(isinstance(item.body, Login) for item in gateway.seen) == 1


async def test_a_wrong_password_is_said_in_words() -> None:
    with pytest.raises(AuthenticationFailed, match="password is wrong"):
        await make_client(FakeGateway(), login=("ann", "guess")).start()


async def test_a_gateway_that_is_down_fails_the_first_connect_at_once() -> None:
    gateway = FakeGateway()
    gateway.is_down = True
    with pytest.raises(ConnectFailed):
        await make_client(gateway).start()


async def test_a_gateway_that_never_answers_fails_the_connect_in_time() -> None:
    gateway = FakeGateway()
    client = make_client(gateway, ClientConfig(connect_timeout_s=0.05))
    opening = gateway.open_door

    async def mute(*args: object) -> object:
        door = await opening(*args)  # type: ignore[arg-type]
        door.is_mute = True
        return door

    client._open_door = mute  # type: ignore[assignment]
    with pytest.raises((ConnectFailed, RequestTimeout), match="did not answer"):
        await client.start()
    assert gateway.doors == []


def test_token_and_login_exclude_each_other() -> None:
    with pytest.raises(InvalidCall, match="either token"):
        connect("ws://127.0.0.1:1/ws")
    with pytest.raises(InvalidCall, match="either token"):
        connect("ws://127.0.0.1:1/ws", token="t", login=("a", "b"))


def test_a_config_value_out_of_range_is_named() -> None:
    with pytest.raises(InvalidCall, match="ping_interval_s"):
        ClientConfig(ping_interval_s=0)


async def test_a_lost_connection_is_replaced_and_the_session_resumed() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.cut_all()
        await until(lambda: client.reconnects == 1)
        assert client.session_id == "s1"
        assert client.resumptions == 1
    assert sum(isinstance(item.body, Login) for item in gateway.seen) == 1


async def test_a_gateway_that_forgot_the_session_gets_a_new_login() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.sessions.clear()
        gateway.cut_all()
        await until(lambda: client.reconnects == 1)
        assert client.session_id == "s2"
    assert any(isinstance(item.body, Resume) for item in gateway.seen)


async def test_a_client_keeps_trying_while_the_gateway_is_down() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.go_down()
        await until(lambda: gateway.opened > 5)
        assert not client.is_online
        gateway.is_down = False
        await client.online()
        assert client.reconnects == 1


async def test_a_close_code_that_forbids_it_ends_the_client() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.cut_all(CloseCode.REVOKED, CloseCode.REVOKED.sentence)
        with pytest.raises(ClientClosed, match="revoked"):
            await asyncio.wait_for(_fails(client), 5)


async def _fails(client: object) -> None:
    while True:
        await client.list_documents()  # type: ignore[attr-defined]


async def test_silence_counts_as_death() -> None:
    gateway = FakeGateway()
    now = 0

    def clock() -> int:
        return now

    async with make_client(gateway, EAGER, clock=clock) as client:
        gateway.doors[0].is_mute = True
        now = 20_000_000_000
        await until(lambda: client.reconnects == 1)
        assert gateway.opened == 2


async def test_pings_measure_the_round_trip() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        await until(lambda: client.rtt_ns > 0)
        assert any(isinstance(item.body, Ping) for item in gateway.seen)


async def test_a_request_waits_for_the_connection_and_times_out_in_words() -> None:
    gateway = FakeGateway()
    config = ClientConfig(request_timeout_s=0.05, backoff_min_s=0, backoff_max_s=0)
    async with make_client(gateway, config) as client:
        gateway.go_down()
        with pytest.raises(RequestTimeout, match="no connection"):
            await client.history("d")


async def test_a_stopping_gateway_is_left_and_found_again() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.say_going_away()
        await until(lambda: client.reconnects == 1)
        assert client.is_online


async def test_a_refusal_carries_its_code() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        with pytest.raises(RequestRefused, match="no document") as refused:
            await client.open_document("nowhere")
        assert refused.value.code == "not_found"


async def test_a_channel_delivers_and_survives_a_reconnect() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as one, make_client(gateway) as two:
        channel = await one.subscribe("news")
        await two.publish("news", {"n": 1})
        assert (await anext(channel)).value == {"n": 1}
        gateway.cut_all()
        await until(lambda: one.reconnects == two.reconnects == 1)
        await two.publish("news", {"n": 2})
        assert (await anext(channel)).value == {"n": 2}
        assert channel.is_whole


async def test_a_channel_that_is_not_read_says_how_much_it_missed() -> None:
    gateway = FakeGateway()
    config = ClientConfig(max_events=2)
    async with make_client(gateway, config) as client:
        channel = await client.subscribe("news")
        for number in range(5):
            await client.publish("news", number)
        first = await anext(channel)
        assert (first.value, first.missed) == (3, 3)


async def test_a_closed_client_says_so() -> None:
    client = make_client(FakeGateway())
    await client.start()
    await client.close()
    with pytest.raises(ClientClosed, match="connect again"):
        await client.list_documents()


async def test_garbage_from_the_gateway_is_counted_and_survived() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        gateway.doors[0].inbound.put_nowait(b"\xff\xff garbage")
        link = client.link
        assert link is not None
        await until(lambda: link.bad_messages == 1)
        gateway.add_text("d")
        assert (await client.open_document("d")).text == ""


async def test_too_much_garbage_ends_the_connection() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        for _ in range(100):
            gateway.doors[0].inbound.put_nowait(b"\xff")
        await until(lambda: client.reconnects == 1)


async def test_an_error_nobody_asked_for_is_ignored() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        from gateway.messages import Envelope

        gateway.tell_all(Envelope(Error("malformed", "what?"), id=9_999))
        gateway.tell_all(Envelope(Error("malformed", "what?")))
        gateway.add_text("d")
        await client.open_document("d")
        assert client.reconnects == 0
