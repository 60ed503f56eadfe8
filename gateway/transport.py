"""The transport contract: how bytes of envelopes come in and go out, whatever carries them.

A transport accepts peers and moves whole messages. It knows no envelope, no session and no user; it
tells text from binary only by a message's first byte, as `gateway.codecs.sniff` does.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Protocol

from gateway.close_codes import CloseCode
from gateway.limits import Limits


class Peer(Protocol):
    """One connected client, as its transport sees it."""

    transport: str
    host: str
    port: int

    def frames(self) -> AsyncIterator[bytes]:
        """Yield the client's messages, whole and in order, until the connection ends.

        Never raises for what the client did: a broken rule closes the connection with its code.
        Not reading is how the gateway slows a client down.
        """
        ...

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send whole messages in order; waits while the client does not read. Raises `PeerGone`."""
        ...

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close with *code*, in bounded time even when the client reads nothing; twice is safe."""
        ...


class PeerGone(Exception):
    """The client's connection has ended, so nothing can be sent to it."""


Accept = Callable[[Peer], Awaitable[None]]


class Transport(Protocol):
    """A door: it listens, and hands each new client to the gateway."""

    name: str

    def __init__(self, settings: "DoorSettings") -> None:
        """Listen to nothing yet."""
        ...

    async def start(self, accept: Accept) -> None:
        """Listen, and call *accept* for each client; the client ends when *accept* returns.

        Raises OSError when the address cannot be bound.
        """
        ...

    async def drain(self) -> None:
        """Accept no more clients; those that are here stay."""
        ...

    async def close(self) -> None:
        """Stop listening and let go of everything; remaining clients are cut."""
        ...

    @property
    def url(self) -> str:
        """Where clients reach this door."""
        ...


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What the gateway gives a transport to build itself from."""

    host: str = "127.0.0.1"
    port: int = 0
    limits: Limits = field(default_factory=Limits)
    identity: Any = None
    """The server's transport identity, where the transport has one (`quantum.Identity`)."""
    web: Any = None
    """The shared TCP door (`gateway.web.WebDoor`), for transports that live on HTTP."""
    origins: tuple[str, ...] = ()
    """Origins that browsers may connect from; ``*`` is any, none is the door's own only."""


@dataclass(slots=True)
class ConnectionGate:
    """Counts a door's connections, in all and by address; its table is no larger than the total."""

    limits: Limits
    total: int = 0
    refused: int = 0
    _by_address: dict[str, int] = field(default_factory=dict)

    def enter(self, host: str) -> bool:
        """Count one connection in; False, and not counted, if a bound is reached."""
        key = _group(host)
        here = self._by_address.get(key, 0)
        full = self.total >= self.limits.max_connections
        if full or here >= self.limits.max_connections_per_ip:
            self.refused += 1
            return False
        self.total += 1
        self._by_address[key] = here + 1
        return True

    def leave(self, host: str) -> None:
        """Count one connection out, that `enter` let in."""
        key = _group(host)
        self.total -= 1
        left = self._by_address[key] - 1
        if left:
            self._by_address[key] = left
        else:
            del self._by_address[key]


def _group(host: str) -> str:
    """Return what one subscriber is likely to hold: an IPv4 address, or an IPv6 /64."""
    if ":" not in host:
        return host
    try:
        return IPv6Address(int(IPv6Address(host.partition("%")[0])) >> 64 << 64).compressed
    except ValueError:
        return host
