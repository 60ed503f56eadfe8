"""Range sets and the replay window of RFC 6479.

The common case, a number just above the last range, is constant time; elsewhere a binary search and a
move. A set with a limit refuses the range that would exceed it: the caller decides what that means.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove, memset


cdef unsigned int ranges_find(const RangeSet* s, uint64_t value) noexcept nogil:
    """Return the index of the first range whose end lies above *value*."""
    cdef unsigned int low = 0, high = s.count, middle
    if high and s.items[high - 1].high <= value:
        return high
    while low < high:
        middle = (low + high) // 2
        if s.items[middle].high <= value:
            low = middle + 1
        else:
            high = middle
    return low


cdef bint insert_at(RangeSet* s, unsigned int at, uint64_t low, uint64_t high) noexcept nogil:
    cdef unsigned int capacity
    cdef Range* grown
    if s.limit and s.count >= s.limit:
        return False
    if s.count == s.capacity:
        capacity = s.capacity * 2 if s.capacity else 4
        grown = <Range*> realloc(s.items, capacity * sizeof(Range))
        if grown == NULL:
            return False
        s.items = grown
        s.capacity = capacity
    memmove(s.items + at + 1, s.items + at, (s.count - at) * sizeof(Range))
    s.items[at].low = low
    s.items[at].high = high
    s.count += 1
    return True


cdef bint ranges_add(RangeSet* s, uint64_t low, uint64_t high) noexcept nogil:
    """Add [low, high); False when memory or the limit does not allow another range."""
    cdef unsigned int at, last
    if low >= high:
        return True
    if s.count and s.items[s.count - 1].high == low:
        s.items[s.count - 1].high = high
        return True
    # The first range that touches or follows: one that ends exactly at `low` is merged.
    at = ranges_find(s, low - 1 if low else 0)
    if at == s.count or s.items[at].low > high:
        return insert_at(s, at, low, high)
    if s.items[at].low > low:
        s.items[at].low = low
    if s.items[at].high < high:
        last = at + 1
        while last < s.count and s.items[last].low <= high:
            last += 1
        if s.items[last - 1].high > high:
            high = s.items[last - 1].high
        s.items[at].high = high
        memmove(s.items + at + 1, s.items + last, (s.count - last) * sizeof(Range))
        s.count -= last - at - 1
    return True


cdef bint ranges_remove(RangeSet* s, uint64_t low, uint64_t high) noexcept nogil:
    """Take [low, high) out; False when a split needs a range that cannot be had (then nothing is removed there)."""
    cdef unsigned int at = ranges_find(s, low), last
    cdef uint64_t rest
    if low >= high or at == s.count or s.items[at].low >= high:
        return True
    if s.items[at].low < low:
        if s.items[at].high > high:
            rest = s.items[at].high
            if not insert_at(s, at + 1, high, rest):
                return False
            s.items[at].high = low
            return True
        s.items[at].high = low
        at += 1
    last = at
    while last < s.count and s.items[last].high <= high:
        last += 1
    if last < s.count and s.items[last].low < high:
        s.items[last].low = high
    memmove(s.items + at, s.items + last, (s.count - last) * sizeof(Range))
    s.count -= last - at
    return True


cdef void ranges_remove_below(RangeSet* s, uint64_t low) noexcept nogil:
    cdef unsigned int at
    if s.count == 0 or s.items[0].low >= low:
        return
    at = ranges_find(s, low)
    if at:
        memmove(s.items, s.items + at, (s.count - at) * sizeof(Range))
        s.count -= at
    if s.count and s.items[0].low < low:
        s.items[0].low = low


cdef void ranges_drop_lowest(RangeSet* s) noexcept nogil:
    if s.count:
        s.count -= 1
        memmove(s.items, s.items + 1, s.count * sizeof(Range))


cdef bint ranges_contain(const RangeSet* s, uint64_t value) noexcept nogil:
    cdef unsigned int at = ranges_find(s, value)
    return at < s.count and s.items[at].low <= value


cdef void ranges_clear(RangeSet* s) noexcept nogil:
    free(s.items)
    s.items = NULL
    s.count = 0
    s.capacity = 0


cdef int replay_check(const ReplayWindow* w, uint64_t number) noexcept nogil:
    """Return REPLAY_FRESH, REPLAY_SEEN, or REPLAY_OLD for a number below the window."""
    #= 2.5: A receiver MUST process each packet number at most once, and drop numbers below its window.
    if number >= w.next:
        return REPLAY_FRESH
    # As a subtraction: number + REPLAY_WINDOW could wrap.
    if w.next - number > REPLAY_WINDOW or number < w.floor:
        return REPLAY_OLD
    if w.bits[(number // 64) % w.words] >> (number % 64) & 1:
        return REPLAY_SEEN
    return REPLAY_FRESH


cdef bint replay_reserve(ReplayWindow* w, uint64_t word) noexcept nogil:
    """Make room for *word*: a short window that is never a ring yet, then the whole of it."""
    cdef uint64_t words = REPLAY_FIRST_WORDS if word < REPLAY_FIRST_WORDS else REPLAY_WORDS
    cdef uint64_t* grown
    if words <= w.words:
        return True
    grown = <uint64_t*> calloc(words, sizeof(uint64_t))
    if grown == NULL:
        return False
    if w.words:
        memcpy(grown, w.bits, w.words * sizeof(uint64_t))
    free(w.bits)
    w.bits = grown
    w.words = words
    return True


cdef void replay_commit(ReplayWindow* w, uint64_t number) noexcept nogil:
    """Mark *number*, moving the window up; only for numbers that replay_check calls fresh."""
    cdef uint64_t word = number // 64, top, n
    if not replay_reserve(w, word):
        # What cannot be remembered is refused from now on.
        w.floor = w.next = number + 1
        return
    if number >= w.next:
        top = (w.next - 1) // 64 if w.next else 0
        if word > top:
            if word - top >= w.words:
                memset(w.bits, 0, w.words * sizeof(uint64_t))
            else:
                for n in range(top + 1, word + 1):
                    w.bits[n % w.words] = 0
        w.next = number + 1
    w.bits[word % w.words] |= <uint64_t> 1 << (number % 64)


cdef void replay_clear(ReplayWindow* w) noexcept nogil:
    free(w.bits)
    memset(w, 0, sizeof(ReplayWindow))


cdef class Ranges:
    """A range set as Python sees it: for property tests against a plain ``set``."""

    cdef RangeSet set

    def __cinit__(self, limit: int = 0):
        self.set.limit = limit

    def __dealloc__(self):
        ranges_clear(&self.set)

    def add(self, low: int, high: int) -> bool:
        """Add [low, high)."""
        return ranges_add(&self.set, low, high)

    def remove(self, low: int, high: int) -> bool:
        """Remove [low, high)."""
        return ranges_remove(&self.set, low, high)

    def remove_below(self, low: int) -> None:
        """Remove everything below *low*."""
        ranges_remove_below(&self.set, low)

    def items(self) -> list[tuple[int, int]]:
        """Return the ranges as (low, high) pairs, ascending, high excluded."""
        return [(self.set.items[n].low, self.set.items[n].high) for n in range(self.set.count)]

    def __contains__(self, value: int) -> bool:
        return ranges_contain(&self.set, value)


cdef class Replay:
    """A replay window as Python sees it."""

    cdef ReplayWindow window

    def __dealloc__(self):
        replay_clear(&self.window)

    def check(self, number: int) -> int:
        """Return 0 for a fresh number, 1 for one seen, 2 for one below the window."""
        return replay_check(&self.window, number)

    def commit(self, number: int) -> None:
        """Mark a fresh number as seen."""
        replay_commit(&self.window, number)
