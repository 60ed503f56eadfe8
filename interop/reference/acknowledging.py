"""When to acknowledge, and what (sections 5.1 and 5.2, the receiver's side)."""

from interop.reference.ecn import MarkCounter
from interop.reference.frames import Ack, Range
from interop.reference.ranges import Ranges

ACK_RANGES_MAX = 64
EAGER_PACKETS = 256


class Acknowledger:
    """The protected packets that were received or rebuilt, and when to send an ACK frame."""

    def __init__(self, max_ack_delay_us: int) -> None:
        self.max_ack_delay_us = max_ack_delay_us
        self.deadline_ns: int | None = None
        self.recovered = Ranges()
        self.marks = MarkCounter()
        self._received = Ranges()
        self._largest_arrival_ns = 0
        self._packets = 0
        self._unacknowledged = 0

    @property
    def largest(self) -> int | None:
        """The largest number received: what goes into the header field."""
        return self._received.pairs[-1][1] if self._received.pairs else None

    def handle_packet(self, number: int, ack_eliciting: bool, now_ns: int) -> None:
        """Record a packet that was opened."""
        largest = self.largest
        in_order = largest is None or number == largest + 1
        if largest is None or number > largest:
            self._largest_arrival_ns = now_ns
        self._received.add(number, number)
        self._received.keep_newest(ACK_RANGES_MAX)
        # = 5.7: A packet that arrives after it was rebuilt is opened, and reported as acknowledged
        # = from then on;
        self.recovered.remove(number, number)
        self._packets += 1
        if not ack_eliciting:
            return
        self._unacknowledged += 1
        # = 5.1: at once when it comes out of order, and otherwise at the latest every second packet
        every = 2 if self._packets < EAGER_PACKETS else 8
        if not in_order or self._unacknowledged >= every:
            self.deadline_ns = now_ns
        elif self.deadline_ns is None:
            self.deadline_ns = now_ns + self.max_ack_delay_us * 1000

    def handle_rebuilt(self, number: int, now_ns: int) -> None:
        """Record a packet that did not arrive and was rebuilt."""
        self.recovered.add(number, number)
        self.recovered.keep_newest(ACK_RANGES_MAX)
        # = 5.1: A packet that was rebuilt (5.7) is reported at once.
        self._unacknowledged += 1
        self.deadline_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Tell whether an ACK frame has to go now, even alone."""
        return self.deadline_ns is not None and now_ns >= self.deadline_ns

    def frame(self, now_ns: int) -> Ack | None:
        """Return the frame to send along, None when nothing waits for one."""
        if not self._unacknowledged:
            return None
        # = 5.2: A sender of ACK reports at
        newest, recovered = newest_first(self._received), newest_first(self.recovered)
        delay_us = (now_ns - self._largest_arrival_ns) // 1000
        return Ack(newest, delay_us, self.marks.counts, recovered)

    def handle_sent(self) -> None:
        """Record that the frame went out."""
        self._unacknowledged = 0
        self.deadline_ns = None


def newest_first(ranges: Ranges) -> tuple[Range, ...]:
    """Return *ranges* in the order of an ACK frame."""
    return tuple(reversed(ranges.pairs))
