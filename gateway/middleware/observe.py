"""Metrics and log context of every message. It decides nothing."""

import time

import structlog

from gateway.client import Client
from gateway.errors import Code
from gateway.messages import Body, Envelope
from gateway.middleware import Handler
from gateway.service_errors import to_gateway_error
from svckit.metrics import Metrics


class Observe:
    """Counts and times requests by kind and outcome."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter(
            "messages", "Messages from clients, by kind and outcome.", ["kind", "outcome"]
        )
        self._seconds = metrics.histogram(
            "message_duration_seconds", "Time from reading a message to its reply.", ["kind"]
        )

    def __call__(self, handler: Handler) -> Handler:
        """Wrap *handler*."""

        async def handle(client: Client, envelope: Envelope) -> Body | None:
            kind = envelope.kind.value
            begun = time.perf_counter()
            outcome = "ok"
            if envelope.trace:
                structlog.contextvars.bind_contextvars(trace=envelope.trace)
            try:
                return await handler(client, envelope)
            except Exception as error:
                known = to_gateway_error(error)
                outcome = (known.code if known is not None else Code.INTERNAL).value
                raise
            finally:
                self._requests.labels(kind, outcome).inc()
                self._seconds.labels(kind).observe(time.perf_counter() - begun)
                if envelope.trace:
                    structlog.contextvars.unbind_contextvars("trace")

        return handle
