"""Explicit congestion notification (section 5.2): counts of marks, and whether to go on marking.

A mark is the two bits of the IP header. Knows no frame and no time.
"""

from enum import IntEnum

Counts = tuple[int, int, int]


class Mark(IntEnum):
    """The codepoints of RFC 3168."""

    NONE = 0
    ECT1 = 1
    ECT0 = 2
    CE = 3


class MarkCounter:
    """How many packets were opened with each mark, over the life of the connection."""

    def __init__(self) -> None:
        self._seen = dict.fromkeys(Mark, 0)

    def count(self, mark: int) -> None:
        """Count a packet that was opened and came with *mark*."""
        self._seen[Mark(mark)] += 1

    @property
    def counts(self) -> Counts | None:
        """ECT0, ECT1 and CE as an ACK frame says them; None before any mark came."""
        # = 5.2: An endpoint that received a packet with a mark sends one of these types.
        counts = (self._seen[Mark.ECT0], self._seen[Mark.ECT1], self._seen[Mark.CE])
        return counts if any(counts) else None


class Marker:
    """Whether this endpoint marks its packets ECT(0), judged by what the peer counts."""

    def __init__(self, wanted: bool) -> None:
        self.mark = Mark.ECT0 if wanted else Mark.NONE
        self.congestion_events = 0
        self._largest = -1
        self._last: Counts = (0, 0, 0)

    def handle_ack(self, largest: int, newly_marked: int, counts: Counts | None) -> None:
        """Take an ACK frame that newly acknowledges *newly_marked* packets sent with a mark."""
        # Frames overtake each other: as in RFC 9000, only one with a new largest is judged.
        if largest <= self._largest:
            return
        self._largest = largest
        counts = counts or (0, 0, 0)
        ect0, ect1, ce = (now - before for now, before in zip(counts, self._last, strict=True))
        # = 5.2: they fall, or an ACK that newly acknowledges marked packets raises ECT0 + CE by less
        # = than their number
        if min(ect0, ect1, ce) < 0 or (newly_marked and ect0 + ce < newly_marked):
            self.mark = Mark.NONE
        # = 5.2: A growth of CE is congestion.
        elif ce > 0:
            self.congestion_events += 1
        self._last = counts
