"""`connect`: resolve a name, try its addresses, return a connection that owns its socket."""

import asyncio
import ipaddress
import socket
from functools import partial

from quantum.config import TransportConfig
from quantum.connection import Connection
from quantum.endpoint import UdpEndpoint
from quantum.errors import ConfigurationError, HandshakeError, QuantumError
from quantum.identity import parse_pin
from quantum.opening import Opening

# Head start of each address over the next one (RFC 8305 recommends 250 ms).
ATTEMPT_DELAY_S = 0.25
MAX_NAME_BYTES = 255


def connect(
    address: str | tuple[str, int],
    *,
    pin: str | bytes,
    config: TransportConfig | None = None,
    server_name: str = "",
    timeout: float | None = None,
) -> Opening[Connection]:
    """Connect to ``"host:port"`` (or a pair) of the server whose public key is *pin*.

    Use as ``conn = await connect(...)`` or ``async with connect(...) as conn``. *timeout* is in
    seconds and replaces the configuration's `handshake_timeout`. Every address of a name is tried,
    each with a short head start over the next. Raises HandshakeError when none answers with proof
    of that key, ConfigurationError for a malformed address, pin, name or time-out.
    """
    host, port = split_address(address)
    config = config or TransportConfig()
    if timeout is not None:
        config = config.replace(handshake_timeout=timeout)
    if len((server_name or host).encode()) > MAX_NAME_BYTES:
        raise ConfigurationError(f"a server's name has at most {MAX_NAME_BYTES} bytes")
    return Opening(partial(_connect, host, port, parse_pin(pin), config, server_name or host))


def split_address(address: str | tuple[str, int]) -> tuple[str, int]:
    """Return (host, port) of ``host:port``, ``[v6]:port`` or a pair; ConfigurationError
    otherwise."""
    host: object = ""
    port: object = ""
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
    elif isinstance(address, tuple) and len(address) >= 2:
        # A socket's own name of an IPv6 address has four parts.
        host, port = address[0], address[1]
    digits = str(port)
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 6 else 0
    if not isinstance(host, str) or not host or not 0 < number < 65536:
        raise ConfigurationError(
            f"{address!r} is no address; write host:port, for example 127.0.0.1:4433"
        )
    return host, number


async def _connect(
    host: str, port: int, pin: bytes, config: TransportConfig, server_name: str
) -> Connection:
    addresses = await _resolve(host, port, config.handshake_timeout)
    if len(addresses) == 1:
        return await _attempt(addresses[0], pin, config, server_name)
    attempts: set[asyncio.Task[Connection]] = set()
    failures: list[QuantumError] = []
    try:
        for address in addresses:
            attempts.add(asyncio.create_task(_attempt(address, pin, config, server_name)))
            head_start = None if address == addresses[-1] else ATTEMPT_DELAY_S
            while attempts:
                done, _ = await asyncio.wait(
                    attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    attempts.discard(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, QuantumError):
                        raise error
                    failures.append(error)
                if not done or head_start is not None:
                    break
    finally:
        await _discard(attempts)
    if len(failures) == 1:
        raise failures[0]
    raise HandshakeError(
        f"none of the {len(addresses)} addresses of {host!r} answered: "
        + "; ".join(dict.fromkeys(error.reason for error in failures))
    )


async def _resolve(host: str, port: int, timeout: float) -> list[tuple[str, int]]:
    if _is_literal(host):
        # Resolving takes a thread, and there is nothing to resolve.
        return [(host, port)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        raise HandshakeError(f"the name {host!r} did not resolve within {timeout:g} s") from None
    except (OSError, UnicodeError) as error:
        raise HandshakeError(f"the name {host!r} does not resolve: {error}") from None
    # An IPv6 name of a socket is longer than a pair; the scope of a link-local address is in it.
    names = [info[4] for info in found if info[0] in (socket.AF_INET, socket.AF_INET6)]
    return list(dict.fromkeys(names))  # type: ignore[arg-type]


def _is_literal(host: str) -> bool:
    try:
        # An IPv6 address with a zone needs the resolver: the zone may be a name.
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


async def _discard(attempts: set[asyncio.Task[Connection]]) -> None:
    for task in attempts:
        task.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, Connection):
            # It came second: nobody has seen it.
            outcome.discard()


async def _attempt(
    address: tuple[str, int], pin: bytes, config: TransportConfig, server_name: str
) -> Connection:
    endpoint = UdpEndpoint("::" if ":" in address[0] else "0.0.0.0", 0, config)
    try:
        connection = endpoint.connect(address, pin, server_name)
        await connection.wait_connected()
    except BaseException:
        endpoint.close()
        raise
    return connection
