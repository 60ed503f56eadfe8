"""`Path`: what one direction of the link does to packets, in the units people say it in."""

from dataclasses import dataclass

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Path:
    """One direction. A packet meets the policer, the queue and the rate, loss, then delay.

    Loss comes after the rate: a lost packet has used it up, so the path carries rate x (1 - loss).
    Sizes and rates are of IP packets.

    Attributes:
        delay: seconds, one way.
        jitter: up to so many seconds more, evenly distributed.
        keep_order: jitter lets nothing overtake.
        loss: share of packets lost, 0 to 1.
        burst: lost packets come in bursts of exactly so many; 0 or 1: each by itself.
        geometric: *burst* is the mean of a geometric distribution instead.
        rate: bit/s; 0 is unlimited.
        queue: bytes that may wait for the rate; what comes on top is dropped (drop-tail).
        ce: a packet that finds more than so many bytes waiting is marked CE if it allows that; 0
            marks none.
        police: bit/s of a token bucket that drops at once what is above; 0 is no policer.
        bucket: its depth in bytes.
        reorder: share of packets that come late.
        late: by so many seconds.
        duplicate: share of packets that come twice.
    """

    delay: float = 0.0
    jitter: float = 0.0
    keep_order: bool = True
    loss: float = 0.0
    burst: int = 0
    geometric: bool = False
    rate: float = 0.0
    queue: int = 0
    ce: int = 0
    police: float = 0.0
    bucket: int = 0
    reorder: float = 0.0
    late: float = 0.0
    duplicate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, 0 to 1")
        if min(self.delay, self.jitter, self.rate, self.queue, self.police, self.burst) < 0:
            raise ValueError("no value of a path is negative")
        if self.rate and not self.queue:
            raise ValueError("a rate needs a queue, of one packet at least")
        if self.police and self.bucket < 1500:
            raise ValueError("a policer's bucket holds a packet at least")
        if self.geometric and self.burst < 1:
            raise ValueError("a geometric burst needs its mean length, from 1")

    def settings(self) -> dict[str, int | float]:
        """Return the values by the names and in the units of path.h."""
        return {
            "delay_ns": round(self.delay * _NS),
            "jitter_ns": round(self.jitter * _NS),
            "keep_order": int(self.keep_order),
            "loss": self.loss,
            "burst": self.burst,
            "geometric": int(self.geometric),
            "rate_bps": round(self.rate),
            "queue_bytes": self.queue,
            "ce_bytes": self.ce,
            "police_bps": round(self.police),
            "police_bytes": self.bucket,
            "reorder": self.reorder,
            "reorder_ns": round(self.late * _NS),
            "duplicate": self.duplicate,
        }


def bdp(rate: float, round_trip: float) -> int:
    """Return the bytes that fill a path of *rate* bit/s and *round_trip* seconds."""
    return round(rate * round_trip / 8)
