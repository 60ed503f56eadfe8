"""The sending side of an offset space: what is new, what was lost, what is done.

Owners may count positions that carry no byte (a stream's FIN, a message's end): such a position is
reserved by appending one byte that is never read, so that acknowledgement and loss need no second rule.
"""

from libc.stdint cimport uint8_t, uint64_t

from cython_ext.core.byte_ring cimport ring_clear, ring_reserve, ring_write
from cython_ext.core.ranges cimport (
    ranges_add, ranges_clear, ranges_find, ranges_remove, ranges_remove_below,
)


cdef enum:
    # How many times the limit may lie between the oldest byte not acknowledged and the newest written.
    LONGEST_SPAN = 4


cdef bint buffer_is_full(const SendBuffer* b, uint64_t limit) noexcept nogil:
    """Tell whether *limit* bytes are not acknowledged, and more is not to be taken.

    Behind a loss most of what is held has arrived and only waits for its turn: a packet lost three times
    holds up four round trips of bytes. Then what was never sent counts, half as much of it, or the path would
    idle until the loss is repaired.
    """
    cdef uint64_t span = b.end - b.base
    if span < limit:
        return False
    return b.acked.count == 0 or 2 * (b.end - b.sent) >= limit or span >= LONGEST_SPAN * limit


cdef bint buffer_append(SendBuffer* b, const uint8_t* data, uint64_t length) noexcept nogil:
    """Take a copy of *length* bytes; False, and nothing taken, when memory ran out."""
    if not ring_reserve(&b.ring, b.base, b.end, b.end + length):
        return False
    ring_write(&b.ring, b.end, data, length)
    b.end += length
    return True


cdef bint buffer_on_acked(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil:
    """Note that [low, high) arrived; True when `base` moved, hence room came free."""
    if low < b.base:
        low = b.base
    if low >= high:
        return False
    if b.lost.count:
        ranges_remove(&b.lost, low, high)
    if low > b.base:
        ranges_add(&b.acked, low, high)
        return False
    b.base = high
    if b.acked.count:
        if b.acked.items[0].low <= high:
            ranges_remove_below(&b.acked, high)
            if b.acked.count and b.acked.items[0].low == high:
                b.base = b.acked.items[0].high
                ranges_remove_below(&b.acked, b.base)
    return True


cdef bint buffer_on_lost(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil:
    """Queue what of [low, high) is not acknowledged; True when there is something to send."""
    cdef unsigned int at
    cdef uint64_t stop
    cdef bint queued = False
    if low < b.base:
        low = b.base
    while low < high:
        at = ranges_find(&b.acked, low)
        stop = high
        if at < b.acked.count:
            if b.acked.items[at].low <= low:
                low = b.acked.items[at].high
                continue
            if b.acked.items[at].low < stop:
                stop = b.acked.items[at].low
        ranges_add(&b.lost, low, stop)
        queued = True
        low = stop
    return queued


cdef bint buffer_next(const SendBuffer* b, uint64_t limit, uint64_t* low, uint64_t* high) noexcept nogil:
    """Give the next range to send: lost ones first, then new ones below *limit*; False when there is none."""
    if b.lost.count:
        low[0] = b.lost.items[0].low
        high[0] = b.lost.items[0].high
        return True
    low[0] = b.sent
    high[0] = b.end if b.end < limit else limit
    return low[0] < high[0]


cdef void buffer_on_sent(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil:
    """Note that [low, high), a part of what buffer_next gave, left."""
    if low < b.sent:
        ranges_remove(&b.lost, low, high)
    if high > b.sent:
        b.sent = high


cdef void buffer_rest(SendBuffer* b) noexcept nogil:
    """Give the room back when nothing is in it."""
    if b.base == b.end:
        ring_clear(&b.ring)
        ranges_clear(&b.acked)
        ranges_clear(&b.lost)


cdef void buffer_clear(SendBuffer* b) noexcept nogil:
    ring_clear(&b.ring)
    ranges_clear(&b.acked)
    ranges_clear(&b.lost)
