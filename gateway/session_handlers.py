"""Hello, login, resume, refresh, logout, ping: how a connection gets a user and a session.

A session outlives its connection. Resume needs its id and its token, takes it from the connection
that had it, and says of each channel whether what was missed follows.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from gateway import messages as m
from gateway.client import Client, Encoded
from gateway.close_codes import CloseCode
from gateway.errors import Code, GatewayError
from gateway.hub import Hub
from gateway.identity import Identity
from gateway.middleware import Handler
from gateway.middleware.rate_limit import AddressLimiter
from gateway.tokens import TokenIssuer, TokenPair
from gateway.users import UserStore
from session.api import NewSession, SessionChange, SessionError, SessionService, SessionState
from svckit.clock import Clock
from svckit.logs import logger

_log = logger("gateway.session")
_BEAT_S = 15.0
_BEAT = "beat_ns"
_MAX_POSITIONS = 256


class DocumentResumer(Protocol):
    """What resume needs of documents."""

    async def resume(
        self, client: Client, position: m.Position
    ) -> tuple[m.Recovered, Callable[[], None]]:
        """Watch a document from a position; returns the outcome and what starts the events."""
        ...

    async def forget(self, client: Client) -> None:
        """End all watches of a client; what it had submitted is still applied."""
        ...


class SessionHandlers:
    """The handlers of sessions."""

    def __init__(
        self,
        sessions: SessionService,
        users: UserStore,
        tokens: TokenIssuer,
        hub: Hub,
        documents: DocumentResumer,
        logins: AddressLimiter,
        clock: Clock,
        welcome: m.Welcome,
    ) -> None:
        self._sessions = sessions
        self._users = users
        self._tokens = tokens
        self._hub = hub
        self._documents = documents
        self._logins = logins
        self._clock = clock
        self._welcome = welcome

    def handlers(self) -> dict[m.Kind, Handler]:
        """Return the handler of each kind."""
        return {
            m.Kind.HELLO: self.hello,
            m.Kind.LOGIN: self.login,
            m.Kind.RESUME: self.resume,
            m.Kind.REFRESH: self.refresh,
            m.Kind.LOGOUT: self.logout,
            m.Kind.PING: self.ping,
        }

    async def hello(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Answer with what this gateway is."""
        body = cast(m.Hello, envelope.body)
        if body.protocol != m.PROTOCOL_VERSION:
            raise GatewayError(
                Code.INVALID,
                f"this gateway speaks protocol {m.PROTOCOL_VERSION}, not {body.protocol}",
            )
        known = self._welcome
        return m.Welcome(
            protocol=known.protocol,
            server=known.server,
            node=known.node,
            max_message_bytes=known.max_message_bytes,
            heartbeat_s=known.heartbeat_s,
            idle_s=known.idle_s,
            server_time_ms=self._clock.wall_ns() // 1_000_000,
        )

    async def ping(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Answer with the time."""
        body = cast(m.Ping, envelope.body)
        return m.Pong(body.sent_ms, self._clock.wall_ns() // 1_000_000)

    async def login(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Give the connection a user and a new session."""
        body = cast(m.Login, envelope.body)
        self._refuse_second(client)
        self._logins.check(client.peer.host, "logins")
        identity, pair = await self._believe(body)
        created = await self._sessions.create(
            NewSession(
                user_id=identity.user_id,
                connection_id=client.id,
                client_ip=client.peer.host,
                client_port=client.peer.port,
                server_addr=self._welcome.node,
                metadata={**body.metadata, "transport": client.peer.transport},
            )
        )
        await self._sessions.heartbeat(created.session.id)
        self._attach(client, identity, created.session.id)
        return m.Session(
            session=created.session.id,
            user=identity.user_id,
            username=identity.username,
            session_token=created.token,
            access_token=pair.access_token if pair else "",
            refresh_token=pair.refresh_token if pair else "",
            expires_s=pair.expires_s if pair else 0,
        )

    async def resume(self, client: Client, envelope: m.Envelope) -> None:
        """Continue a session, and its channels from where the client says it was."""
        body = cast(m.Resume, envelope.body)
        self._refuse_second(client)
        self._logins.check(client.peer.host, "logins")
        if len(body.positions) > _MAX_POSITIONS:
            raise GatewayError(Code.INVALID, f"at most {_MAX_POSITIONS} positions can be resumed")
        session = await self._sessions.verify(body.session, body.session_token)
        identity = self._users.find(session.user_id)
        if identity is None:
            raise GatewayError(Code.FORBIDDEN, "this account is disabled or gone")
        await self._sessions.update(
            session.id,
            SessionChange(
                state=SessionState.ACTIVE,
                connection_id=client.id,
                client_ip=client.peer.host,
                client_port=client.peer.port,
                server_addr=self._welcome.node,
                metadata={"transport": client.peer.transport},
            ),
        )
        previous = self._attach(client, identity, session.id)
        if previous is not None:
            await previous.close(CloseCode.SESSION_REPLACED)
        outcomes: list[m.Recovered] = []
        starts: list[Callable[[], None]] = []
        for position in body.positions:
            if m.document_of(position.channel) is not None:
                outcome, start = await self._documents.resume(client, position)
                outcomes.append(outcome)
                starts.append(start)
        # From here to the pushes nothing is awaited, so that no publication comes between.
        missed: list[Encoded] = []
        for position in body.positions:
            if m.document_of(position.channel) is None:
                outcome, found = self._hub.join(client, position.channel, position)
                outcomes.append(outcome)
                missed.extend(found)
        client.reply(
            envelope.id,
            m.Session(
                session=session.id,
                user=identity.user_id,
                username=identity.username,
                resumed=True,
                channels=tuple(outcomes),
            ),
        )
        for message in missed:
            client.push(message)
        for start in starts:
            start()

    async def refresh(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Trade a refresh token for the next pair."""
        body = cast(m.Refresh, envelope.body)
        self._logins.check(client.peer.host, "logins")
        pair = await self._tokens.refresh(body.refresh_token, self._users.find)
        return m.Tokens(pair.access_token, pair.refresh_token, pair.expires_s)

    async def logout(self, client: Client, envelope: m.Envelope) -> m.Body:
        """End the session for good."""
        session_id, identity = client.session_id, client.identity
        assert identity is not None
        await self._documents.forget(client)
        self._hub.unbind(client)
        await self._sessions.delete(session_id, "logout")
        await self._tokens.revoke(identity)
        client.log_out()
        return m.Done()

    async def detach(self, client: Client) -> None:
        """Note that a session's connection has ended, unless another has taken it over."""
        if not client.session_id:
            return
        held = self._hub.of_session(client.session_id) is client
        self._hub.unbind(client)
        if held:
            change = SessionChange(state=SessionState.DISCONNECTING, connection_id="")
            try:
                await self._sessions.update(client.session_id, change)
            except SessionError as error:
                _log.info("session not detached", session=client.session_id, reason=error.reason)

    async def beat(self) -> None:
        """Extend the sessions of clients that were heard; close those whose session has ended."""
        now_ns = self._clock.monotonic_ns()
        for client in self._hub:
            last_ns = client.attachments.get(_BEAT, 0)
            is_due = (now_ns - last_ns) / 1e9 >= _BEAT_S and client.heard_ns > last_ns
            if not client.is_ready or not is_due:
                continue
            client.attachments[_BEAT] = now_ns
            try:
                await self._sessions.heartbeat(client.session_id)
            except SessionError as error:
                if not error.retry:
                    await client.close(CloseCode.SESSION_EXPIRED, error.reason)

    async def revoke(self, user_ids: list[str], forget: Callable[[str], Awaitable[None]]) -> None:
        """Close every connection of users that were disabled, and *forget* their logins."""
        for user_id in user_ids:
            await forget(user_id)
            for client in self._hub.of_user(user_id):
                await client.close(CloseCode.REVOKED)

    def _attach(self, client: Client, identity: Identity, session_id: str) -> Client | None:
        client.authenticate(identity, session_id)
        client.attachments[_BEAT] = self._clock.monotonic_ns()
        return self._hub.bind(client)

    async def _believe(self, body: m.Login) -> tuple[Identity, TokenPair | None]:
        if body.token:
            claimed = self._tokens.check(body.token)
            found = self._users.find(claimed.user_id)
            if found is None:
                raise GatewayError(Code.FORBIDDEN, "this account is disabled or gone")
            return found, None
        if not body.username or not body.password:
            raise GatewayError(
                Code.INVALID, "login needs the field 'token', or 'username' and 'password'"
            )
        user = await self._users.check(body.username, body.password)
        pair = await self._tokens.issue(user.identity)
        return pair.identity, pair

    def _refuse_second(self, client: Client) -> None:
        if client.identity is not None:
            raise GatewayError(Code.CONFLICT, "this connection is logged in already; log out first")


BACKENDS: Mapping[m.Kind, str] = {
    m.Kind.LOGIN: "session",
    m.Kind.RESUME: "session",
    m.Kind.LOGOUT: "session",
}
