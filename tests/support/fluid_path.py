"""A path of fixed rate and delay for one controller, without packets: what it allows is what arrives.

For unit tests of controllers. Each step is a round trip: the controller's window and pacing rate decide what
leaves, the path what of it arrives and how long that took.
"""

from cython_ext.controller_probe import ControllerProbe

MS = 1_000_000
SECOND = 1_000 * MS
DATAGRAM = 1_232


class FluidPath:
    """Drives *controller* over a path of *rate* bytes per second, *rtt_ns* and *queue* bytes.

    Attributes:
        now_ns: the clock.
        delivered: bytes acknowledged so far.
        wanted: bytes that the application has per round trip; None is all that may leave.
    """

    STEPS = 10

    def __init__(
        self, controller: ControllerProbe, rate: int, rtt_ns: int, queue: int = 1 << 40
    ) -> None:
        self.controller = controller
        self.rate, self.rtt_ns, self.queue = rate, rtt_ns, queue
        self.now_ns = SECOND
        self.delivered = 0
        self.lost_total = 0
        self.wanted: int | None = None
        self.standing = 0.0
        self.loss = 0.0

    def round_trip(self) -> int:
        """Let one round trip pass; return the bytes that arrived in it."""
        begun, in_flight = self.delivered, self.controller.window
        span = self.rtt_ns + int(self.standing / self.rate * SECOND)
        allowed = min(in_flight, int(self.controller.pacing_rate * span / SECOND) or in_flight)
        limited = self.wanted is not None and self.wanted < allowed
        leaving = self.wanted if limited and self.wanted is not None else allowed
        can_pass = int(self.rate * span / SECOND)
        excess = max(self.standing + leaving - can_pass, 0.0)
        dropped = max(excess - self.queue, 0.0)
        self.standing = min(excess, float(self.queue))
        lost = int(dropped + leaving * self.loss)
        arrived = max(min(leaving, can_pass) - int(leaving * self.loss), DATAGRAM)
        if limited:
            self.controller.sent(self.now_ns, DATAGRAM, 0, True)
        sent_ns = self.now_ns
        for step in range(self.STEPS):
            self.now_ns += span // self.STEPS
            part = arrived // self.STEPS
            self.delivered += part
            share = lost // self.STEPS
            self.lost_total += share
            self.controller.ack(
                self.now_ns,
                part,
                delivered=self.delivered,
                in_flight=max(leaving - part, 0),
                prior_delivered=begun if step == 0 else begun - 1 if begun else 0,
                rate=min(int(arrived * SECOND / span), self.rate),
                rtt_ns=self.rtt_ns + int(self.standing / self.rate * SECOND),
                lost=share,
                sample_lost=lost,
                sample_in_flight=leaving,
                sent_ns=sent_ns,
                app_limited=limited,
            )
        return self.delivered - begun

    def round_trips(self, count: int) -> int:
        """Let *count* round trips pass; return the bytes that arrived in them."""
        return sum(self.round_trip() for _ in range(count))
