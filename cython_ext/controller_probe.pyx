"""A window for tests onto one congestion controller, driven event by event.

Thin by rule, as `probe` is: it holds the struct, passes calls through, and computes nothing. Nothing of the
product imports it.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from cython_ext.core.controller cimport (
    AckEvent, Controller, controller_clear, controller_init, controller_switch,
)

from cython_ext.core.controller import CONTROLLERS


cdef class ControllerProbe:
    """A controller called *name*; times in ns, sizes in bytes, as in `AckEvent`."""

    cdef Controller controller

    def __init__(self, name: str, now_ns: int = 0, initial_rtt_ns: int = 100_000_000, datagram_bytes: int = 1232,
                 seed: int = 1) -> None:
        if not controller_init(&self.controller, CONTROLLERS.index(name), datagram_bytes, now_ns, initial_rtt_ns, seed):
            raise MemoryError

    def __dealloc__(self):
        controller_clear(&self.controller)

    def sent(self, now_ns: int, size: int, in_flight: int, app_limited: bool = False) -> None:
        """Tell of a packet before it counts in flight."""
        self.controller.algorithm.on_sent(&self.controller, now_ns, size, in_flight, app_limited)

    def ack(self, now_ns: int, acked: int, *, delivered: int, in_flight: int, prior_in_flight: int = 0,
            prior_delivered: int = 0, rate: int = 0, rtt_ns: int = 0, smoothed_ns: int = 0, lost: int = 0,
            lost_packets: int = 0, sample_lost: int = 0, sample_in_flight: int = 0, sent_ns: int = 0,
            app_limited: bool = False, marked: int = 0, ect: int = 0) -> None:
        """Tell of an ACK, or of a loss timer when *acked* is 0."""
        cdef AckEvent e
        memset(&e, 0, sizeof(AckEvent))
        e.now_ns = now_ns
        e.acked_bytes = acked
        e.delivered = delivered
        e.in_flight = in_flight
        e.prior_in_flight = prior_in_flight or in_flight + acked
        e.latest_rtt_ns = rtt_ns
        e.smoothed_rtt_ns = smoothed_ns or rtt_ns
        e.minimum_rtt_ns = rtt_ns
        e.lost_bytes = lost
        e.lost_packets = lost_packets or lost // self.controller.datagram_bytes
        e.lost_runs = 1 if lost else 0
        e.largest_sent_ns = sent_ns
        e.marked_bytes = marked
        e.ecn_acked_bytes = ect
        e.sample.valid = acked > 0
        e.sample.rate = rate
        e.sample.prior_delivered = prior_delivered
        e.sample.delivered = delivered - prior_delivered
        e.sample.lost = sample_lost
        e.sample.in_flight = sample_in_flight
        e.sample.sent_ns = sent_ns
        e.sample.app_limited = app_limited
        self.controller.algorithm.on_ack(&self.controller, &e)

    def spurious(self, now_ns: int) -> None:
        """Tell that a packet declared lost was acknowledged after all."""
        self.controller.algorithm.on_spurious(&self.controller, now_ns)

    def persistent(self, now_ns: int) -> None:
        """Tell of persistent congestion."""
        self.controller.algorithm.on_persistent(&self.controller, now_ns)

    def switch(self, name: str, now_ns: int, rtt_ns: int) -> None:
        """Go on with another algorithm."""
        if not controller_switch(&self.controller, CONTROLLERS.index(name), now_ns, rtt_ns, 1):
            raise MemoryError

    @property
    def window(self) -> int:
        """Bytes that may be in flight."""
        return self.controller.window

    @property
    def pacing_rate(self) -> int:
        """Bytes per second; 0 is unpaced."""
        return self.controller.pacing_rate

    @property
    def phase(self) -> int:
        """The algorithm's own number of its phase."""
        return self.controller.phase
