"""The congestion contract: a table of functions over a state of the algorithm's own.

Bytes, nanoseconds, bytes per second. A controller reads what happened and sets `window` and
`pacing_rate`; it never sees packets, streams or clocks.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cython_ext.core.delivery cimport RateSample


cdef struct AckEvent:
    int64_t now_ns
    uint64_t acked_bytes        # newly acknowledged by this ACK
    uint64_t lost_bytes         # newly declared lost with it
    uint64_t lost_packets
    uint64_t lost_runs          # runs of neighbours among them
    uint64_t newest_lost_bytes  # of the newest packet among them: its size,
    uint64_t newest_lost_in_flight  # what was in flight with it,
    uint64_t newest_lost_since  # and what was lost since it left, itself included
    bint newest_lost_app_limited
    uint64_t ecn_acked_bytes    # of the acknowledged, those sent with ECT(0)
    uint64_t marked_bytes       # of those, reported with CE
    uint64_t in_flight          # after both
    uint64_t prior_in_flight    # before both
    uint64_t delivered          # total
    int64_t latest_rtt_ns       # 0 when this ACK gave no sample
    int64_t smoothed_rtt_ns
    int64_t minimum_rtt_ns      # over the connection
    int64_t largest_sent_ns     # when the newest packet acknowledged or lost was sent
    RateSample sample


cdef struct Controller:
    const Algorithm* algorithm
    uint64_t window             # bytes that may be in flight
    uint64_t pacing_rate        # 0 = unpaced
    uint64_t datagram_bytes     # size of a full packet
    uint64_t initial_window     # what `window` begins with
    bint small_bursts           # what lies behind has no queue: bursts are lost
    bint mid_life               # it takes over from another: the window is proven
    uint8_t phase               # the algorithm's own name of its state, for stats
    void* state                 # owned by the algorithm

ctypedef bint (*OnInit)(Controller* c, int64_t now_ns, int64_t initial_rtt_ns, uint64_t seed) noexcept nogil
ctypedef void (*OnSent)(Controller* c, int64_t now_ns, uint64_t bytes, uint64_t in_flight, bint app_limited) noexcept nogil
ctypedef void (*OnAck)(Controller* c, const AckEvent* event) noexcept nogil
ctypedef void (*OnEvent)(Controller* c, int64_t now_ns) noexcept nogil
ctypedef void (*OnClear)(Controller* c) noexcept nogil


cdef struct Algorithm:
    OnInit init                 # False when memory ran out
    OnSent on_sent              # before the packet counts in flight
    OnAck on_ack                # once per ACK, or per loss timer (then acked_bytes is 0)
    OnEvent on_spurious         # a packet declared lost was acknowledged after all
    OnEvent on_persistent       # nothing got through for long (RFC 9002 section 7.6)
    OnClear clear

cdef bint controller_init(Controller* c, uint8_t which, uint64_t datagram_bytes, int64_t now_ns,
                          int64_t initial_rtt_ns, uint64_t seed) noexcept nogil
cdef bint controller_switch(Controller* c, uint8_t which, int64_t now_ns, int64_t rtt_ns, uint64_t seed) noexcept nogil
cdef void controller_clear(Controller* c) noexcept nogil
