"""The front door of the kit: `connect`."""

from collections.abc import Generator
from types import TracebackType

from gateway.sdk.address import parse
from gateway.sdk.client import Client
from gateway.sdk.config import ClientConfig
from gateway.sdk.session import Token


class Connecting:
    """A client about to connect: await it, or use it in ``async with``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __await__(self) -> Generator[None, None, Client]:
        return self._client.__aenter__().__await__()

    async def __aenter__(self) -> Client:
        """Return the client, connected."""
        return await self._client.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self._client.close()


def connect(
    url: str,
    *,
    pin: str = "",
    token: Token | None = None,
    login: tuple[str, str] | None = None,
    config: ClientConfig | None = None,
    name: str = "",
    codec: str = "protobuf",
) -> Connecting:
    """Connect to a gateway: ``client = await connect(...)`` or ``async with connect(...) as c``.

    Args:
        url: ``quantum://host:port``, ``ws://127.0.0.1:port/ws`` or ``wss://host/ws``.
        pin: hex of the gateway's public key, for ``quantum://``; ``?pin=`` in the URL also does.
        token: an access token, or an async function that returns a fresh one.
        login: (user, password), instead of a token.
        config: patience and sizes.
        name: what this program calls itself, for the gateway's logs.
        codec: ``protobuf`` or ``json``.

    Raises:
        InvalidCall: an argument cannot be right.
        ConnectFailed: the gateway cannot be reached, when awaited.
        AuthenticationFailed: it does not accept the token or password, when awaited.
    """
    return Connecting(
        Client(parse(url, pin), token=token, login=login, config=config, name=name, codec=codec)
    )
