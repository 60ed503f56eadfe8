"""Reliable messages on their way out: lanes by priority, deadlines, what the peer must be told.

In a lane all messages lie one behind the other in one SendBuffer, each followed by one position that
carries no byte, so that empty messages exist and a run of small ones is one range of the ledger. A message
gets its id when its first byte leaves (docs/protocol.md section 5.5), so lanes share one space of ids.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.inbox cimport Inbox
from cython_ext.core.ranges cimport RangeSet
from cython_ext.core.send_buffer cimport SendBuffer

cdef enum:
    LANES = 8                   # 0 is the most urgent
    DEFAULT_LANE = 3

cdef enum:
    MESSAGE_LATE = 1            # past its deadline with everything in flight: a loss ends it
    MESSAGE_GIVEN_UP = 2


cdef struct MessageOut:
    uint64_t start              # position in the lane's buffer; it ends at start + length + 1
    uint64_t id                 # once something of it was sent
    int64_t deadline_ns         # 0 = none
    uint32_t length
    uint8_t flags


cdef struct Due:
    int64_t deadline_ns
    uint64_t seq


cdef struct Lane:
    SendBuffer buffer
    MessageOut* entries         # ring by place in the lane: [first, next)
    uint64_t capacity           # power of two
    uint64_t first              # the first message not wholly acknowledged
    uint64_t started            # everything below was sent at least in part
    uint64_t next
    Due* dues                   # binary heap of deadlines; those of messages that ended stay until they are due
    uint64_t due_count
    uint64_t due_capacity
    uint64_t dead_bytes         # of messages given up behind `started`, still in the buffer
    uint64_t late               # messages in flight with MESSAGE_LATE


cdef struct Outgoing:
    Lane* lanes[LANES]          # NULL until a message came
    uint64_t next_id
    uint64_t credit             # the peer's max_message_data
    uint64_t used               # sum of (size + 1) over messages of which anything was sent
    int64_t expiry_ns           # the earliest deadline that may matter; 0 = none
    Inbox notices               # MESSAGE_EXPIRED to be sent: id and size, 8 bytes each
    RangeSet unclosed           # ids given up whose MESSAGE_EXPIRED is not acknowledged
    uint64_t expired            # messages given up
    bint wants_space

cdef bint outgoing_add(Outgoing* o, uint32_t priority, const uint8_t* data, uint64_t length, int64_t deadline_ns) noexcept nogil
cdef MessageOut* lane_entry(const Lane* lane, uint64_t seq) noexcept nogil
cdef uint64_t lane_find(const Lane* lane, uint64_t position) noexcept nogil
cdef void lane_skip_dead(Lane* lane) noexcept nogil
cdef bint lane_has(const Lane* lane, uint64_t low, uint64_t high) noexcept nogil
cdef void outgoing_start(Outgoing* o, Lane* lane, MessageOut* m) noexcept nogil
cdef uint64_t outgoing_waiting(const Outgoing* o) noexcept nogil
cdef uint64_t outgoing_lowest(const Outgoing* o) noexcept nogil
cdef bint outgoing_on_acked(Outgoing* o, uint64_t priority, uint64_t low, uint64_t high) noexcept nogil
cdef uint64_t outgoing_on_lost(Outgoing* o, uint64_t priority, uint64_t low, uint64_t high) noexcept nogil
cdef bint outgoing_has_work(const Outgoing* o) noexcept nogil
cdef bint outgoing_expire(Outgoing* o, int64_t now_ns) noexcept nogil
cdef void outgoing_notice_done(Outgoing* o, uint64_t id, uint64_t size, bint acked) noexcept nogil
cdef bint outgoing_next_notice(Outgoing* o, uint64_t* id, uint64_t* size) noexcept nogil
cdef void outgoing_rest(Outgoing* o) noexcept nogil
cdef void outgoing_clear(Outgoing* o) noexcept nogil
