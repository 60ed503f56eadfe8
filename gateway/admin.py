"""Health, readiness, version and metrics: what a supervisor and Prometheus ask."""

from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.hub import Hub
from svckit.clock import Clock
from svckit.metrics import Metrics


class Admin:
    """The routes that need no token."""

    def __init__(
        self, metrics: Metrics, hub: Hub, clock: Clock, version: str, is_ready: Callable[[], bool]
    ) -> None:
        self._metrics = metrics
        self._hub = hub
        self._clock = clock
        self._version = version
        self._is_ready = is_ready

    def routes(self) -> list[Route]:
        """Return every route."""
        return [
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/ping", self.ping),
            Route("/version", self.version),
            Route("/metrics", self.metrics),
        ]

    async def health(self, request: Request) -> Response:
        """Say that the process lives."""
        return JSONResponse({"status": "UP", **self._about()})

    async def ready(self, request: Request) -> Response:
        """Say whether new clients are welcome: 200, or 503 while starting or draining."""
        if self._is_ready():
            return JSONResponse({"status": "READY", "clients": len(self._hub)})
        return JSONResponse({"status": "NOT_READY", "clients": len(self._hub)}, 503)

    async def ping(self, request: Request) -> Response:
        """Answer."""
        return PlainTextResponse("pong")

    async def version(self, request: Request) -> Response:
        """Say which version runs."""
        return JSONResponse(self._about())

    async def metrics(self, request: Request) -> Response:
        """Return the text that Prometheus reads."""
        text, kind = self._metrics.exposition()
        return Response(text, media_type=kind)

    def _about(self) -> dict[str, str]:
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC)
        return {
            "service": "quantum-gateway",
            "version": self._version,
            "timestamp": now.isoformat(timespec="seconds"),
        }
