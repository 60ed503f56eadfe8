"""The door contract: how a client's messages reach a gateway, whatever carries them.

A door moves whole encoded envelopes in order. It knows no envelope, no session and no retry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.sdk.address import Address


@dataclass(frozen=True, slots=True)
class LinkStats:
    """What the transport under a door saw since it was opened; zeros where it cannot tell."""

    rtt_ns: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    packets_recovered: int = 0
    """Lost packets whose content was delivered by later ones."""
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_retransmitted: int = 0

    def __add__(self, other: "LinkStats") -> "LinkStats":
        """Return the sums; the round trip is the later one's, if it has one."""
        return LinkStats(
            other.rtt_ns or self.rtt_ns,
            self.packets_sent + other.packets_sent,
            self.packets_received + other.packets_received,
            self.packets_lost + other.packets_lost,
            self.packets_recovered + other.packets_recovered,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
            self.bytes_retransmitted + other.bytes_retransmitted,
        )


class Door(Protocol):
    """One open connection."""

    name: str

    @classmethod
    async def open(cls, address: Address, timeout_s: float) -> "Door":
        """Connect. Raises `ConnectFailed`."""
        ...

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send whole messages in order; waits for space. Raises `DoorClosed`."""
        ...

    async def receive(self) -> list[bytes]:
        """Return the next whole messages, at least one. Raises `DoorClosed` when none can come."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close, in bounded time, delivering what was sent where that can be; twice is safe."""
        ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...

    def stats(self) -> LinkStats:
        """Return counters of this connection."""
        ...
