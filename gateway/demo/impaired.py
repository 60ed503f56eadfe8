"""A client's way to the gateway through a network that misbehaves: one proxy for each client."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway.demo.process import GatewayProcess
from quantum.testing.network import Impairment
from quantum.testing.proxy import TcpProxy, UdpProxy


@dataclass(frozen=True, slots=True)
class WayCounts:
    """What a way did so far. *lost*: datagrams dropped, or for TCP stalls of the stream."""

    passed: int
    lost: int
    unit: str

    def __str__(self) -> str:
        if self.unit == "datagrams":
            share = self.lost / max(1, self.lost + self.passed)
            return f"{self.lost:,} of {self.lost + self.passed:,} datagrams lost ({share:.1%})"
        return f"{self.lost:,} stalls in {self.passed:,} bytes"


class ImpairedWay:
    """The proxy before a gateway's door, for one client.

    Over UDP datagrams are lost and delayed. A proxy cannot drop a TCP segment, so for WebSocket a
    loss is a stall of the stream of 200 ms or a round trip, whichever is longer.
    """

    def __init__(
        self, gateway: GatewayProcess, transport: str, impairment: Impairment, seed: int
    ) -> None:
        self.transport = transport
        upstream = ("127.0.0.1", gateway.port(transport))
        self._proxy: UdpProxy | TcpProxy = (
            UdpProxy(upstream, impairment, seed=seed)
            if transport == "quantum"
            else TcpProxy(upstream, impairment, seed=seed)
        )

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._proxy.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self._proxy.close()

    @property
    def url(self) -> str:
        """Where the client connects to."""
        if self.transport == "quantum":
            return f"quantum://127.0.0.1:{self._proxy.port}"
        return f"ws://127.0.0.1:{self._proxy.port}/ws"

    @property
    def counts(self) -> WayCounts:
        """What it did so far."""
        if isinstance(self._proxy, UdpProxy):
            seen = self._proxy.counts
            return WayCounts(seen.forwarded, seen.dropped, "datagrams")
        stream = self._proxy.counts
        return WayCounts(stream.forwarded_bytes, stream.stalls, "bytes")

    def cut(self) -> None:
        """Pull the cable."""
        self._proxy.cut()

    def restore(self) -> None:
        """Plug it in again."""
        self._proxy.restore()
