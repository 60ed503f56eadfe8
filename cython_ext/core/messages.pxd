"""Reliable unordered messages (docs/protocol.md section 5.5).

Sending: all messages lie one behind the other in one SendBuffer, each followed by one position that
carries no byte, so that empty messages exist and a run of small ones is one range of the ledger.
Receiving: whole messages go to the inbox; parts are put together aside; a bitmap remembers what was delivered.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.core.inbox cimport Inbox
from cython_ext.core.ranges cimport RangeSet
from cython_ext.core.send_buffer cimport SendBuffer
from cython_ext.core.stream cimport TransportError

cdef enum:
    ID_DISTANCE = 65536
    BITMAP_BYTES = 8192
    PARTIAL_BUCKETS = 256       # a peer that opens every id it may still finds chains of 256


cdef struct MessageOut:
    uint64_t start              # position in the buffer; it ends at start + length + 1
    uint64_t length


cdef struct Outgoing:
    SendBuffer buffer
    MessageOut* entries         # ring by message id: [first_id, next_id)
    uint64_t capacity           # power of two
    uint64_t first_id           # the lowest message not wholly acknowledged
    uint64_t next_id
    uint64_t started_id         # everything below was sent at least in part
    uint64_t credit             # the peer's max_message_data
    bint wants_space


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
    uint64_t duplicates

cdef bint outgoing_add(Outgoing* o, const uint8_t* data, uint64_t length) noexcept nogil
cdef MessageOut* outgoing_entry(const Outgoing* o, uint64_t id) noexcept nogil
cdef uint64_t outgoing_find(const Outgoing* o, uint64_t position) noexcept nogil
cdef bint outgoing_on_acked(Outgoing* o, uint64_t low, uint64_t high) noexcept nogil
cdef bint outgoing_has_work(const Outgoing* o) noexcept nogil
cdef bint outgoing_may_start(const Outgoing* o, uint64_t id) noexcept nogil
cdef void outgoing_clear(Outgoing* o) noexcept nogil
cdef TransportError incoming_whole(Incoming* i, uint64_t id, const uint8_t* data, uint64_t length, uint64_t max_bytes) noexcept nogil
cdef TransportError incoming_part(Incoming* i, uint64_t id, uint64_t total, uint64_t offset, const uint8_t* data,
                                  uint64_t length, uint64_t max_bytes) noexcept nogil
cdef void incoming_clear(Incoming* i) noexcept nogil
