"""The ledger of sent packets, loss detection and the probe timeout (docs/protocol.md section 7).

The ledger is two rings: packets by number, and the frames they carried. Nothing is allocated per packet
once the rings have their size. What a frame means is the sink's business.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.controller cimport AckEvent, Controller
from cython_ext.core.delivery cimport Delivery, Snapshot
from cython_ext.core.ecn cimport Ecn
from cython_ext.core.loss_meter cimport LossMeter
from cython_ext.core.pacer cimport Pacer
from cython_ext.core.ranges cimport RangeSet
from cython_ext.core.rtt cimport Rtt

cdef enum:
    SENT_NOTHING = 0        # skipped, or a handshake packet: never in the ledger's sums
    SENT_IN_FLIGHT = 1
    SENT_ACKED = 2
    SENT_LOST = 3           # kept for a while, to recognise a spurious loss
    SENT_RECOVERED = 4      # lost, and what it carried was rebuilt by the peer; kept likewise

cdef enum:
    FULL_PROBES = 2         # of one expiry carry data; the others are PINGs

cdef enum:
    PACKET_ELICITING = 1
    PACKET_SKIPPED = 2      # skipped on purpose: acknowledging it is a violation
    PACKET_SOURCE = 4       # in a repair block
    PACKET_ECT = 4          # left with ECT(0)


cdef struct SentFrame:
    uint8_t kind            # the frame's type on the wire
    uint64_t id             # stream id; largest number of an ACK
    uint64_t low            # the range of the send buffer that it carried
    uint64_t high


cdef struct SentPacket:
    Snapshot snapshot
    int64_t sent_ns
    uint64_t first_frame    # absolute index into the ring of frames
    uint32_t bytes          # of the datagram; 0 when not in flight (ACK only)
    uint32_t frame_count
    uint8_t state
    uint8_t flags

ctypedef void (*FrameSink)(void* owner, const SentFrame* frame, bint acked) noexcept nogil


cdef struct Recovery:
    # the ledger: numbers [first, next)
    SentPacket* packets
    uint64_t packet_capacity    # power of two
    uint64_t first
    uint64_t next
    uint64_t first_in_flight    # nothing below is in flight; a place to start looking
    RangeSet recovered          # numbers reported as rebuilt, from `first` on, likewise
    RangeSet acked              # numbers acknowledged, from `first` on: an ACK repeats most of what the last one said
    SentFrame* frames
    uint64_t frame_capacity     # power of two
    uint64_t frame_first
    uint64_t frame_next
    FrameSink sink
    void* owner
    # estimates and controls
    Rtt rtt
    Delivery delivery
    Controller controller
    Pacer pacer
    Ecn ecn
    LossMeter losses
    # loss detection
    uint64_t largest_acked      # by ACK frames only
    bint acked_any
    uint64_t in_flight          # bytes
    uint32_t eliciting_in_flight    # packets
    int64_t loss_ns             # when the earliest packet that may be late is lost; 0 = none
    int64_t last_eliciting_ns   # when the newest ack-eliciting packet left
    uint32_t probe_count        # expiries without an acknowledgement
    uint32_t probes_owed        # packets that may leave beyond the window
    uint32_t packet_threshold   # 3, growing with reordering seen
    uint32_t time_threshold_8th # eighths of the round trip that a packet may be late beyond it
    uint64_t reorder_seen_at    # number sent when the thresholds last grew; they decay after a while
    uint64_t skip_at            # the next number to be skipped on purpose
    uint64_t skip_step
    int64_t max_ack_delay_ns    # the peer's
    int64_t probe_cap_ns        # docs/protocol.md section 7: idle time-out / 64
    # what the present ACK did; reset per ACK
    AckEvent event
    uint64_t event_ect_packets  # newly acknowledged, of those that left with ECT(0)
    # counters
    uint64_t packets_lost
    uint64_t bytes_lost
    uint64_t packets_spurious
    uint64_t packets_recovered  # lost, and rebuilt by the peer
    uint64_t probes_sent
    uint64_t packets_acked
    uint64_t persistent_events

cdef bint recovery_init(Recovery* r, uint8_t controller, uint64_t datagram_bytes, int64_t now_ns,
                        int64_t initial_rtt_ns, uint64_t seed) noexcept nogil
cdef void recovery_rest(Recovery* r) noexcept nogil
cdef void recovery_clear(Recovery* r) noexcept nogil
cdef bint recovery_reserve(Recovery* r, uint32_t frames) noexcept nogil
cdef void recovery_add_frame(Recovery* r, uint8_t kind, uint64_t id, uint64_t low, uint64_t high) noexcept nogil
cdef void recovery_on_sent(Recovery* r, uint32_t datagram_bytes, uint32_t frame_count, bint eliciting, bint app_limited, int64_t now_ns) noexcept nogil
cdef void recovery_mark_source(Recovery* r) noexcept nogil
cdef bint recovery_skip(Recovery* r, bint on_purpose) noexcept nogil
cdef bint recovery_skip_due(const Recovery* r) noexcept nogil
cdef void recovery_ack_begin(Recovery* r, int64_t now_ns) noexcept nogil
cdef bint recovery_ack_range(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil
cdef bint recovery_recovered_range(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil
cdef void recovery_ack_largest(Recovery* r, uint64_t largest, int64_t ack_delay_ns, int64_t now_ns) noexcept nogil
cdef void recovery_ack_counts(Recovery* r, bint is_newest, const uint64_t* counts) noexcept nogil
cdef bint recovery_set_controller(Recovery* r, uint8_t controller, int64_t now_ns) noexcept nogil
cdef void recovery_ack_end(Recovery* r, bint from_frame, int64_t now_ns) noexcept nogil
cdef void recovery_on_loss_timer(Recovery* r, int64_t now_ns) noexcept nogil
cdef void recovery_on_probe_timer(Recovery* r, int64_t now_ns) noexcept nogil
cdef int64_t recovery_probe_timeout_ns(const Recovery* r) noexcept nogil
cdef int64_t recovery_timer_ns(const Recovery* r) noexcept nogil
