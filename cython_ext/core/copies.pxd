"""Copies of small messages: when the next one is due, and what goes into it (docs/protocol.md section 5.8).

A message of a thin flow that is lost comes a round trip late, because nothing behind it tells of the loss.
A copy in another packet comes as late as the two are apart. Each packet with room to spare carries the young
messages again; where no packet leaves by itself, one is sent for the copies, within a budget.
Knows nothing of frames, packets or timers.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.outgoing cimport Outgoing
from cython_ext.core.recovery cimport Recovery

cdef enum:
    COPY = 0xf0                 # kind of a copy in the ledger; never on the wire
    # Copies in one packet take no more than this.
    COPY_BYTES = 512
    # A message that is copied is at most so large: several fit into a packet.
    SMALL_BYTES = 256
    # A flow that sends more messages than this within the horizon is not thin.
    YOUNG_MESSAGES = 32

cdef enum:
    # Which messages are protected.
    COPIES_OFF = 0
    COPIES_DEADLINE = 1         # those with a deadline, once packets are lost
    COPIES_ALL = 2              # all, from the beginning; see `copies_refresh` for when it ends


cdef struct Young:
    uint64_t seq                # in the lane
    int64_t sent_ns             # first time
    int64_t last_ns             # last time, copies included
    int64_t due_ns              # when a copy should leave; 0 = no more
    int64_t deadline_ns         # 0 = none
    uint8_t lane
    uint8_t stage               # copies that left or were passed over


cdef struct Copies:
    Young ring[YOUNG_MESSAGES]
    uint32_t first              # place of the oldest
    uint32_t count
    uint8_t mode                # COPIES_*
    uint32_t wanted             # copies of each message
    bint blocked                # one is due and the window or the pacer holds it back
    double tokens               # packets that may still be spent on copies alone
    int64_t one_way_ns          # half a round trip
    int64_t horizon_ns          # after this a message is not copied any more
    int64_t crowded_until_ns
    int64_t due_ns              # the earliest due copy; 0 = none
    uint64_t sent               # copies of messages
    uint64_t bytes              # of their frames
    uint64_t useful             # frames whose packet was lost when a copy had brought them


cdef Copies* copies_new(uint8_t mode) noexcept nogil
cdef void copies_refresh(Copies* copies, const Recovery* r) noexcept nogil
cdef void copies_note_message(Copies* copies, uint8_t lane, uint64_t seq, uint64_t length, int64_t deadline_ns,
                              int64_t now_ns) noexcept nogil
cdef bint copies_are_due(Copies* copies, const Outgoing* o, const Recovery* r, int64_t now_ns) noexcept nogil
cdef bint copies_is_useful(const Copies* copies, const Young* y, int64_t now_ns) noexcept nogil
cdef void copies_note_copy(Copies* copies, Young* y, uint64_t bytes, int64_t now_ns) noexcept nogil
cdef void copies_pass(Copies* copies, int64_t now_ns) noexcept nogil


cdef inline Young* copies_young(Copies* copies, uint32_t n) noexcept nogil:
    """Return the message that is *n* messages older than the newest."""
    return &copies.ring[(copies.first + copies.count - 1 - n) % YOUNG_MESSAGES]


cdef inline void copies_spend(Copies* copies) noexcept nogil:
    """Note a packet that there is because of the messages, in either direction."""
    copies.tokens -= 1
    if copies.tokens < -4:
        copies.tokens = -4
