"""What BBR knows of the path: bandwidth, round trip, bounds, and what losses and marks mean.

Names are those of draft-ietf-ccwg-bbr without the BBR prefix. It measures and judges; which phase follows
from that is the business of `bbr`.
"""

from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t

from cython_ext.core.controller cimport AckEvent, Controller

cdef enum:
    STARTUP = 0
    DRAIN = 1
    PROBE_DOWN = 2
    PROBE_CRUISE = 3
    PROBE_REFILL = 4
    PROBE_UP = 5
    PROBE_RTT = 6

cdef enum:
    ACKS_INIT = 0
    ACKS_STARTING = 1
    ACKS_FEEDBACK = 2
    ACKS_STOPPING = 3
    ACKS_REFILLING = 4

cdef enum:
    MIN_WINDOW_PACKETS = 4


cdef struct Tally:
    # What came back of some rounds, in bytes; halved as it grows, so that it forgets.
    double acked
    double lost
    double runs                     # of lost packets


cdef struct Bbr:
    uint8_t state
    double pacing_gain
    double window_gain
    uint64_t bw                     # bytes per second, what is used
    uint64_t max_bw
    uint64_t[2] max_bw_filter       # this ProbeBW cycle and the one before
    uint64_t bw_shortterm           # UINT64_MAX = unset
    uint64_t inflight_shortterm
    uint64_t inflight_longterm
    uint64_t bw_latest
    uint64_t inflight_latest
    # rounds
    uint64_t next_round_delivered
    uint64_t round_count
    bint round_start
    uint64_t loss_round_delivered
    bint loss_round_start
    bint loss_in_round
    bint queue_in_round             # the round trip was inflated at a loss of this round
    uint64_t loss_runs_in_round     # runs of lost packets
    # full pipe
    bint full_bw_reached
    bint full_bw_now
    uint64_t full_bw
    unsigned int full_bw_count
    unsigned int plateau_rounds     # without growth and without a cause for it
    # minimum round trip
    int64_t min_rtt_ns
    int64_t min_rtt_stamp_ns
    int64_t probe_rtt_min_delay_ns
    int64_t probe_rtt_min_stamp_ns
    bint probe_rtt_expired
    int64_t probe_rtt_done_ns       # 0 = not decided
    bint probe_rtt_round_done
    uint64_t prior_window
    bint idle_restart
    int64_t round_min_rtt_ns        # of the present round
    int64_t last_round_min_rtt_ns   # of the round before; 0 before there was one
    # extra acked: what aggregation delivers at once
    uint64_t[2] extra_acked_filter
    uint64_t extra_acked
    uint64_t extra_rounds
    int64_t extra_interval_ns
    uint64_t extra_delivered
    # ProbeBW
    int64_t cycle_stamp_ns
    int64_t bw_probe_wait_ns
    uint64_t rounds_since_probe
    uint64_t probe_up_rounds
    uint64_t probe_up_count         # bytes acknowledged per packet of growth
    uint64_t probe_up_acks
    uint64_t probe_up_from_bw       # max_bw when PROBE_UP began
    bint bw_probe_samples
    uint8_t ack_phase
    uint64_t random
    # what losses mean (ours; docs/adr/0012)
    double random_share             # of what is sent, lost whatever the rate is
    double proven_share             # the same, of probes only: more was sent, and as much more arrived
    bint policed                    # probing showed that more sent is more lost
    bint crowded                    # a queue stands although we send no more than our rate: others fill it
    bint shared                     # the policer drops at a rate that it let pass: for others
    uint8_t answers                 # to a policer, with no round free of losses between them
    uint64_t doubt_until            # the round before which no policer is believed in again
    bint yielded_before             # in the cycle before that
    uint8_t yielded                 # how often to others, since the last probe began
    uint64_t policer_rate           # bytes per second delivered when it dropped what was ours alone
    Tally base                      # rounds at a gain of 1 and less; in STARTUP, all rounds before
    Tally present                   # since the present round began
    Tally last                      # the round that just ended
    bint last_is_base
    uint64_t base_rate              # bytes per second that the newest round of `base` delivered,
    uint64_t base_sent_rate         # and that were sent for it
    uint64_t last_rate
    uint64_t last_sent_rate
    uint64_t clean_rate             # the most that a round of this probe delivered without such losses
    int64_t round_stamp_ns
    uint8_t settled_rounds          # in a row at a gain of 1 or less; saturates
    uint8_t probing_rounds          # in a row at a gain above 1; saturates
    # ECN
    double ecn_alpha                # smoothed share of marked packets
    uint64_t round_marked
    uint64_t round_ecn_acked
    double round_ce_share
    unsigned int ecn_startup_rounds
    # undo
    uint8_t undo_state
    bint undo_possible
    uint64_t undo_bw_shortterm
    uint64_t undo_inflight_shortterm
    uint64_t undo_inflight_longterm
    int64_t persistent_ns           # when the window collapsed; 0 = not
    bint window_limited             # a packet sent in this round used the window up
    bint window_was_limited         # the same of the round before


cdef inline uint64_t umin(uint64_t a, uint64_t b) noexcept nogil:
    return a if a < b else b


cdef inline uint64_t umax(uint64_t a, uint64_t b) noexcept nogil:
    return a if a > b else b


cdef inline uint64_t floor_window(const Controller* c) noexcept nogil:
    return MIN_WINDOW_PACKETS * c.datagram_bytes


cdef inline bint is_probing_bw(const Bbr* b) noexcept nogil:
    return PROBE_DOWN <= b.state <= PROBE_UP

cdef uint64_t random_next(Bbr* b) noexcept nogil
cdef uint64_t sending_bw(const Bbr* b) noexcept nogil
cdef uint64_t bdp(const Controller* c, const Bbr* b, uint64_t bw, double gain) noexcept nogil
cdef uint64_t quantized(const Controller* c, const Bbr* b, uint64_t inflight) noexcept nogil
cdef uint64_t inflight_at(const Controller* c, const Bbr* b, double gain) noexcept nogil
cdef uint64_t with_headroom(const Controller* c, const Bbr* b) noexcept nogil
cdef bint queue_stands(const Bbr* b) noexcept nogil
cdef bint queue_is_empty(const Bbr* b) noexcept nogil
cdef bint more_sent_is_more_lost(const Controller* c, const Bbr* b) noexcept nogil
cdef bint more_sent_is_more_delivered(const Controller* c, const Bbr* b) noexcept nogil
cdef void believe_policer(Bbr* b) noexcept nogil
cdef void forget_policer(Bbr* b) noexcept nogil
cdef void yield_to_others(Bbr* b, uint64_t rate, uint64_t in_flight) noexcept nogil
cdef bint inflight_too_high(const Bbr* b, uint64_t lost, uint64_t in_flight) noexcept nogil
cdef void reset_full_bw(Bbr* b) noexcept nogil
cdef void reset_congestion_signals(Bbr* b) noexcept nogil
cdef void reset_shortterm(Bbr* b) noexcept nogil
cdef void start_round(Bbr* b, uint64_t delivered) noexcept nogil
cdef void update_round(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil
cdef void update_max_bw(Bbr* b, const AckEvent* e) noexcept nogil
cdef void advance_max_bw_filter(Bbr* b) noexcept nogil
cdef void note_loss(Bbr* b, const AckEvent* e) noexcept nogil
cdef void update_congestion_signals(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil
cdef void update_ack_aggregation(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil
cdef void update_min_rtt(Bbr* b, const AckEvent* e) noexcept nogil
