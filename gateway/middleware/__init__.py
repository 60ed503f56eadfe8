"""What surrounds every request: handlers wrapped in handlers.

A handler takes a client and an envelope and returns the reply's body, or None when it has replied
by itself. A refusal is an exception that `gateway.service_errors` knows.
"""

from collections.abc import Awaitable, Callable, Sequence

from gateway.client import Client
from gateway.messages import Body, Envelope

Handler = Callable[[Client, Envelope], Awaitable[Body | None]]
Middleware = Callable[[Handler], Handler]


def compose(handler: Handler, middlewares: Sequence[Middleware]) -> Handler:
    """Return *handler* inside *middlewares*, of which the first is outermost."""
    for middleware in reversed(middlewares):
        handler = middleware(handler)
    return handler
