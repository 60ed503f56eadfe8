"""What one run of one peer gave: its own words, the link's, and the server process's."""

from dataclasses import dataclass, field
from typing import Any

from bench.link.path import Path

# A link that lets packets out later than this, one in a hundred, was short of processor time.
TRUSTED_LATENESS_US = 1000.0
# A run on a link of 100 Mbit/s is about the link only while there is processor time to spare.
TRUSTED_BUSY = 0.9


@dataclass(slots=True)
class Outcome:
    """One run.

    Attributes:
        peer: the peer's name.
        seed: the link's; run n of every peer has the same.
        client: what the client printed.
        forward: the path from client to server; None on loopback.
        seconds: how long the run was asked to be.
        full_packet: (payload, IP bytes) of a full packet.
        sent: what the link counted of the peer's own flow, from client to server.
        answered: the same from server to client.
        link: what the link counted in all, per direction.
        baseline: what the client printed on the same path without loss.
        beside: the goodput in bytes of a flow beside it, and what the link counted of that.
        server_cpu_s: processor time of the server.
        server_bytes: what became resident in the server, in bytes.
        busy: share of this machine's processor time that was used meanwhile, by whomever.
    """

    peer: str
    seed: int
    client: dict[str, Any]
    seconds: float
    full_packet: tuple[int, int]
    forward: Path | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    answered: dict[str, Any] = field(default_factory=dict)
    link: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    server_cpu_s: float = 0.0
    server_bytes: int = 0
    busy: float = 0.0

    @property
    def payload_share(self) -> float:
        """Share of a full packet that is content."""
        payload, whole = self.full_packet
        return payload / whole

    def doubts(self) -> list[str]:
        """Return why the link cannot be trusted in this run; usually nothing."""
        found = []
        if self.link and self.busy > TRUSTED_BUSY:
            found.append(f"the processors were {self.busy:.0%} busy")
        if self.link.get("devices_dropped"):
            found.append(f"the devices dropped {self.link['devices_dropped']} packets")
        for end in ("a", "b"):
            way = self.link.get(end, {})
            broken = [name for name in ("overflow", "refused", "unfollowed") if way.get(name)]
            found += [f"{name}: {way[name]} packets" for name in broken]
            late = way.get("lateness", {}).get("p99_us", 0.0)
            if late > TRUSTED_LATENESS_US:
                found.append(f"the link was {late / 1e3:.1f} ms late for 1 % of packets")
        return found


def flow(way: dict[str, Any], protocol: str, port: int, *, towards: bool) -> dict[str, Any]:
    """Return the busiest flow *towards* (or from) *port* in one direction's counts, or nothing."""
    number, field_name = {"tcp": 6, "udp": 17}[protocol], "target" if towards else "source"
    found = [f for f in way["flows"] if f["protocol"] == number and f[field_name] == port]
    return max(found, key=lambda f: int(f["packets"]), default={})
