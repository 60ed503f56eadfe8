"""What the demo shows, moment by moment: numbers and texts without how they are drawn."""

from dataclasses import dataclass, field

from gateway.demo.impaired import WayCounts
from gateway.sdk import LinkStats


@dataclass(slots=True)
class Side:
    """One client."""

    name: str
    transport: str
    text: str = ""
    status: str = "offline"
    version: int = 0
    typed: int = 0
    pending: int = 0
    rtt_ms: float = 0.0
    reconnects: int = 0
    resent: int = 0
    link: LinkStats = field(default_factory=LinkStats)
    way: WayCounts = field(default_factory=lambda: WayCounts(0, 0, "datagrams"))


@dataclass(slots=True)
class Picture:
    """The whole."""

    sides: list[Side]
    elapsed_s: float = 0.0
    total_s: float = 0.0
    phase: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether all texts shown are the same."""
        return len({side.text for side in self.sides}) == 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a demo ended."""

    converged: bool
    operations: int
    seconds: float
    sides: tuple[Side, ...]
    server_text: str
    trouble: str = ""
