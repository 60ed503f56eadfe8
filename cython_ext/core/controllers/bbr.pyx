"""BBR version 3, after draft-ietf-ccwg-bbr: the phases, and what each of them lets leave.

Read first: sections 4 and 5 of the draft. Names are the draft's, without the BBR prefix. What the path
can do is `bbr_model`'s to know. Our departures are marked "Ours" here and there, and argued in
docs/adr/0012: random loss is told from congestion, and the round trip is probed only when it must be.
"""

from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.controller cimport AckEvent, Controller
from cython_ext.core.controllers.bbr_model cimport (
    ACKS_FEEDBACK, ACKS_INIT, ACKS_REFILLING, ACKS_STARTING, ACKS_STOPPING, Bbr, DRAIN, PROBE_CRUISE,
    PROBE_DOWN, PROBE_REFILL, PROBE_RTT, PROBE_UP, STARTUP, advance_max_bw_filter, bdp, believe_policer,
    floor_window, forget_policer, inflight_at, inflight_too_high, is_probing_bw, more_sent_is_more_lost, note_loss,
    quantized, queue_is_empty, queue_stands, random_next, reset_congestion_signals, reset_full_bw, reset_shortterm,
    sending_bw, start_round, umax, umin, update_ack_aggregation, update_congestion_signals, update_max_bw,
    update_min_rtt, update_round, with_headroom,
    yield_to_others,
)

cdef double STARTUP_PACING_GAIN = 2.77
cdef double STARTUP_WINDOW_GAIN = 2.0
cdef double DRAIN_PACING_GAIN = 0.5
cdef double WINDOW_GAIN = 2.0
cdef double PROBE_UP_PACING_GAIN = 1.25
cdef double PROBE_UP_WINDOW_GAIN = 2.25
cdef double PROBE_RTT_WINDOW_GAIN = 0.5
# The share of the bandwidth that pacing leaves unused, so that queues drain.
cdef double PACING_MARGIN = 0.99
# The same beneath a policer, so that its bucket fills and others find tokens.
cdef double POLICED_MARGIN = 0.94
cdef double BETA = 0.7
cdef int64_t PROBE_RTT_DURATION_NS = 200_000_000
cdef enum:
    FULL_LOSS_RUNS = 6
    FULL_CE_ROUNDS = 2
    # A plateau without a queue or losses that answer is no full pipe, but it does not last for ever either.
    LONGEST_PLATEAU_ROUNDS = 12
    # The first round of a probe brings back what was sent before it, the second a part of that.
    JUDGED_PROBE_ROUNDS = 3
    # Rounds of a probe without losses after which a policer is thought gone; beside others, done.
    POLICED_PROBE_ROUNDS = 10
    SHARED_PROBE_ROUNDS = 2
    # Where others fill the queue, a probe takes from them, and need not go on until something breaks.
    # Twice as long when nothing broke since the last one.
    CROWDED_PROBE_ROUNDS = 2
    # What part of the window each round of a probe adds to its bound; beside others more, as they grow all the time.
    SLOPE = 8
    CROWDED_SLOPE = 5


# -- state changes ---------------------------------------------------------------------------------

cdef void enter_startup(Bbr* b) noexcept nogil:
    b.state = STARTUP
    b.pacing_gain = STARTUP_PACING_GAIN
    b.window_gain = STARTUP_WINDOW_GAIN
    b.probing_rounds = 0


cdef void enter_drain(Bbr* b) noexcept nogil:
    b.state = DRAIN
    b.pacing_gain = DRAIN_PACING_GAIN
    b.window_gain = STARTUP_WINDOW_GAIN
    # What STARTUP lost is no measure for what a steady rate loses.
    b.base.acked = b.base.lost = b.base.runs = 0
    b.last_is_base = False


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
    b.yielded_before = b.yielded > 0
    b.yielded = 0
    b.probe_up_rounds = 0
    b.probe_up_acks = 0
    b.ack_phase = ACKS_REFILLING
    start_round(b, e.delivered)
    b.state = PROBE_REFILL
    b.pacing_gain = 1.0
    b.window_gain = WINDOW_GAIN


cdef void raise_probe_slope(Controller* c, Bbr* b) noexcept nogil:
    # Ours: a share of the window at once, or a flow that met others would need minutes for its share.
    cdef uint64_t packets = c.window // c.datagram_bytes
    cdef uint64_t growth = umax(<uint64_t> 1 << b.probe_up_rounds, packets // (CROWDED_SLOPE if b.crowded else SLOPE))
    b.probe_up_rounds = umin(b.probe_up_rounds + 1, 30)
    b.probe_up_count = umax(c.window // growth, 1)


cdef void enter_probe_up(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    b.ack_phase = ACKS_STARTING
    start_round(b, e.delivered)
    reset_full_bw(b)
    b.full_bw = e.sample.rate
    b.probe_up_from_bw = b.max_bw
    b.cycle_stamp_ns = e.now_ns
    b.state = PROBE_UP
    b.pacing_gain = PROBE_UP_PACING_GAIN
    b.window_gain = PROBE_UP_WINDOW_GAIN
    raise_probe_slope(c, b)


# -- STARTUP ---------------------------------------------------------------------------------------

cdef bint plateau_has_a_cause(Controller* c, Bbr* b) noexcept nogil:
    """Tell whether a queue or losses that answer explain why the rate does not grow (ours).

    Without either, what was sent was too little: a burst of losses or a probe timeout held it back.
    """
    return queue_stands(b) or more_sent_is_more_lost(c, b) or b.policed


cdef void check_full_bw(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if b.full_bw_now or not b.round_start or not e.sample.valid or e.sample.app_limited:
        return
    if e.sample.rate >= <uint64_t> (1.25 * b.full_bw):
        reset_full_bw(b)
        b.full_bw = e.sample.rate
        b.plateau_rounds = 0
        return
    b.plateau_rounds += 1
    if plateau_has_a_cause(c, b) or b.plateau_rounds >= LONGEST_PLATEAU_ROUNDS:
        b.full_bw_count += 1
    b.full_bw_now = b.full_bw_count >= 3
    b.full_bw_reached = b.full_bw_reached or b.full_bw_now


cdef void check_startup_done(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    cdef bint grows = e.sample.rate >= <uint64_t> (1.25 * b.full_bw)
    if b.round_start and b.state == STARTUP:
        b.ecn_startup_rounds = b.ecn_startup_rounds + 1 if b.round_ce_share >= 0.5 else 0
    check_full_bw(c, b, e)
    if b.state != STARTUP:
        return
    if b.ecn_startup_rounds >= FULL_CE_ROUNDS:
        b.full_bw_reached = True
        b.inflight_longterm = umax(bdp(c, b, b.max_bw, 1.0), b.inflight_latest)
    # Ours: beyond what growing rounds have shown to be random (see inflight_too_high).
    if (b.loss_round_start and b.loss_runs_in_round >= FULL_LOSS_RUNS and b.queue_in_round
            and inflight_too_high(b, e.sample.lost, e.sample.in_flight)):
        b.full_bw_reached = True
        b.inflight_longterm = umax(bdp(c, b, b.max_bw, 1.0), b.inflight_latest)
    # A policer: the first round whose losses answer, on a path that lost next to nothing before.
    if (b.round_start and not grows and not queue_stands(b) and more_sent_is_more_lost(c, b)
            and (b.full_bw_reached or 20 * b.base.lost < b.base.acked + b.base.lost)):
        b.full_bw_reached = True
        believe_policer(b)
    if b.full_bw_reached:
        enter_drain(b)


# -- PROBE_BW --------------------------------------------------------------------------------------

cdef void on_inflight_too_high(Controller* c, Bbr* b, const AckEvent* e, uint64_t in_flight, bint app_limited) noexcept nogil:
    b.bw_probe_samples = False
    if b.crowded and b.state == PROBE_UP:
        yield_to_others(b, umax(b.last_rate, b.base_rate), in_flight)
    elif not app_limited:
        b.inflight_longterm = umax(in_flight, <uint64_t> (BETA * umin(bdp(c, b, sending_bw(b), WINDOW_GAIN), c.window)))
    if b.state == PROBE_UP:
        enter_probe_down(b, e)


cdef void handle_lost_packet(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    """Judge by the newest packet lost: how much was in flight when the losses passed the threshold."""
    cdef double before, prefix
    if not b.bw_probe_samples or not e.lost_bytes:
        return
    if not inflight_too_high(b, e.newest_lost_since, e.newest_lost_in_flight):
        return
    before = <double> e.newest_lost_in_flight - <double> e.newest_lost_bytes
    prefix = (0.02 * before - (<double> e.newest_lost_since - <double> e.newest_lost_bytes)) / (1.0 - 0.02)
    before += prefix if prefix > 0 else 0.0
    on_inflight_too_high(c, b, e, <uint64_t> before if before > 0 else 0, e.newest_lost_app_limited)


cdef void adapt_longterm(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if b.ack_phase == ACKS_STARTING and b.round_start:
        b.ack_phase = ACKS_FEEDBACK
    if b.ack_phase == ACKS_STOPPING and b.round_start:
        b.bw_probe_samples = False
        b.ack_phase = ACKS_INIT
        if is_probing_bw(b) and not e.sample.app_limited:
            advance_max_bw_filter(b)
    if e.sample.valid and inflight_too_high(b, e.sample.lost, e.sample.in_flight):
        if b.bw_probe_samples:
            on_inflight_too_high(c, b, e, e.sample.in_flight, e.sample.app_limited)
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


cdef bint time_to_go_down(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    """Tell whether PROBE_UP has found the pipe full; what grows it without a queue goes on (ours)."""
    if b.round_start and b.probing_rounds >= 2 and not queue_stands(b) and more_sent_is_more_lost(c, b):
        believe_policer(b)
        return True
    if b.policed and b.round_start:
        if b.probing_rounds > (SHARED_PROBE_ROUNDS if b.shared else POLICED_PROBE_ROUNDS):
            # No losses: the rate may be had. Alone, and for so long, it was no bucket that gave it.
            b.max_bw = b.max_bw_filter[0] = umax(b.max_bw, b.clean_rate)
            if not b.shared:
                forget_policer(b)
            return True
        return False
    if b.crowded and b.round_start and b.probing_rounds >= (CROWDED_PROBE_ROUNDS if b.yielded_before else 2 * CROWDED_PROBE_ROUNDS):
        return True
    if (b.window_limited or b.window_was_limited) and c.window >= b.inflight_longterm:
        # The bound is in the way, not the path: it must rise first.
        reset_full_bw(b)
        b.full_bw = e.sample.rate
        return False
    if b.full_bw_now and (b.probing_rounds >= JUDGED_PROBE_ROUNDS or queue_stands(b)):
        return True
    # Ours: a queue stands, and what was sent for it bought no bandwidth. Two more rounds would buy none either.
    if b.round_start and b.probing_rounds >= 2 and queue_stands(b) and 8 * b.last_rate < 9 * b.base_rate:
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
        check_full_bw(c, b, e)
        if time_to_go_down(c, b, e):
            enter_probe_down(b, e)
        elif (b.round_start and not b.policed and b.probing_rounds >= 3 and not queue_stands(b)
                and b.max_bw > b.probe_up_from_bw + b.probe_up_from_bw // 2):
            # Ours: half as much again in three rounds, and no queue. STARTUP was left too early, or the path
            # has grown; a quarter per round would take dozens of them.
            b.full_bw_reached = False
            reset_full_bw(b)
            b.full_bw = b.max_bw
            enter_startup(b)


# -- PROBE_RTT -------------------------------------------------------------------------------------

cdef void exit_probe_rtt(Bbr* b, const AckEvent* e) noexcept nogil:
    reset_shortterm(b)
    if b.full_bw_reached:
        enter_probe_down(b, e)
        enter_probe_cruise(b)
    else:
        enter_startup(b)


cdef void check_probe_rtt_done(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if b.probe_rtt_done_ns and e.now_ns > b.probe_rtt_done_ns:
        b.probe_rtt_min_stamp_ns = e.now_ns
        c.window = umax(c.window, b.prior_window)
        b.prior_window = 0
        exit_probe_rtt(b, e)


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
        if b.probe_rtt_done_ns == 0 and e.in_flight <= umax(bdp(c, b, sending_bw(b), PROBE_RTT_WINDOW_GAIN), floor_window(c)):
            b.probe_rtt_done_ns = e.now_ns + PROBE_RTT_DURATION_NS
            b.probe_rtt_round_done = False
            start_round(b, e.delivered)
        elif b.probe_rtt_done_ns:
            if b.round_start:
                b.probe_rtt_round_done = True
            if b.probe_rtt_round_done:
                check_probe_rtt_done(c, b, e)
    if e.sample.delivered:
        b.idle_restart = False


# -- what may leave --------------------------------------------------------------------------------

cdef void set_pacing_rate(Controller* c, Bbr* b) noexcept nogil:
    # Ours: the margin drains a queue; where none stands it would only leave the link idle.
    cdef double margin = 1.0 if queue_is_empty(b) and b.state != STARTUP else PACING_MARGIN
    if b.policed:
        margin = POLICED_MARGIN
    cdef uint64_t rate = <uint64_t> (b.pacing_gain * sending_bw(b) * margin)
    if rate and (b.full_bw_reached or rate > c.pacing_rate):
        c.pacing_rate = rate


cdef void set_window(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    cdef uint64_t limit = quantized(c, b, bdp(c, b, sending_bw(b), b.window_gain) + b.extra_acked)
    cdef uint64_t bound = UINT64_MAX
    if b.persistent_ns and e.sample.sent_ns > b.persistent_ns:
        # What was sent after the collapse arrives: the outage is over, and the path is as it was.
        b.persistent_ns = 0
        c.window = umax(c.window, b.prior_window)
        b.prior_window = 0
    if b.full_bw_reached:
        c.window = umin(c.window + e.acked_bytes, limit)
    elif c.window < limit or e.delivered < c.initial_window:
        c.window += e.acked_bytes
    c.window = umax(c.window, floor_window(c))
    if b.state == PROBE_RTT:
        c.window = umin(c.window, umax(bdp(c, b, sending_bw(b), PROBE_RTT_WINDOW_GAIN), floor_window(c)))
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
    b.undo_bw_shortterm = b.undo_inflight_shortterm = b.undo_inflight_longterm = UINT64_MAX
    b.extra_interval_ns = now_ns
    b.round_stamp_ns = now_ns
    b.min_rtt_stamp_ns = now_ns
    b.probe_rtt_min_stamp_ns = now_ns
    # As in DCTCP: the first marks count in full.
    b.ecn_alpha = 1.0
    enter_startup(b)
    c.pacing_rate = <uint64_t> (STARTUP_PACING_GAIN * c.window * 1e9 / <double> initial_rtt_ns)
    c.phase = b.state
    return True


cdef void on_sent(Controller* c, int64_t now_ns, uint64_t sent_bytes, uint64_t in_flight, bint app_limited) noexcept nogil:
    cdef Bbr* b = <Bbr*> c.state
    if in_flight + 2 * sent_bytes > c.window:
        b.window_limited = True
    if in_flight == 0 and app_limited:
        # Restart from idle: pace at the known bandwidth, not at a probe's gain.
        b.idle_restart = True
        b.extra_interval_ns = now_ns
        if is_probing_bw(b) and b.bw:
            c.pacing_rate = <uint64_t> (sending_bw(b) * PACING_MARGIN)


cdef void on_ack(Controller* c, const AckEvent* e) noexcept nogil:
    cdef Bbr* b = <Bbr*> c.state
    note_loss(b, e)
    if e.acked_bytes == 0:
        # A loss timer: it informs the round, and everything else waits for the next ACK.
        handle_lost_packet(c, b, e)
        c.phase = b.state
        return
    update_round(c, b, e)
    if e.latest_rtt_ns > 0 and b.min_rtt_ns == 0 and not b.max_bw:
        # First sample: re-derive the initial pacing rate from the measured round trip (draft 5.6.2).
        c.pacing_rate = <uint64_t> (STARTUP_PACING_GAIN * c.window * 1e9 / <double> umax(e.latest_rtt_ns, 1_000_000))
    update_min_rtt(b, e)
    update_max_bw(b, e)
    b.bw = umin(b.max_bw, b.bw_shortterm)
    update_ack_aggregation(c, b, e)
    # Before the signals of the round are reset.
    check_startup_done(c, b, e)
    update_congestion_signals(c, b, e)
    if b.state == DRAIN and e.in_flight <= inflight_at(c, b, 1.0):
        enter_probe_down(b, e)
    elif is_probing_bw(b):
        handle_lost_packet(c, b, e)
        update_probe_bw(c, b, e)
    check_probe_rtt(c, b, e)
    b.bw = umin(b.max_bw, b.bw_shortterm)
    set_pacing_rate(c, b)
    set_window(c, b, e)
    # Beside others the bursts are theirs as well: who alone is smooth leaves them all the losses.
    c.small_bursts = b.policed and not b.shared
    c.phase = b.state


cdef void on_spurious(Controller* c, int64_t now_ns) noexcept nogil:
    """Take back what the losses that were none have done; the phase too, if they ended it."""
    cdef Bbr* b = <Bbr*> c.state
    if not b.undo_possible:
        return
    b.undo_possible = False
    b.loss_in_round = False
    b.bw_shortterm = umax(b.bw_shortterm, b.undo_bw_shortterm)
    b.inflight_shortterm = umax(b.inflight_shortterm, b.undo_inflight_shortterm)
    b.inflight_longterm = umax(b.inflight_longterm, b.undo_inflight_longterm)
    if b.undo_state == STARTUP and b.state != STARTUP and b.state != PROBE_RTT:
        reset_full_bw(b)
        b.full_bw_reached = False
        enter_startup(b)
    elif b.undo_state == PROBE_UP and (b.state == PROBE_DOWN or b.state == PROBE_CRUISE):
        # The probe was ended for nothing: the next one is due.
        b.bw_probe_wait_ns = 0


cdef void on_persistent(Controller* c, int64_t now_ns) noexcept nogil:
    # Remember the window: it comes back with the first ACK of what is sent after the outage.
    cdef Bbr* b = <Bbr*> c.state
    b.prior_window = umax(b.prior_window, c.window)
    b.persistent_ns = now_ns
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
