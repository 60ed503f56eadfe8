"""Gateways in this process, and a client that speaks envelopes over any transport."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from argon2 import PasswordHasher

from gateway import codecs
from gateway import messages as m
from gateway.app import DEV_PASSWORD, Gateway
from gateway.config import GatewayConfig, load_config
from svckit.clock import Clock
from tests.support.dialers import Dialed, Ended, dial

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
B = TypeVar("B", bound=m.Body)


def config(folder: Path, **overrides: Any) -> GatewayConfig:
    """Return settings for a test: loopback, free ports, the TCP doors, users alice and bob."""
    plain: dict[str, Any] = {
        "mode": "dev",
        "node": "test",
        "data_dir": folder,
        "quantum": {"port": 0},
        "http": {"port": 0},
        "services": {"store": "memory"},
        "auth": {"logins_per_minute": 10_000},
        "drain_s": 5.0,
    }
    for name, value in overrides.items():
        plain[name] = {**plain[name], **value} if isinstance(plain.get(name), dict) else value
    return load_config(None, plain)


@asynccontextmanager
async def running(
    folder: Path, *, clock: Clock | None = None, **overrides: Any
) -> AsyncIterator[Gateway]:
    """Run a gateway."""
    gateway = Gateway(config(folder, **overrides), clock, hasher=CHEAP)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.close()


class Refusal(Exception):
    """An `Error` reply."""

    def __init__(self, body: m.Error) -> None:
        super().__init__(f"{body.code}: {body.message}")
        self.body = body


class Speaker:
    """A client that asks, waits for the reply, and keeps the pushes."""

    def __init__(self, dialed: Dialed, codec: str) -> None:
        self.dialed = dialed
        self.codec = codecs.load(codec)
        self.pushes: deque[m.Envelope] = deque()
        self.closed: int | None = None
        self.session: m.Session | None = None
        self._ids = 0
        self._replies: dict[int, deque[m.Envelope]] = {}
        self._news = asyncio.Condition()
        self._has_ended = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def to(
        cls, gateway: Gateway, transport: str = "websocket", codec: str = "json"
    ) -> "Speaker":
        return cls(await dial(transport, gateway.urls[transport]), codec)

    @classmethod
    async def logged_in(
        cls,
        gateway: Gateway,
        user: str = "alice",
        transport: str = "websocket",
        codec: str = "json",
    ) -> "Speaker":
        found = await cls.to(gateway, transport, codec)
        body = m.Login(username=user, password=DEV_PASSWORD)
        found.session = await found.ask(body, m.Session)
        return found

    async def post(self, body: m.Body, **head: Any) -> int:
        """Send a request without waiting; returns its id."""
        self._ids += 1
        await self.dialed.send(self.codec.encode(m.Envelope(body, id=self._ids, **head)))
        return self._ids

    async def reply(self, request_id: int, kind: type[B]) -> B:
        """Return the next reply to a request. Raises `Refusal` or `Ended`."""

        def has_come() -> bool:
            return bool(self._replies.get(request_id)) or self._has_ended

        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(has_come)
        if not self._replies.get(request_id):
            raise Ended(self.closed)
        body = self._replies[request_id].popleft().body
        if isinstance(body, m.Error):
            raise Refusal(body)
        assert isinstance(body, kind), body
        return body

    async def ask(self, body: m.Body, kind: type[B], **head: Any) -> B:
        """Send a request and return its reply."""
        return await self.reply(await self.post(body, **head), kind)

    async def push(self, accept: Callable[[m.Envelope], bool] = lambda _: True) -> m.Envelope:
        """Return the next push that *accept* likes; those before it are dropped."""
        async with asyncio.timeout(10), self._news:
            while True:
                while self.pushes:
                    envelope = self.pushes.popleft()
                    if accept(envelope):
                        return envelope
                if self._has_ended:
                    raise Ended(self.closed)
                await self._news.wait()

    async def event(self, kind: m.EventType) -> m.Event:
        """Return the next event of a kind."""

        def is_it(envelope: m.Envelope) -> bool:
            return isinstance(envelope.body, m.Event) and envelope.body.type == kind

        return cast(m.Event, (await self.push(is_it)).body)

    async def end(self) -> int | None:
        """Return the code with which the gateway closes."""
        async with asyncio.timeout(10):
            await asyncio.shield(self._reader)
        return self.closed

    async def cut(self) -> None:
        await self.dialed.cut()
        await self._reader

    async def _read(self) -> None:
        try:
            while True:
                envelope = self.codec.decode(await self.dialed.receive())
                async with self._news:
                    if envelope.id:
                        self._replies.setdefault(envelope.id, deque()).append(envelope)
                    else:
                        self.pushes.append(envelope)
                    self._news.notify_all()
        except Ended as end:
            self.closed = end.code
        async with self._news:
            self._has_ended = True
            self._news.notify_all()


def transports(gateway: Gateway) -> list[str]:
    """Return the transports that are open."""
    return sorted(gateway.urls)
