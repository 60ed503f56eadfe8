"""BBR version 3, after draft-ietf-ccwg-bbr, with one departure.

Loss alone is not congestion: the draft's loss responses (leaving STARTUP, ending PROBE_UP, lowering the
short-term bounds) apply only when the round trip grew with it, which means that a queue stands somewhere.
Random loss on a path without a queue leaves the model alone.

Read first: sections 4 and 5 of the draft. Names below are the draft's, without the BBR prefix.
"""

from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.controller cimport AckEvent, Controller

cdef enum:
    STARTUP = 0
    DRAIN = 1
    PROBE_DOWN = 2
    PROBE_CRUISE = 3
    PROBE_REFILL = 4
    PROBE_UP = 5
    PROBE_RTT = 6

cdef double STARTUP_PACING_GAIN = 2.77
cdef double STARTUP_WINDOW_GAIN = 2.0
cdef double WINDOW_GAIN = 2.0
cdef double PROBE_UP_WINDOW_GAIN = 2.25
cdef double PROBE_RTT_WINDOW_GAIN = 0.5
# The share of the bandwidth that pacing leaves unused, so that queues drain.
cdef double PACING_MARGIN = 0.99
cdef double LOSS_THRESHOLD = 0.02
# Probing sends so much more that its gain arrives despite random loss; beyond this share it gives up.
cdef double MAX_LOSS_SHARE = 0.5
cdef double BETA = 0.7
# 0.85 of inflight_longterm is used when cruising; draft-02 printed the complement.
cdef double HEADROOM = 0.15
cdef int64_t MIN_RTT_WINDOW_NS = 10_000_000_000
cdef int64_t PROBE_RTT_INTERVAL_NS = 5_000_000_000
cdef int64_t PROBE_RTT_DURATION_NS = 200_000_000
cdef enum:
    MIN_WINDOW_PACKETS = 4
    FULL_LOSS_ROUND_EVENTS = 6


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
    unsigned int loss_events_in_round
    # full pipe
    bint full_bw_reached
    bint full_bw_now
    uint64_t full_bw
    unsigned int full_bw_count
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
    int64_t round_min_rtt_ns        # of the present round; INT64_MAX-like before a sample
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
    bint bw_probe_samples
    uint8_t ack_phase               # 0 init, 1 starting, 2 feedback, 3 stopping, 4 refilling
    uint64_t random
    double loss_share               # of what was sent, over the last rounds
    uint64_t round_acked            # bytes, since the share was last taken
    uint64_t round_lost
    uint64_t undo_shortterm_bw
    uint64_t undo_inflight_shortterm
    uint64_t undo_inflight_longterm

cdef enum:
    ACKS_INIT = 0
    ACKS_STARTING = 1
    ACKS_FEEDBACK = 2
    ACKS_STOPPING = 3
    ACKS_REFILLING = 4


cdef inline uint64_t umin(uint64_t a, uint64_t b) noexcept nogil:
    return a if a < b else b


cdef inline uint64_t umax(uint64_t a, uint64_t b) noexcept nogil:
    return a if a > b else b


cdef inline uint64_t floor_window(const Controller* c) noexcept nogil:
    return MIN_WINDOW_PACKETS * c.datagram_bytes


cdef uint64_t random_next(Bbr* b) noexcept nogil:
    # xorshift64*: spreads the probes of flows that started together; no secret depends on it.
    b.random ^= b.random >> 12
    b.random ^= b.random << 25
    b.random ^= b.random >> 27
    return b.random * <uint64_t> 0x2545F4914F6CDD1D


cdef uint64_t bdp(const Controller* c, const Bbr* b, uint64_t bw, double gain) noexcept nogil:
    if b.min_rtt_ns == 0:
        return 10 * c.datagram_bytes
    return <uint64_t> (gain * <double> bw * <double> b.min_rtt_ns / 1e9)


cdef uint64_t quantized(const Controller* c, const Bbr* b, uint64_t inflight) noexcept nogil:
    # Room for the bursts that offloads make: three sends of what pacing releases in a millisecond.
    cdef uint64_t quantum = umin(umax(c.pacing_rate // 1000, 2 * c.datagram_bytes), 65536)
    inflight = umax(umax(inflight, 3 * quantum), floor_window(c))
    if b.state == PROBE_UP:
        inflight += 2 * c.datagram_bytes
    return inflight


cdef uint64_t inflight_at(const Controller* c, const Bbr* b, double gain) noexcept nogil:
    return quantized(c, b, bdp(c, b, b.bw, gain))


cdef uint64_t with_headroom(const Controller* c, const Bbr* b) noexcept nogil:
    cdef uint64_t headroom
    if b.inflight_longterm == UINT64_MAX:
        return UINT64_MAX
    headroom = umax(c.datagram_bytes, <uint64_t> (HEADROOM * b.inflight_longterm))
    if headroom >= b.inflight_longterm:
        return floor_window(c)
    return umax(b.inflight_longterm - headroom, floor_window(c))


cdef bint queue_stands(const Bbr* b, const AckEvent* e) noexcept nogil:
    # The smallest round trip of this round against the path's: a queue lifts every sample, jitter does not.
    # The allowance covers timer and batching noise on short paths.
    return b.round_min_rtt_ns > b.min_rtt_ns + b.min_rtt_ns // 8 + 2_000_000


cdef void update_loss_share(Controller* c, Bbr* b) noexcept nogil:
    cdef uint64_t total = b.round_acked + b.round_lost
    if b.round_start and total >= 8 * c.datagram_bytes:
        b.loss_share += (<double> b.round_lost / <double> total - b.loss_share) / 4
        b.round_acked = b.round_lost = 0


cdef double probe_gain(const Bbr* b) noexcept nogil:
    """Return what PROBE_UP multiplies by: 1.25, and more where loss is noise and not an answer.

    With a third lost at random, 1.25 delivers less than before: the model would shrink for ever.
    """
    cdef double share = b.loss_share if b.loss_share < MAX_LOSS_SHARE else MAX_LOSS_SHARE
    return 1.25 if b.queue_in_round else 1.25 / (1.0 - share)


# -- state changes ---------------------------------------------------------------------------------

cdef void enter_startup(Controller* c, Bbr* b) noexcept nogil:
    b.state = STARTUP
    b.pacing_gain = STARTUP_PACING_GAIN
    b.window_gain = STARTUP_WINDOW_GAIN


cdef void reset_full_bw(Bbr* b) noexcept nogil:
    b.full_bw = 0
    b.full_bw_count = 0
    b.full_bw_now = False


cdef void reset_congestion_signals(Bbr* b) noexcept nogil:
    b.loss_in_round = False
    b.queue_in_round = False
    b.loss_events_in_round = 0
    b.bw_latest = 0
    b.inflight_latest = 0


cdef void reset_shortterm(Bbr* b) noexcept nogil:
    b.bw_shortterm = UINT64_MAX
    b.inflight_shortterm = UINT64_MAX


cdef void start_round(Bbr* b, uint64_t delivered) noexcept nogil:
    b.next_round_delivered = delivered


cdef void enter_probe_down(Bbr* b, const AckEvent* e) noexcept nogil:
    reset_congestion_signals(b)
    b.probe_up_count = UINT64_MAX
    # Wait 2 to 3 s (draft 5.3.3.5.3), or fewer rounds where Reno flows need their share.
    b.rounds_since_probe = random_next(b) & 1
    b.bw_probe_wait_ns = 2_000_000_000 + <int64_t> (random_next(b) % 1_000_000_000)
    b.cycle_stamp_ns = e.now_ns
    b.ack_phase = ACKS_STOPPING
    start_round(b, e.delivered)
    b.state = PROBE_DOWN
    b.pacing_gain = 0.9
    b.window_gain = WINDOW_GAIN


cdef void enter_probe_cruise(Bbr* b) noexcept nogil:
    b.state = PROBE_CRUISE
    b.pacing_gain = 1.0
    b.window_gain = WINDOW_GAIN


cdef void enter_probe_refill(Bbr* b, const AckEvent* e) noexcept nogil:
    reset_shortterm(b)
    b.probe_up_rounds = 0
    b.probe_up_acks = 0
    b.ack_phase = ACKS_REFILLING
    start_round(b, e.delivered)
    b.state = PROBE_REFILL
    b.pacing_gain = 1.0
    b.window_gain = WINDOW_GAIN


cdef void raise_probe_slope(Controller* c, Bbr* b) noexcept nogil:
    cdef uint64_t growth = <uint64_t> 1 << b.probe_up_rounds
    b.probe_up_rounds = umin(b.probe_up_rounds + 1, 30)
    b.probe_up_count = umax(c.window // growth, 1)


cdef void enter_probe_up(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    b.ack_phase = ACKS_STARTING
    start_round(b, e.delivered)
    reset_full_bw(b)
    b.full_bw = e.sample.rate
    b.cycle_stamp_ns = e.now_ns
    b.state = PROBE_UP
    b.pacing_gain = 1.25
    b.window_gain = PROBE_UP_WINDOW_GAIN
    raise_probe_slope(c, b)


# -- the model -------------------------------------------------------------------------------------

cdef void update_round(Bbr* b, const AckEvent* e) noexcept nogil:
    b.round_start = False
    if e.sample.valid and e.sample.prior_delivered >= b.next_round_delivered:
        start_round(b, e.delivered)
        b.round_count += 1
        b.rounds_since_probe += 1
        b.round_start = True
    b.loss_round_start = False
    if e.sample.valid and e.sample.prior_delivered >= b.loss_round_delivered:
        b.loss_round_delivered = e.delivered
        b.loss_round_start = True


cdef void update_max_bw(Bbr* b, const AckEvent* e) noexcept nogil:
    if e.sample.rate >= b.max_bw or not e.sample.app_limited:
        b.max_bw_filter[0] = umax(b.max_bw_filter[0], e.sample.rate)
        b.max_bw = umax(b.max_bw_filter[0], b.max_bw_filter[1])


cdef void advance_max_bw_filter(Bbr* b) noexcept nogil:
    # Two ProbeBW cycles; a cycle without any sample (all app-limited) keeps what it knows.
    if b.max_bw_filter[0] == 0:
        return
    b.max_bw_filter[1] = b.max_bw_filter[0]
    b.max_bw_filter[0] = 0
    b.max_bw = b.max_bw_filter[1]


cdef void adapt_lower_bounds(Controller* c, Bbr* b) noexcept nogil:
    # Lower bounds follow loss only outside of bandwidth probes, and only where a queue stands.
    if b.state in (PROBE_REFILL, PROBE_UP, STARTUP):
        return
    if b.loss_in_round and b.queue_in_round:
        b.undo_shortterm_bw = b.bw_shortterm
        b.undo_inflight_shortterm = b.inflight_shortterm
        if b.bw_shortterm == UINT64_MAX:
            b.bw_shortterm = b.max_bw
        if b.inflight_shortterm == UINT64_MAX:
            b.inflight_shortterm = c.window
        b.bw_shortterm = umax(b.bw_latest, <uint64_t> (BETA * b.bw_shortterm))
        b.inflight_shortterm = umax(b.inflight_latest, <uint64_t> (BETA * b.inflight_shortterm))


cdef void update_congestion_signals(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if e.sample.valid:
        b.bw_latest = umax(b.bw_latest, e.sample.rate)
        b.inflight_latest = umax(b.inflight_latest, e.sample.delivered)
    if e.lost_bytes:
        b.loss_in_round = True
        b.loss_events_in_round += 1
        if queue_stands(b, e):
            b.queue_in_round = True
    if b.loss_round_start:
        adapt_lower_bounds(c, b)
        b.loss_in_round = False
        b.queue_in_round = False
        b.loss_events_in_round = 0
        b.bw_latest = e.sample.rate
        b.inflight_latest = e.sample.delivered


cdef void update_ack_aggregation(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    cdef int64_t interval = e.now_ns - b.extra_interval_ns
    cdef uint64_t expected = <uint64_t> (<double> b.bw * interval / 1e9)
    if b.round_start:
        b.extra_rounds += 1
        if b.extra_rounds >= (10 if b.full_bw_reached else 1):
            b.extra_rounds = 0
            b.extra_acked_filter[1] = b.extra_acked_filter[0]
            b.extra_acked_filter[0] = 0
    if b.extra_delivered <= expected:
        b.extra_delivered = 0
        b.extra_interval_ns = e.now_ns
        expected = 0
    b.extra_delivered += e.acked_bytes
    if b.extra_delivered > expected:
        b.extra_acked_filter[0] = umax(b.extra_acked_filter[0], umin(b.extra_delivered - expected, c.window))
    b.extra_acked = umax(b.extra_acked_filter[0], b.extra_acked_filter[1])


cdef void check_full_bw(Bbr* b, const AckEvent* e) noexcept nogil:
    if b.full_bw_now or not b.round_start or not e.sample.valid or e.sample.app_limited:
        return
    if e.sample.rate >= <uint64_t> (1.25 * b.full_bw):
        reset_full_bw(b)
        b.full_bw = e.sample.rate
        return
    b.full_bw_count += 1
    b.full_bw_now = b.full_bw_count >= 3
    b.full_bw_reached = b.full_bw_reached or b.full_bw_now


cdef bint inflight_too_high(const Bbr* b, const AckEvent* e) noexcept nogil:
    return (e.sample.valid and e.sample.lost > <uint64_t> (LOSS_THRESHOLD * e.sample.in_flight)
            and queue_stands(b, e))


cdef void check_startup_done(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    check_full_bw(b, e)
    if b.state != STARTUP:
        return
    if b.loss_events_in_round >= FULL_LOSS_ROUND_EVENTS and b.queue_in_round and inflight_too_high(b, e):
        b.full_bw_reached = True
        b.inflight_longterm = umax(bdp(c, b, b.max_bw, 1.0), b.inflight_latest)
    if b.full_bw_reached:
        b.state = DRAIN
        b.pacing_gain = 1.0 / STARTUP_PACING_GAIN
        b.window_gain = STARTUP_WINDOW_GAIN


cdef void on_inflight_too_high(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    b.bw_probe_samples = False
    if not e.sample.app_limited:
        b.undo_inflight_longterm = b.inflight_longterm
        b.inflight_longterm = umax(e.sample.in_flight, <uint64_t> (BETA * umin(bdp(c, b, b.max_bw, WINDOW_GAIN), c.window)))
    if b.state == PROBE_UP:
        enter_probe_down(b, e)


cdef void adapt_longterm(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if b.ack_phase == ACKS_STARTING and b.round_start:
        b.ack_phase = ACKS_FEEDBACK
    if b.ack_phase == ACKS_STOPPING and b.round_start:
        b.bw_probe_samples = False
        b.ack_phase = ACKS_INIT
        if not e.sample.app_limited:
            advance_max_bw_filter(b)
    if inflight_too_high(b, e):
        if b.bw_probe_samples:
            on_inflight_too_high(c, b, e)
        return
    if b.inflight_longterm == UINT64_MAX:
        return
    if e.sample.in_flight > b.inflight_longterm:
        b.inflight_longterm = e.sample.in_flight
    if b.state == PROBE_UP and e.prior_in_flight + c.datagram_bytes >= umin(c.window, b.inflight_longterm):
        b.probe_up_acks += e.acked_bytes
        if b.probe_up_acks >= b.probe_up_count:
            b.inflight_longterm += (b.probe_up_acks // b.probe_up_count) * c.datagram_bytes
            b.probe_up_acks %= b.probe_up_count
        if b.round_start:
            raise_probe_slope(c, b)


cdef bint time_to_probe(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    cdef uint64_t reno_rounds = umin(inflight_at(c, b, 1.0) // c.datagram_bytes, 63)
    if e.now_ns - b.cycle_stamp_ns > b.bw_probe_wait_ns or b.rounds_since_probe >= reno_rounds:
        enter_probe_refill(b, e)
        return True
    return False


cdef void update_probe_bw(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if not b.full_bw_reached:
        return
    adapt_longterm(c, b, e)
    if b.state == PROBE_DOWN:
        if time_to_probe(c, b, e):
            return
        if e.in_flight <= with_headroom(c, b) and e.in_flight <= inflight_at(c, b, 1.0):
            enter_probe_cruise(b)
    elif b.state == PROBE_CRUISE:
        time_to_probe(c, b, e)
    elif b.state == PROBE_REFILL:
        if b.round_start:
            b.bw_probe_samples = True
            enter_probe_up(c, b, e)
    elif b.state == PROBE_UP:
        # Done when the pipe is full: bandwidth stopped growing, or what is above it stands in a queue. Without
        # one the probe goes on, 1.25 times per round: a pipe that was left too early is filled again.
        if b.full_bw_now or (e.now_ns - b.cycle_stamp_ns > b.min_rtt_ns
                             and e.in_flight >= inflight_at(c, b, probe_gain(b)) and queue_stands(b, e)):
            enter_probe_down(b, e)


cdef void exit_probe_rtt(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    reset_shortterm(b)
    if b.full_bw_reached:
        enter_probe_down(b, e)
        enter_probe_cruise(b)
    else:
        enter_startup(c, b)


cdef void update_min_rtt(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    b.probe_rtt_expired = e.now_ns > b.probe_rtt_min_stamp_ns + PROBE_RTT_INTERVAL_NS
    if e.latest_rtt_ns > 0:
        if b.round_start or e.latest_rtt_ns < b.round_min_rtt_ns:
            b.round_min_rtt_ns = e.latest_rtt_ns
        if b.probe_rtt_min_delay_ns == 0 or e.latest_rtt_ns < b.probe_rtt_min_delay_ns or b.probe_rtt_expired:
            b.probe_rtt_min_delay_ns = e.latest_rtt_ns
            b.probe_rtt_min_stamp_ns = e.now_ns
        if (b.min_rtt_ns == 0 or b.probe_rtt_min_delay_ns < b.min_rtt_ns
                or e.now_ns > b.min_rtt_stamp_ns + MIN_RTT_WINDOW_NS):
            b.min_rtt_ns = b.probe_rtt_min_delay_ns
            b.min_rtt_stamp_ns = b.probe_rtt_min_stamp_ns


cdef void check_probe_rtt(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if b.state != PROBE_RTT and b.probe_rtt_expired and not b.idle_restart and b.full_bw_reached:
        b.prior_window = umax(b.prior_window, c.window)
        b.state = PROBE_RTT
        b.pacing_gain = 1.0
        b.window_gain = PROBE_RTT_WINDOW_GAIN
        b.probe_rtt_done_ns = 0
        b.ack_phase = ACKS_STOPPING
        start_round(b, e.delivered)
    if b.state == PROBE_RTT:
        if b.probe_rtt_done_ns == 0 and e.in_flight <= umax(bdp(c, b, b.bw, PROBE_RTT_WINDOW_GAIN), floor_window(c)):
            b.probe_rtt_done_ns = e.now_ns + PROBE_RTT_DURATION_NS
            b.probe_rtt_round_done = False
            start_round(b, e.delivered)
        elif b.probe_rtt_done_ns:
            if b.round_start:
                b.probe_rtt_round_done = True
            if b.probe_rtt_round_done and e.now_ns > b.probe_rtt_done_ns:
                b.probe_rtt_min_stamp_ns = e.now_ns
                c.window = umax(c.window, b.prior_window)
                b.prior_window = 0
                exit_probe_rtt(c, b, e)
    if e.sample.delivered:
        b.idle_restart = False


cdef void set_pacing_rate(Controller* c, Bbr* b) noexcept nogil:
    cdef uint64_t rate = <uint64_t> ((probe_gain(b) if b.state == PROBE_UP else b.pacing_gain) * b.bw * PACING_MARGIN)
    if rate and (b.full_bw_reached or rate > c.pacing_rate):
        c.pacing_rate = rate


cdef void set_window(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    cdef uint64_t limit = quantized(c, b, bdp(c, b, b.bw, b.window_gain) + b.extra_acked)
    cdef uint64_t bound = UINT64_MAX
    if b.full_bw_reached:
        c.window = umin(c.window + e.acked_bytes, limit)
    elif c.window < limit or e.delivered < 20 * c.datagram_bytes:
        c.window += e.acked_bytes
    c.window = umax(c.window, floor_window(c))
    if b.state == PROBE_RTT:
        c.window = umin(c.window, umax(bdp(c, b, b.bw, PROBE_RTT_WINDOW_GAIN), floor_window(c)))
    if b.state in (PROBE_DOWN, PROBE_REFILL, PROBE_UP):
        bound = b.inflight_longterm
    elif b.state in (PROBE_RTT, PROBE_CRUISE):
        bound = with_headroom(c, b)
    bound = umax(umin(bound, b.inflight_shortterm), floor_window(c))
    c.window = umin(c.window, bound)


# -- the contract ----------------------------------------------------------------------------------

cdef bint init(Controller* c, int64_t now_ns, int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    cdef Bbr* b = <Bbr*> calloc(1, sizeof(Bbr))
    if b == NULL:
        return False
    c.state = b
    b.random = seed | 1
    b.inflight_longterm = UINT64_MAX
    reset_shortterm(b)
    b.undo_shortterm_bw = b.undo_inflight_shortterm = b.undo_inflight_longterm = UINT64_MAX
    b.extra_interval_ns = now_ns
    b.min_rtt_stamp_ns = now_ns
    b.probe_rtt_min_stamp_ns = now_ns
    enter_startup(c, b)
    c.pacing_rate = <uint64_t> (STARTUP_PACING_GAIN * c.window * 1e9 / <double> initial_rtt_ns)
    return True


cdef void on_sent(Controller* c, int64_t now_ns, uint64_t sent_bytes, uint64_t in_flight, bint app_limited) noexcept nogil:
    cdef Bbr* b = <Bbr*> c.state
    if in_flight == 0 and app_limited:
        # Restart from idle: pace at the known bandwidth, not at a probe's gain.
        b.idle_restart = True
        b.extra_interval_ns = now_ns
        if b.state in (PROBE_DOWN, PROBE_CRUISE, PROBE_REFILL, PROBE_UP):
            if b.bw:
                c.pacing_rate = <uint64_t> (b.bw * PACING_MARGIN)


cdef void on_ack(Controller* c, const AckEvent* e) noexcept nogil:
    cdef Bbr* b = <Bbr*> c.state
    b.round_acked += e.acked_bytes
    b.round_lost += e.lost_bytes
    if e.acked_bytes == 0:
        # A loss timer: it informs the round, and everything else waits for the next ACK.
        b.loss_in_round = True
        b.loss_events_in_round += 1
        if queue_stands(b, e):
            b.queue_in_round = True
        return
    update_round(b, e)
    update_loss_share(c, b)
    if e.latest_rtt_ns > 0 and c.pacing_rate and b.min_rtt_ns == 0 and not b.max_bw:
        # First sample: re-derive the initial pacing rate from the measured round trip (draft 5.6.2).
        c.pacing_rate = <uint64_t> (STARTUP_PACING_GAIN * c.window * 1e9 / <double> umax(e.latest_rtt_ns, 1_000_000))
    update_min_rtt(c, b, e)
    update_max_bw(b, e)
    b.bw = umin(b.max_bw, b.bw_shortterm)
    update_congestion_signals(c, b, e)
    update_ack_aggregation(c, b, e)
    check_startup_done(c, b, e)
    if b.state == DRAIN and e.in_flight <= inflight_at(c, b, 1.0):
        enter_probe_down(b, e)
    elif b.state in (PROBE_DOWN, PROBE_CRUISE, PROBE_REFILL, PROBE_UP):
        update_probe_bw(c, b, e)
    check_probe_rtt(c, b, e)
    b.bw = umin(b.max_bw, b.bw_shortterm)
    set_pacing_rate(c, b)
    set_window(c, b, e)
    c.phase = b.state


cdef void on_spurious(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Bbr* b = <Bbr*> c.state
    b.loss_in_round = False
    b.bw_shortterm = umax(b.bw_shortterm, b.undo_shortterm_bw)
    b.inflight_shortterm = umax(b.inflight_shortterm, b.undo_inflight_shortterm)
    b.inflight_longterm = umax(b.inflight_longterm, b.undo_inflight_longterm)


cdef void on_persistent(Controller* c, int64_t now_ns) noexcept nogil:
    # Remember the window: it comes back with the first ACK after the outage (set_window grows to the model).
    c.window = floor_window(c)


cdef void clear(Controller* c) noexcept nogil:
    free(c.state)
    c.state = NULL


ALGORITHM.init = init
ALGORITHM.on_sent = on_sent
ALGORITHM.on_ack = on_ack
ALGORITHM.on_spurious = on_spurious
ALGORITHM.on_persistent = on_persistent
ALGORITHM.clear = clear
