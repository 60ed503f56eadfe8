"""`connect`: resolve a name, try its addresses, return a connection that owns its socket."""

import asyncio
import socket
from collections.abc import Generator
from types import TracebackType
from typing import Any

from quantum.config import TransportConfig
from quantum.connection import Connection
from quantum.endpoint import UdpEndpoint
from quantum.errors import ConfigurationError, HandshakeError, QuantumError
from quantum.identity import parse_pin

# Head start of each address over the next one (RFC 8305 recommends 250 ms).
ATTEMPT_DELAY_S = 0.25


class _Connecting:
    """What `connect` returns: await it, or enter it with ``async with``."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return _connect(*self._arguments).__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._connection is not None
        await self._connection.__aexit__(kind, error, traceback)


def connect(
    address: str | tuple[str, int],
    *,
    pin: str | bytes,
    config: TransportConfig | None = None,
    server_name: str = "",
    timeout: float | None = None,
) -> _Connecting:
    """Connect to ``"host:port"`` (or a pair) of the server whose public key is *pin*.

    Use as ``conn = await connect(...)`` or ``async with connect(...) as conn``. *timeout* is in
    seconds and
    replaces the configuration's `handshake_timeout`. Raises HandshakeError when no address
    answers with proof of that key, ConfigurationError for a malformed address or pin.
    """
    host, port = split_address(address)
    config = config or TransportConfig()
    if timeout is not None:
        config = config.replace(handshake_timeout=timeout)
    return _Connecting(host, port, parse_pin(pin), config, server_name or host)


def split_address(address: str | tuple[str, int]) -> tuple[str, int]:
    """Return (host, port) of ``host:port``, ``[v6]:port`` or a pair; ConfigurationError
    otherwise."""
    if isinstance(address, tuple):
        host, port_text = address[0], str(address[1])
    else:
        host, _, port_text = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
    if not host or not port_text.isdecimal() or not 0 < int(port_text) < 65536:
        raise ConfigurationError(
            f"{address!r} is no address; write host:port, for example 127.0.0.1:4433"
        )
    return host, int(port_text)


async def _connect(
    host: str, port: int, pin: bytes, config: TransportConfig, server_name: str
) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise HandshakeError(f"the name {host!r} does not resolve: {error}") from None
    addresses = list(dict.fromkeys((str(info[4][0]), port) for info in found))
    attempts: set[asyncio.Task[Connection]] = set()
    failure: BaseException | None = None
    try:
        for address in addresses:
            attempts.add(asyncio.create_task(_attempt(address, pin, config, server_name)))
            last = address == addresses[-1]
            while attempts:
                done, attempts = await asyncio.wait(
                    attempts,
                    timeout=None if last else ATTEMPT_DELAY_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    if task.exception() is None:
                        return task.result()
                    failure = task.exception()
                if not done or not last:
                    break
    finally:
        await _discard(attempts)
    assert failure is not None
    raise failure


async def _discard(attempts: set[asyncio.Task[Connection]]) -> None:
    for task in attempts:
        task.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, Connection):
            await outcome.close()


async def _attempt(
    address: tuple[str, int], pin: bytes, config: TransportConfig, server_name: str
) -> Connection:
    endpoint = UdpEndpoint("::" if ":" in address[0] else "0.0.0.0", 0, config)
    try:
        connection = endpoint.connect(address, pin, server_name)
        await connection.wait_connected()
    except (QuantumError, asyncio.CancelledError):
        endpoint.close()
        raise
    return connection
