"""Reliable unordered messages as they arrive (docs/protocol.md section 5.5).

Whole messages go to the inbox; parts are put together aside; a bitmap remembers what was delivered.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.core.inbox cimport Inbox
from cython_ext.core.ranges cimport RangeSet
from cython_ext.core.stream cimport TransportError

cdef enum:
    ID_DISTANCE = 65536
    BITMAP_BYTES = 8192
    PARTIAL_BUCKETS = 256       # a peer that opens every id it may still finds chains of 256


cdef struct Partial:
    uint64_t id
    uint64_t total
    uint64_t capacity
    uint8_t* data               # grows to the highest offset seen
    RangeSet got
    Partial* next


cdef struct Incoming:
    Inbox inbox
    uint8_t* bitmap             # of ids [base, base + ID_DISTANCE), ring; NULL until an id came out of order
    uint64_t base               # everything below was delivered
    uint64_t highest            # one above the highest id seen
    Partial** partials          # hash by id; NULL until a part came
    uint64_t partial_count
    uint64_t received           # sum of (size + 1) over messages of which anything came
    uint64_t consumed           # the same over messages the application took
    uint64_t limit              # what the peer was told
    uint64_t delivered
    uint64_t expired            # ids the sender gave up
    uint64_t duplicates

cdef TransportError incoming_whole(Incoming* i, uint64_t id, const uint8_t* data, uint64_t length, uint64_t max_bytes) noexcept nogil
cdef TransportError incoming_part(Incoming* i, uint64_t id, uint64_t total, uint64_t offset, const uint8_t* data,
                                  uint64_t length, uint64_t max_bytes) noexcept nogil
cdef TransportError incoming_expired(Incoming* i, uint64_t id, uint64_t size, uint64_t max_bytes) noexcept nogil
cdef bint incoming_misses(const Incoming* i) noexcept nogil
cdef void incoming_clear(Incoming* i) noexcept nogil
