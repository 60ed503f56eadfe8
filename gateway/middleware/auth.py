"""Who may ask: before a login, only what leads to one."""

from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.messages import Body, Envelope, Kind
from gateway.middleware import Handler

OPEN_KINDS = frozenset({Kind.HELLO, Kind.LOGIN, Kind.PING, Kind.REFRESH, Kind.RESUME})


def require_login(handler: Handler) -> Handler:
    """Refuse what needs a user from a client that has none."""

    async def handle(client: Client, envelope: Envelope) -> Body | None:
        if client.identity is None and envelope.kind not in OPEN_KINDS:
            raise GatewayError(
                Code.UNAUTHENTICATED, f"{envelope.kind} needs a login: send login or resume first"
            )
        return await handler(client, envelope)

    return handle
