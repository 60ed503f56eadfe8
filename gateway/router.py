"""Message kind to handler: every request of every client passes here once.

It answers, or says in one sentence why not; what a handler did not expect is logged and answered
as an internal error, and never ends the client.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.messages import Body, Envelope, Kind
from gateway.middleware import Handler, Middleware, compose
from gateway.service_errors import to_gateway_error
from svckit.logs import logger

_log = logger("gateway.router")


class Router:
    """Finds the handler of each message, within the middlewares."""

    def __init__(self, handlers: Mapping[Kind, Handler], middlewares: Sequence[Middleware]) -> None:
        self._handlers = handlers
        self._handler = compose(self._dispatch, middlewares)
        self.failures = 0

    async def handle(self, client: Client, envelope: Envelope) -> None:
        """Serve one message; never raises for what it holds."""
        try:
            body = await self._handler(client, envelope)
        except Exception as error:
            client.refuse(envelope.id, self.explain(error, envelope.kind))
            return
        if body is not None:
            client.reply(envelope.id, body)

    def explain(self, error: Exception, kind: Kind) -> GatewayError:
        """Return what a client is told of *error*; what nobody foresaw is logged."""
        known = to_gateway_error(error)
        if known is None:
            self.failures += 1
            _log.error("handler failed", kind=kind.value, exc_info=error)
            known = GatewayError(Code.INTERNAL, "the gateway failed; its log says why")
        return known

    async def _dispatch(self, client: Client, envelope: Envelope) -> Body | None:
        handler = self._handlers.get(envelope.kind)
        if handler is None:
            raise GatewayError(
                Code.UNKNOWN_KIND, f"{envelope.kind} is not something a client sends"
            )
        # The time-out is within the circuit breaker, which so learns of it.
        async with asyncio.timeout(client.limits.request_timeout_s):
            return await handler(client, envelope)
