"""Sets of 64-bit numbers as sorted, disjoint, half-open ranges; and the replay window."""

from libc.stdint cimport uint8_t, uint64_t


cdef struct Range:
    uint64_t low        # included
    uint64_t high       # excluded


cdef struct RangeSet:
    Range* items        # ascending; neighbours never touch
    unsigned int count
    unsigned int capacity
    unsigned int limit  # ranges; 0 = no bound of its own

cdef enum:
    REPLAY_FIRST_WORDS = 8
    REPLAY_WORDS = 136          # 64-bit words: a window of 8,640 numbers and one word of slack (RFC 6479)
    REPLAY_WINDOW = (136 - 1) * 64


cdef struct ReplayWindow:
    uint64_t next               # one above the highest number committed; 0 before any
    uint64_t floor              # everything below counts as old: memory ran out there
    uint64_t* bits              # ring; of few words while numbers are low, which most connections' are
    uint64_t words

cdef enum:
    REPLAY_FRESH = 0
    REPLAY_SEEN = 1
    REPLAY_OLD = 2

cdef bint ranges_add(RangeSet* s, uint64_t low, uint64_t high) noexcept nogil
cdef bint ranges_remove(RangeSet* s, uint64_t low, uint64_t high) noexcept nogil
cdef void ranges_remove_below(RangeSet* s, uint64_t low) noexcept nogil
cdef void ranges_drop_lowest(RangeSet* s) noexcept nogil
cdef bint ranges_contain(const RangeSet* s, uint64_t value) noexcept nogil
cdef unsigned int ranges_find(const RangeSet* s, uint64_t value) noexcept nogil
cdef void ranges_clear(RangeSet* s) noexcept nogil
cdef int replay_check(const ReplayWindow* w, uint64_t number) noexcept nogil
cdef void replay_commit(ReplayWindow* w, uint64_t number) noexcept nogil
cdef void replay_clear(ReplayWindow* w) noexcept nogil
