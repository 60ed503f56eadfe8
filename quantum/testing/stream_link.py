"""What loss looks like from inside TCP: a stream that stalls. Sans-IO; see `network` for datagrams.

A proxy cannot drop a segment of somebody else's TCP connection, only delay bytes. So a lost segment
is modelled by its effect: the whole direction stands still for one retransmission timeout, and what
is written meanwhile leaves afterwards, in full segments.
"""

from collections import deque
from random import Random

from quantum.testing.network import Impairment

SEGMENT_BYTES = 1400
# The smallest retransmission timeout of Linux.
MIN_STALL_NS = 200_000_000


class StreamLink:
    """One direction of a byte stream under one `Impairment`.

    Of the impairment, delay, jitter, loss (per segment, whatever the burst), rate and black holes
    apply; reordering, duplication, corruption and MTU are hidden by TCP.

    Args:
        impairment: may be replaced at any time.
        round_trip_ns: a lost segment stalls the direction for this, but at least 200 ms.
        rng: the only source of chance.
    """

    def __init__(self, impairment: Impairment, round_trip_ns: int, rng: Random) -> None:
        self.impairment = impairment
        self.round_trip_ns = round_trip_ns
        self.stalls = 0
        self._rng = rng
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._flight: deque[tuple[int, bytes]] = deque()
        self._flight_bytes = 0
        self._resent = b""
        self._blocked_until = 0
        self._free_at = 0.0
        self._last_arrival = 0

    def write(self, data: bytes) -> None:
        """Take bytes; `poll_data` sends them when the link is not stalled."""
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)

    def poll_data(self, now_ns: int) -> bytes:
        """Return the bytes that have arrived at the other end by *now_ns*."""
        self._depart(now_ns)
        flight = self._flight
        arrived = []
        while flight and flight[0][0] <= now_ns:
            arrived.append(flight.popleft()[1])
        data = b"".join(arrived)
        self._flight_bytes -= len(data)
        return data

    def next_timeout(self) -> int | None:
        """Return when `poll_data` has something to do, or None before the next `write`."""
        times = []
        if self._flight:
            times.append(self._flight[0][0])
        if self._waiting or self._resent:
            times.append(self._blocked_until)
        return min(times, default=None)

    @property
    def held_bytes(self) -> int:
        """Bytes written that `poll_data` has not returned."""
        return self._waiting_bytes + len(self._resent) + self._flight_bytes

    def _depart(self, now_ns: int) -> None:
        """Send segments until nothing waits or one is lost."""
        while (self._waiting or self._resent) and now_ns >= self._blocked_until:
            impairment = self.impairment
            hole = max((b for a, b in impairment.blackholes if a <= now_ns < b), default=None)
            if hole is not None:
                self._blocked_until = hole
                return
            if self._resent:
                # The stall was its recovery: it is not lost a second time.
                segment, self._resent = self._resent, b""
            else:
                segment = self._segment()
                if impairment.loss and self._rng.random() < impairment.loss:
                    self.stalls += 1
                    self._resent = segment
                    self._blocked_until = now_ns + max(MIN_STALL_NS, self.round_trip_ns)
                    return
            at = now_ns
            if impairment.rate_bps is not None:
                self._free_at = max(self._free_at, float(now_ns))
                self._free_at += len(segment) * 8e9 / impairment.rate_bps
                at = round(self._free_at)
            at += impairment.delay_ns + int(self._rng.random() * impairment.jitter_ns)
            self._last_arrival = max(self._last_arrival, at)
            self._flight.append((self._last_arrival, segment))
            self._flight_bytes += len(segment)

    def _segment(self) -> bytes:
        """Take up to one segment off what waits; small writes that wait together share one."""
        waiting, parts, room = self._waiting, [], SEGMENT_BYTES
        while waiting and room:
            data = waiting.popleft()
            if len(data) > room:
                waiting.appendleft(data[room:])
                data = data[:room]
            parts.append(data)
            room -= len(data)
        segment = b"".join(parts)
        self._waiting_bytes -= len(segment)
        return segment
