"""The composition root: it alone names concrete classes, and decides what is embedded or remote.

`Gateway` is everything between `start` and `close`; `serve` is its life as a process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uuid_utils.compat import uuid7

from gateway import channel_handlers, codecs, document_handlers, session_handlers
from gateway.about import DEV_PASSWORD as DEV_PASSWORD
from gateway.about import DEV_USERS as DEV_USERS
from gateway.about import installed_version
from gateway.admin import Admin
from gateway.client import Client
from gateway.close_codes import CloseCode
from gateway.config import GatewayConfig
from gateway.families import SqliteFamilies
from gateway.hub import Hub, HubLimits
from gateway.messages import PROTOCOL_VERSION, GoingAway, Welcome
from gateway.middleware.auth import require_login
from gateway.middleware.circuit_breaker import Breakers, BreakerState, CircuitBreaker
from gateway.middleware.observe import Observe
from gateway.middleware.rate_limit import AddressLimiter, RateLimit
from gateway.rest import Api
from gateway.rest_routes import RestRoutes
from gateway.router import Router
from gateway.secret_files import read_secret
from gateway.tokens import KeySet, TokenIssuer
from gateway.transport import DoorSettings, Peer, Transport
from gateway.transports import TRANSPORTS
from gateway.users import UserStore
from gateway.web import WebDoor
from session.api import SessionService
from session.rpc.client import GrpcSessionClient
from session.service import LocalSessionService
from session.stores import STORES as SESSION_STORES
from statesync.api import Durability, StateSyncService
from statesync.config import StateSyncConfig
from statesync.rpc.client import GrpcStateSyncClient
from statesync.service import LocalStateSyncService
from statesync.stores import STORES as STATE_STORES
from statesync.strategies import STRATEGIES
from svckit import grpc as svckit_grpc
from svckit.clock import Clock, SystemClock
from svckit.lifecycle import Lifecycle
from svckit.logs import logger
from svckit.metrics import Metrics

_SWEEP_S = 1.0
_log = logger("gateway.app")


class Gateway:
    """A whole gateway in this process."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: Clock | None = None,
        *,
        hasher: PasswordHasher | None = None,
    ) -> None:
        """Put it together; nothing listens yet. Raises OSError or ValueError for unusable files."""
        self.config = config
        self._clock = clock or SystemClock()
        self.node = config.node or f"node-{uuid7()}"
        self.metrics = Metrics("quantum_gateway", process=True)
        self.is_ready = False
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._starters: list[Callable[[], Awaitable[object]]] = []
        self._background: list[Callable[[], Awaitable[object]]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.users = _users(config, hasher)
        self._families = SqliteFamilies(config.data_dir / "refresh.sqlite")
        self.tokens = TokenIssuer(
            KeySet.load(config.data_dir / "jwt"),
            self._families,
            self._clock,
            issuer=config.auth.issuer,
            audience=config.auth.audience,
            access_s=config.auth.access_s,
            refresh_s=config.auth.refresh_s,
        )
        self.sessions = self._session_service()
        self.statesync = self._statesync_service()
        self.hub = Hub(self._clock, lambda: str(uuid7()), HubLimits())
        self._build()

    async def start(self) -> None:
        """Open the stores and listen at every door. Raises OSError when one cannot be bound."""
        for starter in self._starters:
            await starter()
        for transport in self.transports:
            await transport.start(self.accept)
        if self.web is not None:
            await self.web.start()
        for work in [self._sweep, *self._background]:
            self._spawn(work(), "background")
        self.is_ready = True

    async def drain(self) -> None:
        """Take no more clients, tell those here to move, finish what they asked, close them."""
        self.is_ready = False
        for transport in self.transports:
            await transport.drain()
        if self.web is not None:
            await self.web.drain()
        notice = GoingAway("the gateway is stopping", reconnect_ms=100)
        clients = list(self.hub)
        for client in clients:
            client.drain(notice)
        try:
            async with asyncio.timeout(self.config.drain_s):
                await asyncio.gather(*(client.settled() for client in clients))
        except TimeoutError:
            _log.warning("clients were still busy when the time to drain was over")
        await asyncio.gather(*(client.close(CloseCode.GOING_AWAY) for client in self.hub))

    async def close(self) -> None:
        """Stop listening and let go of everything."""
        self.is_ready = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in self.transports:
            await transport.close()
        if self.web is not None:
            await self.web.close()
        for closer in reversed(self._closers):
            await closer()
        await self._families.close()

    async def accept(self, peer: Peer) -> None:
        """Serve one client from its first message to its last."""
        client = Client(
            str(uuid7()),
            peer,
            codecs.load("json" if peer.transport == "http" else "protobuf"),
            codecs.sniff,
            self.config.client_limits,
            self._clock,
        )
        client.cleanups = [
            lambda: self._session_handlers.detach(client),
            lambda: self._document_handlers.forget(client),
        ]
        self._connections.labels(peer.transport).inc()
        self._connected.labels(peer.transport).inc()
        self.hub.add(client)
        try:
            await client.run(self.router.handle)
        finally:
            self.hub.remove(client)
            self._connected.labels(peer.transport).dec()
            self._closed.labels(client.close_code.name if client.close_code else "CLIENT").inc()
            self._bad.inc(client.tally.bad)
            self._dropped.inc(client.outbox.dropped)

    @property
    def urls(self) -> dict[str, str]:
        """Where each door is reached."""
        return {transport.name: transport.url for transport in self.transports}

    @property
    def identity_pin(self) -> str:
        """The hex of the public key that Quantum clients pin, "" without that door."""
        return str(getattr(self._identity, "pin", ""))

    # Private

    def _build(self) -> None:
        config, clock = self.config, self._clock
        logins = AddressLimiter(
            clock, config.auth.logins_per_minute / 60, config.auth.logins_per_minute
        )
        self.breakers = Breakers(clock, {**session_handlers.BACKENDS, **document_handlers.BACKENDS})
        self._document_handlers = document_handlers.DocumentHandlers(
            self.statesync, self.breakers.by_name["statesync"].guard
        )
        welcome = Welcome(
            protocol=PROTOCOL_VERSION,
            server=f"quantum-gateway/{installed_version()}",
            node=self.node,
            max_message_bytes=config.limits.max_message_bytes,
            heartbeat_s=config.client.idle_timeout_s / 3,
            idle_s=config.client.idle_timeout_s,
        )
        self._session_handlers = session_handlers.SessionHandlers(
            self.sessions,
            self.users,
            self.tokens,
            self.hub,
            self._document_handlers,
            logins,
            clock,
            welcome,
        )
        channels = channel_handlers.ChannelHandlers(self.hub, self._document_handlers)
        self.router = Router(
            {
                **self._session_handlers.handlers(),
                **channels.handlers(),
                **self._document_handlers.handlers(),
            },
            [
                Observe(self.metrics),
                require_login,
                RateLimit(
                    clock, config.client.requests_per_s, max(100.0, config.client.requests_per_s)
                ),
                self.breakers,
            ],
        )
        self._build_metrics()
        self._build_doors(logins)

    def _build_doors(self, logins: AddressLimiter) -> None:
        config = self.config
        limits = config.door_limits
        self._identity: Any = None
        self.web: WebDoor | None = None
        self.transports: list[Transport] = []
        if config.http.enabled:
            self.web = WebDoor(config.http.host, config.http.port, limits)
            settings = DoorSettings(
                config.http.host,
                config.http.port,
                limits,
                web=self.web,
                origins=config.http.origins,
            )
            self.transports += [TRANSPORTS.load(name)(settings) for name in ("websocket", "http")]
            self._build_rest(self.web, logins)
        if config.quantum.enabled:
            self._identity = _quantum_identity(config.data_dir / "identity.key")
            settings = DoorSettings(
                config.quantum.host, config.quantum.port, limits, identity=self._identity
            )
            self.transports.append(TRANSPORTS.load("quantum")(settings))

    def _build_rest(self, web: WebDoor, logins: AddressLimiter) -> None:
        rate = self.config.client.http_requests_per_s
        api = Api(
            self.tokens,
            self.users,
            AddressLimiter(self._clock, rate, 2 * rate),
            lambda: str(uuid7()),
            max_body_bytes=self.config.limits.max_message_bytes,
        )
        rest = RestRoutes(
            api,
            self.sessions,
            self.statesync,
            self.users,
            self.tokens,
            self.hub,
            self.breakers,
            logins,
        )
        admin = Admin(
            self.metrics, self.hub, self._clock, installed_version(), lambda: self.is_ready
        )
        web.add_routes([*admin.routes(), *rest.routes()])
        web.wrap(Starlette(routes=web.routes, exception_handlers={HTTPException: _refuse}))

    def _build_metrics(self) -> None:
        metrics = self.metrics
        self._connections = metrics.counter(
            "connections", "Connections accepted, by transport.", ["transport"]
        )
        self._connected = metrics.gauge(
            "connected_clients", "Clients connected now, by transport.", ["transport"]
        )
        self._closed = metrics.counter(
            "connections_closed",
            "Connections ended, by close code; CLIENT is its own end.",
            ["code"],
        )
        self._bad = metrics.counter("bad_messages", "Messages that could not be understood.")
        self._dropped = metrics.counter("dropped_pushes", "Pushes dropped for slow clients.")
        for name, text, read in (
            ("users", "Users connected now.", lambda: self.hub.users),
            ("channels", "Channels in use or recoverable.", lambda: self.hub.channels),
            ("published", "Publications since the start.", lambda: self.hub.published),
            ("delivered", "Deliveries of publications.", lambda: self.hub.delivered),
            ("operations", "Operations submitted.", lambda: self._document_handlers.submitted),
            ("handler_failures", "Requests that failed unforeseen.", lambda: self.router.failures),
        ):
            metrics.gauge(name, text).set_function(read)
        states = metrics.gauge("circuit_breaker_open", "1 while a breaker is open.", ["name"])
        for breaker in self.breakers.by_name.values():
            states.labels(breaker.name).set_function(partial(_is_open, breaker))

    def _session_service(self) -> SessionService:
        where = self.config.services.session
        if where != "embedded":
            return GrpcSessionClient(self._channel(where))
        store = SESSION_STORES.load(self.config.services.store)
        service = LocalSessionService(
            store(str(self.config.data_dir / "session.sqlite")), self._clock, uuid7
        )
        self._starters.append(service.start)
        self._closers.append(service.close)
        self._background.append(service.run)
        return service

    def _statesync_service(self) -> StateSyncService:
        where = self.config.services.statesync
        if where != "embedded":
            return GrpcStateSyncClient(self._channel(where))
        name = self.config.services.store
        least = Durability.D2 if name == "sqlite" else Durability.D0
        service = LocalStateSyncService(
            STATE_STORES.load(name)(str(self.config.data_dir / "statesync.sqlite")),
            self._clock,
            uuid7,
            STRATEGIES,
            StateSyncConfig(durability=least),
        )
        self._starters.append(service.start)
        self._closers.append(service.close)
        self._background.append(service.run)
        return service

    def _channel(self, where: str) -> grpc.aio.Channel:
        channel = svckit_grpc.channel(where.removeprefix("grpc://"))
        self._closers.append(partial(channel.close, None))
        return channel

    async def _sweep(self) -> None:
        """Close who broke a deadline, extend sessions, notice disabled users, forget the old."""
        turn = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            turn += 1
            try:
                for client, code in self.hub.overdue():
                    self._spawn(client.close(code), f"close {client.id}")
                self.hub.sweep()
                await self._session_handlers.beat()
                gone = self.users.reload()
                await self._session_handlers.revoke(gone, self._families.delete_user)
                if turn % 60 == 0:
                    await self.tokens.sweep()
            except Exception:
                _log.exception("sweep failed")

    def _spawn(self, work: Any, name: str) -> None:
        task: asyncio.Task[Any] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(config: GatewayConfig, announce: Callable[[Gateway], None]) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises OSError, ValueError, `TaskFailed`."""
    gateway = Gateway(config)
    async with Lifecycle(drain_timeout_s=config.drain_s + 5.0) as life:
        life.on_stop(gateway.close)
        await gateway.start()
        life.on_drain(gateway.drain)
        announce(gateway)
        await life.run()


def _is_open(breaker: CircuitBreaker) -> float:
    return float(breaker.state is BreakerState.OPEN)


def _users(config: GatewayConfig, hasher: PasswordHasher | None) -> UserStore:
    if config.users_path.exists():
        read_secret(config.users_path)  # refuses a file that others may read
    users = UserStore(config.users_path, hasher=hasher)
    if config.mode == "dev":
        for name in DEV_USERS:
            if users.by_name(name) is None:
                users.add(name, DEV_PASSWORD, new_id=lambda: str(uuid7()))
    return users


def _quantum_identity(path: Path) -> Any:
    import quantum

    if path.exists():
        return quantum.Identity.load(path)
    identity = quantum.Identity.generate()
    identity.save(path)
    return identity


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer what no route matches in the shape of every other answer."""
    assert isinstance(error, HTTPException)
    sentence = f"there is nothing at {request.url.path[:128]}; docs/gateway.md lists the routes"
    if error.status_code != 404:
        sentence = error.detail
    answer = {"code": error.status_code, "message": sentence, "data": None, "request_id": ""}
    return JSONResponse(answer, error.status_code, error.headers)
