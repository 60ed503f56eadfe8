"""Sessions at the gateway: login, resume, takeover, expiry, revocation; over real sockets."""

from pathlib import Path

import pytest

from gateway import messages as m
from gateway.app import DEV_PASSWORD
from gateway.close_codes import CloseCode
from gateway.errors import Code
from tests.support.gateways import Refusal, Speaker, running
from tests.support.web import request

pytestmark = pytest.mark.integration
EVERY_DOOR = pytest.mark.parametrize(
    ("transport", "codec"),
    [(door, codec) for door in ("websocket", "http", "quantum") for codec in ("json", "protobuf")],
)


@EVERY_DOOR
async def test_a_client_greets_logs_in_and_pings(
    tmp_path: Path, transport: str, codec: str
) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.to(gateway, transport, codec)
        welcome = await client.ask(m.Hello(1), m.Welcome)
        assert (welcome.protocol, welcome.node, welcome.max_message_bytes) == (1, "test", 1 << 20)
        login = m.Login(username="alice", password=DEV_PASSWORD)
        session = await client.ask(login, m.Session)
        assert session.session
        assert session.session_token
        assert session.username == "alice"
        assert not session.resumed
        pong = await client.ask(m.Ping(sent_ms=7), m.Pong)
        assert pong.sent_ms == 7
        await client.cut()


async def test_a_client_may_ask_everything_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.to(gateway)
        hello = await client.post(m.Hello(1))
        login = await client.post(m.Login(username="alice", password=DEV_PASSWORD))
        joined = await client.post(m.Subscribe("news"))
        assert await client.reply(hello, m.Welcome)
        assert await client.reply(login, m.Session)
        assert await client.reply(joined, m.Subscribed)
        await client.cut()


@pytest.mark.parametrize(
    ("login", "code"),
    [
        (m.Login(username="alice", password="wrong"), Code.UNAUTHENTICATED),
        (m.Login(username="nobody", password=DEV_PASSWORD), Code.UNAUTHENTICATED),
        (m.Login(username="alice"), Code.INVALID),
        (m.Login(), Code.INVALID),
        (m.Login(token="x.y.z"), Code.UNAUTHENTICATED),
        (m.Resume("no-such-session", "token"), Code.INVALID),
        (m.Resume("01890a5d-ac96-774b-bcce-b302099a8057", "token"), Code.NOT_FOUND),
        (m.Refresh("a.b"), Code.UNAUTHENTICATED),
        (m.Hello(99), Code.INVALID),
    ],
)
async def test_a_wrong_login_gets_one_sentence_and_may_try_again(
    tmp_path: Path, login: m.Body, code: Code
) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.to(gateway)
        with pytest.raises(Refusal) as caught:
            await client.ask(login, m.Session)
        assert caught.value.body.code == code
        assert len(caught.value.body.message) > 10
        assert await client.ask(m.Login(username="alice", password=DEV_PASSWORD), m.Session)
        await client.cut()


async def test_an_access_token_logs_in(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        first = await Speaker.logged_in(gateway)
        assert first.session is not None
        second = await Speaker.to(gateway)
        session = await second.ask(m.Login(token=first.session.access_token), m.Session)
        assert session.user == first.session.user
        assert session.session != first.session.session
        tokens = await second.ask(m.Refresh(first.session.refresh_token), m.Tokens)
        assert tokens.access_token
        assert tokens.refresh_token != first.session.refresh_token
        await first.cut()
        await second.cut()


async def test_nothing_but_a_login_is_possible_before_one(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.to(gateway)
        for body in (m.Subscribe("c"), m.Publish("c"), m.DocumentList(), m.Logout()):
            with pytest.raises(Refusal, match="needs a login"):
                await client.ask(body, m.Done)
        await client.cut()


async def test_a_second_login_on_a_connection_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        with pytest.raises(Refusal, match="logged in already"):
            await client.ask(m.Login(username="bob", password=DEV_PASSWORD), m.Session)
        await client.ask(m.Logout(), m.Done)
        session = await client.ask(m.Login(username="bob", password=DEV_PASSWORD), m.Session)
        assert session.username == "bob"
        await client.cut()


async def test_a_session_is_resumed_with_what_its_channels_missed(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        writer = await Speaker.logged_in(gateway, "bob")
        reader = await Speaker.logged_in(gateway, "alice")
        assert reader.session is not None
        joined = await reader.ask(m.Subscribe("news"), m.Subscribed)
        await writer.ask(m.Publish("news", "one"), m.Published)
        seen = await reader.push()
        await reader.cut()
        for word in ("two", "three"):
            await writer.ask(m.Publish("news", word), m.Published)
        again = await Speaker.to(gateway, "http")
        position = m.Position("news", seen.offset, seen.epoch)
        resume = m.Resume(reader.session.session, reader.session.session_token, (position,))
        session = await again.ask(resume, m.Session)
        assert session.resumed
        assert session.session == reader.session.session
        assert session.channels == (m.Recovered("news", 3, joined.epoch, True),)
        pushes = [await again.push() for _ in range(2)]
        assert [(p.offset, p.body.value) for p in pushes if isinstance(p.body, m.Message)] == [
            (2, "two"),
            (3, "three"),
        ]
        await again.cut()
        await writer.cut()


async def test_a_lost_history_is_said_to_be_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        assert client.session is not None
        joined = await client.ask(m.Subscribe("news"), m.Subscribed)
        for n in range(300):
            await client.ask(m.Publish("news", n), m.Published)
        await client.cut()
        again = await Speaker.to(gateway)
        positions = (
            m.Position("news", 0, joined.epoch),
            m.Position("other", 5, "an epoch that never was"),
        )
        resume = m.Resume(client.session.session, client.session.session_token, positions)
        session = await again.ask(resume, m.Session)
        assert [channel.recovered for channel in session.channels] == [False, False]
        assert session.channels[0].offset == 300
        await again.ask(m.Publish("news", "after"), m.Published)
        pushed = await again.push()
        assert pushed.offset == 301
        await again.cut()


async def test_a_resume_takes_the_session_from_the_older_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        first = await Speaker.logged_in(gateway)
        assert first.session is not None
        second = await Speaker.to(gateway)
        await second.ask(m.Resume(first.session.session, first.session.session_token), m.Session)
        assert await first.end() == CloseCode.SESSION_REPLACED
        session = await gateway.sessions.get(first.session.session)
        assert session.connection_id
        await second.cut()


async def test_a_stolen_session_id_is_not_enough(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        first = await Speaker.logged_in(gateway)
        assert first.session is not None
        thief = await Speaker.to(gateway)
        with pytest.raises(Refusal) as caught:
            await thief.ask(m.Resume(first.session.session, "guess"), m.Session)
        assert caught.value.body.code == Code.UNAUTHENTICATED
        assert await first.ask(m.Ping(), m.Pong)
        await first.cut()
        await thief.cut()


async def test_a_logout_ends_the_session_for_good(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        assert client.session is not None
        await client.ask(m.Logout(), m.Done)
        with pytest.raises(Refusal) as caught:
            await client.ask(
                m.Resume(client.session.session, client.session.session_token), m.Session
            )
        assert caught.value.body.code == Code.EXPIRED
        with pytest.raises(Refusal):
            await client.ask(m.Refresh(client.session.refresh_token), m.Tokens)
        await client.cut()


async def test_a_disabled_account_loses_every_door_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        session = client.session
        assert session is not None
        gateway.users.disable("alice")
        await gateway._session_handlers.revoke([session.user], gateway._families.delete_user)
        assert await client.end() == CloseCode.REVOKED
        again = await Speaker.to(gateway)
        for body in (
            m.Login(username="alice", password=DEV_PASSWORD),
            m.Login(token=session.access_token),
            m.Resume(session.session, session.session_token),
            m.Refresh(session.refresh_token),
        ):
            with pytest.raises(Refusal):
                await again.ask(body, m.Session)
        assert gateway.web is not None
        answer = await request(
            gateway.web.port, "GET", "/api/v1/auth/me", token=session.access_token
        )
        assert answer.status == 403
        await again.cut()


async def test_a_user_disabled_in_the_file_is_noticed_by_the_sweep(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        path = gateway.config.users_path
        text = path.read_text().replace("username: alice", "username: alice\n  disabled: true")
        path.write_text(text)
        assert await client.end() == CloseCode.REVOKED


async def test_too_many_logins_from_an_address_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, auth={"logins_per_minute": 3}) as gateway:
        client = await Speaker.to(gateway)
        for _ in range(3):
            with pytest.raises(Refusal, match="is wrong"):
                await client.ask(m.Login(username="alice", password="guess"), m.Session)
        with pytest.raises(Refusal, match="too many logins") as caught:
            await client.ask(m.Login(username="alice", password=DEV_PASSWORD), m.Session)
        assert caught.value.body.retry
        assert caught.value.body.retry_after_ms > 0
        await client.cut()


async def test_a_client_that_does_not_log_in_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path, client={"login_timeout_s": 0.3}) as gateway:
        client = await Speaker.to(gateway)
        assert await client.end() == CloseCode.LOGIN_TIMEOUT


async def test_a_silent_client_is_closed_and_its_session_waits_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, client={"idle_timeout_s": 0.5}) as gateway:
        client = await Speaker.logged_in(gateway)
        assert client.session is not None
        assert await client.end() == CloseCode.IDLE
        again = await Speaker.to(gateway)
        resume = m.Resume(client.session.session, client.session.session_token)
        assert (await again.ask(resume, m.Session)).resumed
        await again.cut()


async def test_a_repeated_index_ends_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        assert await client.ask(m.Ping(), m.Pong, index=5)
        assert await client.ask(m.Ping(), m.Pong, index=6)
        await client.post(m.Ping(), index=6)
        assert await client.end() == CloseCode.REPLAYED


async def test_a_stopping_gateway_tells_its_clients_to_move(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        client = await Speaker.logged_in(gateway)
        await gateway.drain()
        notice = await client.push()
        assert isinstance(notice.body, m.GoingAway)
        assert await client.end() == CloseCode.GOING_AWAY
        assert len(gateway.hub) == 0
