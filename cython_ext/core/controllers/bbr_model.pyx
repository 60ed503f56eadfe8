"""The model of the path; see bbr_model.pxd, and docs/adr/0012 for what departs from the draft."""

from libc.math cimport sqrt
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cython_ext.core.controller cimport AckEvent, Controller

cdef double LOSS_THRESHOLD = 0.02
cdef double BETA = 0.7
# Beside others a queue overflows for a moment only: they give way at the first loss.
cdef double CROWD_THRESHOLD = 0.002
# What is left of rate and window when losses show that a queue is full that others fill too.
cdef double CROWD_BETA = 0.65
# What is left of the rate when a probe beside others meets a policer.
cdef double YIELD_TO_PROBE = 0.8
# 0.85 of inflight_longterm is used when cruising; draft-02 printed the complement.
cdef double HEADROOM = 0.15
# Random loss is paid for by sending more; beyond this share it is left as it is.
cdef double MAX_RANDOM_SHARE = 0.5
cdef int64_t MIN_RTT_WINDOW_NS = 10_000_000_000
cdef int64_t PROBE_RTT_INTERVAL_NS = 5_000_000_000
# BBR version 2's response to marks: the share of a round's marked packets, smoothed, scales the cut.
cdef double ECN_ALPHA_GAIN = 1.0 / 16
cdef double ECN_FACTOR = 1.0 / 3
cdef double ECN_THRESHOLD = 0.5
# With fewer packets than this a share of losses says nothing.
cdef enum:
    TELLING_PACKETS = 40
    # Rounds at a policer's rate that pass before losses are put down to others.
    NEW_RATE_ROUNDS = 16
    # Rounds at a gain of 1 or less in which a queue of our own would have gone.
    CROWD_ROUNDS = 5
    # In one cycle of probing.
    MAX_YIELDS = 2
    VAIN_ANSWERS = 3
    DOUBTING_ROUNDS = 200


cdef uint64_t random_next(Bbr* b) noexcept nogil:
    # xorshift64*: spreads the probes of flows that started together; no secret depends on it.
    b.random ^= b.random >> 12
    b.random ^= b.random << 25
    b.random ^= b.random >> 27
    return b.random * <uint64_t> 0x2545F4914F6CDD1D


cdef uint64_t sending_bw(const Bbr* b) noexcept nogil:
    """Return the rate at which to send so that `bw` arrives: random loss is not the path's limit."""
    return <uint64_t> (<double> b.bw / (1.0 - b.random_share))


cdef uint64_t bdp(const Controller* c, const Bbr* b, uint64_t bw, double gain) noexcept nogil:
    if b.min_rtt_ns == 0:
        return c.initial_window
    return <uint64_t> (gain * <double> bw * <double> b.min_rtt_ns / 1e9)


cdef uint64_t quantized(const Controller* c, const Bbr* b, uint64_t inflight) noexcept nogil:
    # Room for the bursts that offloads make: three sends of what pacing releases in a millisecond.
    cdef uint64_t quantum = umin(umax(c.pacing_rate // 1000, 2 * c.datagram_bytes), 65536)
    inflight = umax(umax(inflight, 3 * quantum), floor_window(c))
    if b.state == PROBE_UP:
        inflight += 2 * c.datagram_bytes
    return inflight


cdef uint64_t inflight_at(const Controller* c, const Bbr* b, double gain) noexcept nogil:
    return quantized(c, b, bdp(c, b, sending_bw(b), gain))


cdef uint64_t with_headroom(const Controller* c, const Bbr* b) noexcept nogil:
    cdef uint64_t headroom
    if b.inflight_longterm == UINT64_MAX:
        return UINT64_MAX
    headroom = umax(c.datagram_bytes, <uint64_t> (HEADROOM * b.inflight_longterm))
    if headroom >= b.inflight_longterm:
        return floor_window(c)
    return umax(b.inflight_longterm - headroom, floor_window(c))


# -- what losses mean ------------------------------------------------------------------------------

cdef bint queue_stands(const Bbr* b) noexcept nogil:
    # The smallest round trip of this round against the path's: a queue lifts every sample, jitter does not.
    # The allowance covers timer and batching noise on short paths.
    return b.round_min_rtt_ns > b.min_rtt_ns + b.min_rtt_ns // 8 + 2_000_000


cdef bint queue_is_empty(const Bbr* b) noexcept nogil:
    """Tell whether the round trip is the path's own but for noise: then its minimum needs no probe."""
    return b.round_min_rtt_ns <= b.min_rtt_ns + b.min_rtt_ns // 32 + 200_000


cdef double lost_share(const Tally* t) noexcept nogil:
    return t.lost / (t.acked + t.lost) if t.acked + t.lost > 0 else 0.0


cdef bint is_telling(const Controller* c, const Tally* t) noexcept nogil:
    return t.acked + t.lost >= TELLING_PACKETS * c.datagram_bytes


cdef bint more_sent_is_more_lost(const Controller* c, const Bbr* b) noexcept nogil:
    """Judge the round that just ended, sent at a gain above 1, against the rounds before the probe.

    Random loss takes the same share at any rate; a full link or a policer takes all that is above its own
    rate: with a gain of 1.25, a share of 1 / 1.25 arrives. The line is drawn half way, and lower where so
    few packets and such long runs of losses make the share itself a matter of chance.
    """
    cdef double expected, spread, share, packets, run, clusters
    if not is_telling(c, &b.last) or not is_telling(c, &b.base):
        return False
    # Not more was sent, or less arrived: a stall, and no answer to a higher rate. (In STARTUP a policer's
    # bucket may have let any rate pass.)
    if b.state == STARTUP:
        if b.last_sent_rate < b.base_sent_rate:
            return False
    elif 10 * b.last_sent_rate < 11 * b.base_sent_rate or 20 * b.last_rate < 19 * b.base_rate:
        return False
    share = lost_share(&b.base)
    expected = 1.0 - share
    packets = (b.last.acked + b.last.lost) / c.datagram_bytes
    run = b.base.lost / c.datagram_bytes / b.base.runs if b.base.runs > 0 else 1.0
    # How much more a share varies when losses come in such runs; 1 where each packet is lost by itself.
    clusters = 2.0 * run * expected - 1.0
    spread = share * expected * (clusters if clusters > 1 else 1.0) / packets
    return 1.0 - lost_share(&b.last) < 0.9 * expected - sqrt(spread)


cdef void settle_at(Bbr* b, uint64_t rate) noexcept nogil:
    b.max_bw = umin(b.max_bw, umax(rate, 1))
    b.max_bw_filter[0] = b.max_bw_filter[1] = b.max_bw
    b.bw = umin(b.bw, b.max_bw)


cdef void believe_policer(Bbr* b) noexcept nogil:
    """Take what the last round delivered for the rate of the path, and losses for congestion.

    Beside others the rate before the probe is kept, less a little: they answer the same losses.
    """
    if b.round_count < b.doubt_until:
        return
    b.random_share = b.proven_share = 0
    if b.policed and b.shared and 10 * b.last_rate < 9 * b.policer_rate:
        settle_at(b, <uint64_t> (YIELD_TO_PROBE * umin(b.last_rate, b.base_rate)))
        return
    b.policed = True
    b.shared = False
    b.policer_rate = b.last_rate
    settle_at(b, b.last_rate)


cdef void forget_policer(Bbr* b) noexcept nogil:
    b.policed = b.shared = False
    b.answers = 0
    b.policer_rate = 0


cdef void answer_policer(Bbr* b) noexcept nogil:
    """Answer losses at a steady rate: soon after a probe the rate was taken too high, later others are here."""
    b.answers += 1
    if b.answers >= VAIN_ANSWERS:
        # Lower rates lose no less: it never was a policer.
        b.doubt_until = b.round_count + DOUBTING_ROUNDS
        forget_policer(b)
        return
    if b.settled_rounds < NEW_RATE_ROUNDS and not b.shared:
        settle_at(b, b.last_rate)
    else:
        b.shared = True
        settle_at(b, <uint64_t> (BETA * b.last_rate))
    # What comes back in the next round was sent before the answer.
    b.settled_rounds = 0


cdef bint more_sent_is_more_delivered(const Controller* c, const Bbr* b) noexcept nogil:
    """Tell whether the round that ended sent more than the rounds before, and at least half as much more arrived."""
    return (b.base_rate > 0 and is_telling(c, &b.last) and 10 * b.last_sent_rate >= 11 * b.base_sent_rate
            and <double> b.last_rate / b.base_rate >= (1.0 + <double> b.last_sent_rate / b.base_sent_rate) / 2)


cdef void yield_to_others(Bbr* b, uint64_t rate, uint64_t in_flight) noexcept nogil:
    """Give way as a loss-based flow does that saw the same losses; a bound alone would give back nothing."""
    b.yielded += 1
    settle_at(b, <uint64_t> (CROWD_BETA * rate))
    b.inflight_longterm = <uint64_t> (CROWD_BETA * in_flight)


cdef void learn_random_share(Controller* c, Bbr* b) noexcept nogil:
    """Learn from probes what is lost at random; a steady rate may find less of it, never more.

    Sending more for losses that are an answer would bring more of them, for ever.
    """
    cdef double share = lost_share(&b.last), limit
    if b.policed:
        return
    share = share if share < MAX_RANDOM_SHARE else MAX_RANDOM_SHARE
    if b.probing_rounds >= 1:
        if more_sent_is_more_delivered(c, b):
            b.proven_share += (share - b.proven_share) / 4
        elif is_telling(c, &b.last) and more_sent_is_more_lost(c, b):
            b.proven_share /= 2
    if b.last_is_base and b.state != STARTUP and not queue_stands(b) and is_telling(c, &b.last):
        b.random_share += (share - b.random_share) / 8
    limit = 1.25 * b.proven_share + 0.005
    if b.random_share > limit or b.state == STARTUP:
        b.random_share = limit if b.state != STARTUP else b.proven_share


cdef void end_round(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    """Take stock of the round that ended with this ACK; what came back in it was sent a round earlier."""
    if b.last_is_base:
        b.base.acked += b.last.acked
        b.base.lost += b.last.lost
        b.base.runs += b.last.runs
        b.base_rate = b.last_rate
        b.base_sent_rate = b.last_sent_rate
        if b.state != STARTUP and b.base.acked + b.base.lost > 16 * (b.last.acked + b.last.lost):
            b.base.acked /= 2
            b.base.lost /= 2
            b.base.runs /= 2
    b.last = b.present
    memset(&b.present, 0, sizeof(Tally))
    b.last_rate = b.last_sent_rate = 0
    if e.now_ns > b.round_stamp_ns:
        b.last_rate = <uint64_t> (b.last.acked * 1e9 / <double> (e.now_ns - b.round_stamp_ns))
        b.last_sent_rate = <uint64_t> ((b.last.acked + b.last.lost) * 1e9 / <double> (e.now_ns - b.round_stamp_ns))
    b.round_stamp_ns = e.now_ns
    if b.state == STARTUP:
        # While the rate grows with what is sent, the losses are what any rate has.
        b.last_is_base = b.base_rate == 0 or more_sent_is_more_delivered(c, b)
    else:
        b.last_is_base = b.settled_rounds >= 1
    if b.state == PROBE_UP or b.state == STARTUP:
        b.settled_rounds = 0
        b.probing_rounds = <uint8_t> umin(b.probing_rounds + 1, 255)
    elif b.state == DRAIN:
        b.settled_rounds = b.probing_rounds = 0
    else:
        b.probing_rounds = 0
        b.settled_rounds = <uint8_t> umin(b.settled_rounds + 1, 255)
    if b.probing_rounds == 0:
        b.clean_rate = 0
    elif not more_sent_is_more_lost(c, b):
        b.clean_rate = umax(b.clean_rate, b.last_rate)
    if b.settled_rounds >= CROWD_ROUNDS and queue_stands(b):
        b.crowded = True
    elif b.settled_rounds and queue_is_empty(b):
        b.crowded = False
    b.window_was_limited = b.window_limited
    b.window_limited = False
    learn_random_share(c, b)
    b.round_ce_share = <double> b.round_marked / <double> b.round_ecn_acked if b.round_ecn_acked else 0.0
    if b.round_ecn_acked:
        b.ecn_alpha += (b.round_ce_share - b.ecn_alpha) * ECN_ALPHA_GAIN
    b.round_marked = b.round_ecn_acked = 0


cdef bint inflight_too_high(const Bbr* b, uint64_t lost, uint64_t in_flight) noexcept nogil:
    """Tell whether losses, beyond the random ones, or marks say that so much in flight is too much."""
    if b.round_ce_share > ECN_THRESHOLD:
        return True
    return (<double> lost > (LOSS_THRESHOLD + 1.5 * b.random_share) * <double> in_flight
            and (queue_stands(b) or b.policed))


# -- signals ---------------------------------------------------------------------------------------

cdef void reset_full_bw(Bbr* b) noexcept nogil:
    b.full_bw = 0
    b.full_bw_count = 0
    b.full_bw_now = False


cdef void reset_congestion_signals(Bbr* b) noexcept nogil:
    b.loss_in_round = False
    b.queue_in_round = False
    b.loss_runs_in_round = 0
    b.bw_latest = 0
    b.inflight_latest = 0


cdef void reset_shortterm(Bbr* b) noexcept nogil:
    b.bw_shortterm = UINT64_MAX
    b.inflight_shortterm = UINT64_MAX


cdef void start_round(Bbr* b, uint64_t delivered) noexcept nogil:
    b.next_round_delivered = delivered


cdef void update_round(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    b.round_start = False
    b.present.acked += e.acked_bytes
    b.round_marked += e.marked_bytes
    b.round_ecn_acked += e.ecn_acked_bytes
    if e.sample.valid and e.sample.prior_delivered >= b.next_round_delivered:
        start_round(b, e.delivered)
        b.round_count += 1
        b.rounds_since_probe += 1
        b.round_start = True
        end_round(c, b, e)
    b.loss_round_start = False
    if e.sample.valid and e.sample.prior_delivered >= b.loss_round_delivered:
        b.loss_round_delivered = e.delivered
        b.loss_round_start = True


cdef void update_max_bw(Bbr* b, const AckEvent* e) noexcept nogil:
    if b.policed and b.state == PROBE_UP:
        # Its bucket lets more pass than its rate, for a while.
        return
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


cdef void note_loss(Bbr* b, const AckEvent* e) noexcept nogil:
    """Count losses into the round; the first of a round is what an undo goes back to."""
    if e.lost_bytes == 0:
        return
    if not b.loss_in_round and not b.undo_possible:
        b.undo_possible = True
        b.undo_state = b.state
        b.undo_bw_shortterm = b.bw_shortterm
        b.undo_inflight_shortterm = b.inflight_shortterm
        b.undo_inflight_longterm = b.inflight_longterm
    b.present.lost += e.lost_bytes
    b.present.runs += e.lost_runs
    b.loss_in_round = True
    b.loss_runs_in_round += e.lost_runs
    if queue_stands(b) or b.policed:
        b.queue_in_round = True


cdef void lower_bounds(Controller* c, Bbr* b, double factor) noexcept nogil:
    if b.bw_shortterm == UINT64_MAX:
        b.bw_shortterm = b.max_bw
    if b.inflight_shortterm == UINT64_MAX:
        b.inflight_shortterm = c.window
    b.bw_shortterm = umax(b.bw_latest, <uint64_t> (factor * b.bw_shortterm))
    b.inflight_shortterm = umax(b.inflight_latest, <uint64_t> (factor * b.inflight_shortterm))


cdef void adapt_lower_bounds(Controller* c, Bbr* b) noexcept nogil:
    # The bounds follow losses only outside of bandwidth probes, and only losses that are an answer.
    # What comes back while a probe's last round does, or while STARTUP drains, is the probe's (ours).
    if b.state in (PROBE_REFILL, PROBE_UP, STARTUP, DRAIN) or b.ack_phase == ACKS_STOPPING:
        return
    if b.round_ce_share > 0 and b.bw_latest:
        if b.inflight_shortterm == UINT64_MAX:
            b.inflight_shortterm = c.window
        b.inflight_shortterm = <uint64_t> (b.inflight_shortterm * (1.0 - ECN_FACTOR * b.ecn_alpha))
    if b.policed and not queue_stands(b):
        if b.settled_rounds >= 2 and lost_share(&b.last) > LOSS_THRESHOLD:
            answer_policer(b)
        elif b.settled_rounds >= 2:
            b.answers = 0
        return
    if not b.loss_in_round or not b.queue_in_round:
        return
    if lost_share(&b.last) <= (CROWD_THRESHOLD if b.crowded else LOSS_THRESHOLD) + 2.0 * max(b.random_share, lost_share(&b.base)):
        return
    if b.crowded and b.settled_rounds >= 2:
        if b.yielded < MAX_YIELDS:
            yield_to_others(b, umax(b.last_rate, b.base_rate), umin(b.inflight_longterm, c.window))
    else:
        lower_bounds(c, b, BETA)


cdef void update_congestion_signals(Controller* c, Bbr* b, const AckEvent* e) noexcept nogil:
    if e.sample.valid:
        b.bw_latest = umax(b.bw_latest, e.sample.rate)
        b.inflight_latest = umax(b.inflight_latest, e.sample.delivered)
    if b.loss_round_start:
        # Ours: where the application had nothing to send, the losses of before weigh too much.
        if not e.sample.app_limited:
            adapt_lower_bounds(c, b)
        if not b.loss_in_round:
            # A round without loss: what was undone or not is history.
            b.undo_possible = False
        b.loss_in_round = False
        b.queue_in_round = False
        b.loss_runs_in_round = 0
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


cdef void update_min_rtt(Bbr* b, const AckEvent* e) noexcept nogil:
    if e.latest_rtt_ns <= 0:
        b.probe_rtt_expired = e.now_ns > b.probe_rtt_min_stamp_ns + PROBE_RTT_INTERVAL_NS
        return
    if b.round_start or e.latest_rtt_ns < b.round_min_rtt_ns:
        b.round_min_rtt_ns = e.latest_rtt_ns
    if b.min_rtt_ns and queue_is_empty(b):
        # Ours: as good as the minimum shows that no queue stands, so nothing need be emptied to see it.
        b.probe_rtt_min_stamp_ns = b.min_rtt_stamp_ns = e.now_ns
    b.probe_rtt_expired = e.now_ns > b.probe_rtt_min_stamp_ns + PROBE_RTT_INTERVAL_NS
    if b.probe_rtt_min_delay_ns == 0 or e.latest_rtt_ns < b.probe_rtt_min_delay_ns or b.probe_rtt_expired:
        b.probe_rtt_min_delay_ns = e.latest_rtt_ns
        b.probe_rtt_min_stamp_ns = e.now_ns
    if (b.min_rtt_ns == 0 or b.probe_rtt_min_delay_ns < b.min_rtt_ns
            or e.now_ns > b.min_rtt_stamp_ns + MIN_RTT_WINDOW_NS):
        b.min_rtt_ns = b.probe_rtt_min_delay_ns
        b.min_rtt_stamp_ns = b.probe_rtt_min_stamp_ns
