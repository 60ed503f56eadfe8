"""Section 7 in its simplest correct form: an estimator in floats, a ledger that is a dictionary.

Fixed congestion window, no pacing, no undo. Knows frames only as things to hand back.
"""

from dataclasses import dataclass

from interop.reference.errors import Code, ViolationError
from interop.reference.frames import Frame
from interop.reference.ranges import Ranges

PACKET_THRESHOLD = 3
TIME_THRESHOLD = 9 / 8
SOURCE_THRESHOLD = TIME_THRESHOLD + 1 / 4
INITIAL_RTT_NS = 100e6
GRANULARITY_NS = 1e6
STEADY_EXPIRIES = 10
PROBES_MAX = 8
PROBES_WITH_DATA = 2
LOST_KEPT = 1024


@dataclass
class SentPacket:
    """A protected packet in flight; times in nanoseconds."""

    number: int
    sent_ns: int
    size: int
    ack_eliciting: bool
    phase: int
    frames: list[Frame]
    marked: bool = False
    is_source: bool = False


class RoundTrip:
    """RFC 6298's estimator with the ack delay taken out; all values in nanoseconds."""

    def __init__(self) -> None:
        self.smoothed = INITIAL_RTT_NS
        self.variation = INITIAL_RTT_NS / 2
        self.latest = INITIAL_RTT_NS
        self.minimum: float | None = None

    def update(self, sample: float, delay: float) -> None:
        """Take a *sample* of which the peer says *delay* was deliberate."""
        first = self.minimum is None
        self.minimum = sample if self.minimum is None else min(self.minimum, sample)
        # = 7: the delay not subtracted when that would fall below the minimum.
        if sample - delay >= self.minimum:
            sample -= delay
        self.latest = sample
        if first:
            self.smoothed, self.variation = sample, sample / 2
            return
        self.variation += (abs(self.smoothed - sample) - self.variation) / 4
        self.smoothed += (sample - self.smoothed) / 8


class Recovery:
    """What was sent and not yet acknowledged, and when to think it lost."""

    def __init__(self, window_packets: int) -> None:
        self.rtt = RoundTrip()
        self.window_packets = window_packets
        self.in_flight: dict[int, SentPacket] = {}
        self.lost: dict[int, SentPacket] = {}
        self.skipped: set[int] = set()
        self.next_number = 0
        self.largest_acked: int | None = None
        self.largest_in_frames: int | None = None
        self.peer_max_ack_delay_ns = 25e6
        self.idle_ns: int | None = None
        self.expiries = 0
        self.probes_due = 0
        self.last_eliciting_ns: int | None = None
        self.lost_packets = 0
        self.loss_ns: float | None = None

    def take_number(self) -> int:
        """Return the next packet number; never the same twice."""
        # = 2.4: A sender MUST NOT use a packet number twice.
        number = self.next_number
        self.next_number += 1
        return number

    def skip_number(self) -> None:
        """Pass over one number, so that blind acknowledging is found."""
        self.skipped.add(self.take_number())

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of ack-eliciting packets that are neither acknowledged nor lost."""
        return sum(p.size for p in self.in_flight.values() if p.ack_eliciting)

    def may_send(self, size: int) -> bool:
        """Tell whether *size* more bytes fit into the congestion window."""
        # = 7: An endpoint MUST NOT have more bytes in flight than its congestion controller allows,
        return self.bytes_in_flight + size <= self.window_packets * 1200

    def handle_sent(self, packet: SentPacket) -> None:
        """Record a protected packet."""
        self.in_flight[packet.number] = packet
        if packet.ack_eliciting:
            self.last_eliciting_ns = packet.sent_ns

    def check_numbers(self, low: int, high: int) -> None:
        """Raise `ViolationError` when low..high holds a number that was never sent."""
        # = 5.2: An endpoint MUST close with PROTOCOL_VIOLATION when it receives an acknowledgement,
        if high >= self.next_number or any(low <= number <= high for number in self.skipped):
            raise ViolationError(Code.PROTOCOL_VIOLATION, "acknowledges a packet that was not sent")

    def handle_header_ack(self, number: int) -> list[SentPacket]:
        """Take the acknowledgement of exactly one packet from a header."""
        self.check_numbers(number, number)
        acked = self._take(((number, number),))
        self._note_acked(acked)
        return acked

    def handle_recovered(
        self, recovered: tuple[tuple[int, int], ...], acked: tuple[tuple[int, int], ...]
    ) -> list[SentPacket]:
        """Take the recovered ranges of an ACK frame; return the packets whose content arrived.

        *acked* are the frame's other ranges.
        """
        # = 5.2: This holds for recovered ranges too.
        for low, high in recovered:
            self.check_numbers(low, high)
        # = 5.2: where it is in both it counts as acknowledged.
        only = Ranges()
        for low, high in recovered:
            only.add(low, high)
        for low, high in acked:
            only.remove(low, high)
        # = 5.2: the packet itself was lost, and the congestion controller counts it so.
        counted = sum(low <= number <= high for number in self.in_flight for low, high in only)
        self.lost_packets += counted
        return self._take(tuple(only))

    def handle_ack(
        self, ranges: tuple[tuple[int, int], ...], delay_us: int, now_ns: int
    ) -> tuple[list[SentPacket], list[SentPacket]]:
        """Take an ACK frame; return the packets newly acknowledged and newly lost."""
        for low, high in ranges:
            self.check_numbers(low, high)
        largest = ranges[0][1]
        acked = self._take(ranges)
        # = 7: an RTT sample comes from an ACK frame that newly acknowledges its `largest`
        if acked and acked[-1].number == largest and acked[-1].ack_eliciting:
            delay = min(delay_us * 1e3, self.peer_max_ack_delay_ns)
            self.rtt.update(now_ns - acked[-1].sent_ns, delay)
        if self.largest_in_frames is None or largest > self.largest_in_frames:
            self.largest_in_frames = largest
        self._note_acked(acked)
        return acked, self.detect_lost(now_ns)

    def detect_lost(self, now_ns: int) -> list[SentPacket]:
        """Remove and return the packets that are lost by number or by time."""
        self.loss_ns = None
        if self.largest_in_frames is None:
            return []
        period = max(self.rtt.smoothed, self.rtt.latest)
        lost = []
        for number in sorted(self.in_flight):
            packet = self.in_flight[number]
            if number >= self.largest_in_frames:
                continue
            # = 7: A source of a repair block (5.7) is lost by time alone, and a quarter of
            # = max(smoothed, latest) later,
            patience = period * (SOURCE_THRESHOLD if packet.is_source else TIME_THRESHOLD)
            too_old = packet.sent_ns + patience <= now_ns
            far_below = self.largest_in_frames - number >= PACKET_THRESHOLD
            if too_old or (far_below and not packet.is_source):
                lost.append(self.in_flight.pop(number))
            elif self.loss_ns is None or packet.sent_ns + patience < self.loss_ns:
                self.loss_ns = packet.sent_ns + patience
        self.lost_packets += len(lost)
        self.lost |= {packet.number: packet for packet in lost}
        while len(self.lost) > LOST_KEPT:
            del self.lost[min(self.lost)]
        return lost

    def probe_timeout(self) -> float:
        """Return the probe timeout without back-off, in nanoseconds."""
        variation = max(4 * self.rtt.variation, GRANULARITY_NS)
        return self.rtt.smoothed + variation + self.peer_max_ack_delay_ns

    def next_timeout(self) -> float | None:
        """Return when a loss or a probe is due, or None."""
        if self.loss_ns is not None:
            return self.loss_ns
        if self.last_eliciting_ns is None or not self.bytes_in_flight:
            return None
        base = self.probe_timeout()
        # = 7: the result is at most the largest of one undoubled probe timeout, 3 x smoothed and
        cap = max(base, 3 * self.rtt.smoothed, (self.idle_ns or 0) / 64)
        # = 7: after ten expiries without an acknowledgement it is doubled at each further one,
        doublings = min(max(self.expiries - STEADY_EXPIRIES, 0), 60)
        return self.last_eliciting_ns + min(base * 2.0**doublings, cap)

    def handle_timeout(self, now_ns: int) -> tuple[list[SentPacket], list[SentPacket]]:
        """Return (lost packets, packets whose content a probe should carry again)."""
        due = self.next_timeout()
        if due is None or due > now_ns:
            return [], []
        if self.loss_ns is not None:
            return self.detect_lost(now_ns), []
        self.expiries += 1
        # = 7: The first expiries send 1, 2 and 4 probes, the later ones 8;
        self.probes_due = min(2 ** (self.expiries - 1), PROBES_MAX)
        eliciting = [p for n, p in sorted(self.in_flight.items()) if p.ack_eliciting]
        self.last_eliciting_ns = now_ns
        return [], eliciting[: min(self.probes_due, PROBES_WITH_DATA)]

    def _take(self, ranges: tuple[tuple[int, int], ...]) -> list[SentPacket]:
        """Remove and return the packets in *ranges*, also those thought lost, in their order."""
        numbers = sorted(
            number
            for number in {*self.in_flight, *self.lost}
            if any(low <= number <= high for low, high in ranges)
        )
        ledgers = [self.in_flight if n in self.in_flight else self.lost for n in numbers]
        return [ledger.pop(n) for ledger, n in zip(ledgers, numbers, strict=True)]

    def _note_acked(self, acked: list[SentPacket]) -> None:
        for packet in acked:
            if self.largest_acked is None or packet.number > self.largest_acked:
                self.largest_acked = packet.number
        if acked:
            self.expiries = 0
            self.probes_due = 0
