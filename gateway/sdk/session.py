"""Who a client is: its proof, the session it was given, and how to take that up again.

It talks over a link that is given; when to do so is the client's business.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.close_codes import CloseCode
from gateway.errors import Code
from gateway.messages import (
    PROTOCOL_VERSION,
    Body,
    Envelope,
    Hello,
    Login,
    Position,
    Resume,
    Session,
    Welcome,
)
from gateway.sdk.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    InvalidCall,
    RequestRefused,
)
from gateway.sdk.link import Link

Token = str | Callable[[], Awaitable[str]]
B = TypeVar("B")


class Identity:
    """A user's proof and session."""

    def __init__(self, token: Token | None, login: tuple[str, str] | None, url: str) -> None:
        if (token is None) == (login is None):
            raise InvalidCall("give either token=... or login=(user, password)")
        if token == "" or (login is not None and not all(login)):
            raise InvalidCall("the token, the user or the password is empty")
        self.session_id = ""
        self.user = ""
        self.username = ""
        self._token = token
        self._login = login
        self._url = url
        self._session_token = ""

    async def greet(self, link: Link, name: str, timeout_s: float) -> Welcome:
        """Open the conversation. Raises `ConnectFailed`."""
        hello = Hello(protocol=PROTOCOL_VERSION, client=name or "quantum-sdk")
        return await self.ask(link, hello, Welcome, timeout_s)

    async def resume(
        self, link: Link, positions: tuple[Position, ...], timeout_s: float
    ) -> Session | None:
        """Take the session up again; None when there is none any more and a login is due."""
        if not self.session_id or not self._session_token:
            return None
        body = Resume(self.session_id, self._session_token, positions)
        try:
            session = await self.ask(link, body, Session, timeout_s)
        except RequestRefused as refused:
            if refused.retry:
                raise ConnectFailed(refused.reason) from refused
            return None
        if not session.resumed:
            return None
        self._adopt(session)
        return session

    async def log_in(self, link: Link, timeout_s: float) -> None:
        """Start a session. Raises `AuthenticationFailed` when the proof is not accepted."""
        if self._login is not None:
            username, password = self._login
            body = Login(username=username, password=password)
        else:
            token = self._token
            assert token is not None
            body = Login(token=token if isinstance(token, str) else await token())
        try:
            self._adopt(await self.ask(link, body, Session, timeout_s))
        except RequestRefused as refused:
            if refused.code in (Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.INVALID):
                raise AuthenticationFailed(refused.reason, remote=True) from refused
            if refused.retry:
                raise ConnectFailed(refused.reason) from refused
            raise

    def forget(self) -> None:
        """Give the session up; the next connection logs in."""
        self.session_id = ""

    async def ask(self, link: Link, body: Body, expected: type[B], timeout_s: float) -> B:
        """Ask during the greeting; a close there becomes the error that its code stands for."""
        try:
            reply = await link.reply(body, timeout_s)
        except ConnectionLost:
            code, reason = link.reason.code, link.reason.reason
            if code in (CloseCode.UNAUTHENTICATED, CloseCode.REVOKED):
                raise AuthenticationFailed(reason, remote=True) from None
            raise ConnectFailed(f"the gateway at {self._url} hung up: {reason}") from None
        return expect(reply, expected)

    def _adopt(self, session: Session) -> None:
        self.session_id = session.session
        self.user = session.user or self.user
        self.username = session.username or self.username
        self._session_token = session.session_token or self._session_token


def expect(reply: Envelope, kind: type[B]) -> B:
    """Return the body of *reply* as *kind*. Raises `RequestRefused` for any other."""
    body = reply.body
    if not isinstance(body, kind):
        raise RequestRefused("unexpected", f"the gateway answered with a {reply.kind.value!r}")
    return body
