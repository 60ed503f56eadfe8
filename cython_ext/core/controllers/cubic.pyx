"""CUBIC (RFC 9438) with HyStart++ (RFC 9406): what most of the internet's TCP does.

Windows are in segments inside, as in the RFC, and in bytes outside. Time in a growth function is the time
in which the window was used: what an application leaves idle does not count (RFC 9438 section 5.8).
"""

from libc.math cimport cbrt
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.controller cimport AckEvent, Controller

cdef enum:
    SLOW_START = 0
    CONSERVATIVE_SLOW_START = 1
    AVOIDANCE = 2

cdef double C = 0.4
cdef double BETA = 0.7
# 3 (1 - beta) / (1 + beta): as fast as Reno on average, until the window before the loss is reached.
cdef double ALPHA = 0.5294117647058824

cdef enum:
    # RFC 9406 section 4.3; paced, so L is infinite.
    MIN_RTT_THRESH_NS = 4_000_000
    MAX_RTT_THRESH_NS = 16_000_000
    MIN_RTT_DIVISOR = 8
    RTT_SAMPLES = 8
    CSS_GROWTH_DIVISOR = 4
    CSS_ROUNDS = 5
    MIN_WINDOW_PACKETS = 2


cdef struct Epoch:
    # What a reduction changes, and an undo brings back.
    double window_max           # segments
    double window_prior         # before the last reduction
    double window_reno          # W_est
    double k                    # seconds until W_cubic is at window_max
    int64_t start_ns            # 0 = congestion avoidance has not begun
    uint64_t threshold          # ssthresh in bytes
    uint64_t window             # bytes


cdef struct Cubic:
    Epoch now
    Epoch before
    bint undo_possible
    uint64_t undo_losses        # packets lost in this episode that have not proven spurious
    double window               # segments; c.window is this in bytes
    int64_t recovery_start_ns   # packets sent before do not reduce the window again
    int64_t last_ack_ns
    # HyStart++
    uint64_t round_delivered    # the round ends when what is sent from now on is acknowledged
    int64_t last_round_min_ns
    int64_t round_min_ns
    unsigned int samples
    bint in_css
    int64_t css_baseline_ns
    unsigned int css_rounds


cdef void set_window(Controller* c, Cubic* q, double segments) noexcept nogil:
    if segments < MIN_WINDOW_PACKETS:
        segments = MIN_WINDOW_PACKETS
    q.window = segments
    c.window = <uint64_t> (segments * c.datagram_bytes)


cdef void start_epoch(Cubic* q, int64_t now_ns) noexcept nogil:
    q.now.start_ns = now_ns
    if q.window >= q.now.window_max:
        q.now.window_max = q.window
        q.now.k = 0
    else:
        q.now.k = cbrt((q.now.window_max - q.window) / C)
    q.now.window_reno = q.window


cdef void reduce_window(Controller* c, Cubic* q, const AckEvent* e) noexcept nogil:
    """Multiply by beta, once per episode; with fast convergence (RFC 9438 sections 4.6 and 4.7)."""
    q.before = q.now
    q.before.window = c.window
    q.undo_possible = e.marked_bytes == 0
    q.undo_losses = 0
    q.recovery_start_ns = e.now_ns
    q.now.window_max = q.window * (1.0 + BETA) / 2 if q.window < q.now.window_max else q.window
    q.now.window_prior = q.window
    set_window(c, q, q.window * BETA)
    q.now.threshold = c.window
    q.in_css = False
    start_epoch(q, e.now_ns)


cdef void hystart(Controller* c, Cubic* q, const AckEvent* e) noexcept nogil:
    """Leave slow start when the round trip rises, by way of slower growth that checks it was not jitter."""
    cdef int64_t allowance
    if e.latest_rtt_ns > 0:
        q.samples += 1
        if e.latest_rtt_ns < q.round_min_ns:
            q.round_min_ns = e.latest_rtt_ns
    if q.in_css:
        if q.samples >= RTT_SAMPLES and q.round_min_ns < q.css_baseline_ns:
            q.in_css = False
    elif q.samples >= RTT_SAMPLES and q.round_min_ns != INT64_MAX and q.last_round_min_ns != INT64_MAX:
        allowance = q.last_round_min_ns // MIN_RTT_DIVISOR
        if allowance < MIN_RTT_THRESH_NS:
            allowance = MIN_RTT_THRESH_NS
        if allowance > MAX_RTT_THRESH_NS:
            allowance = MAX_RTT_THRESH_NS
        if q.round_min_ns >= q.last_round_min_ns + allowance:
            q.in_css = True
            q.css_rounds = 0
            q.css_baseline_ns = q.round_min_ns
    if e.sample.valid and e.sample.prior_delivered >= q.round_delivered:
        q.round_delivered = e.delivered
        q.last_round_min_ns = q.round_min_ns
        q.round_min_ns = INT64_MAX
        q.samples = 0
        if q.in_css:
            q.css_rounds += 1
            if q.css_rounds >= CSS_ROUNDS:
                q.now.threshold = c.window


cdef void avoid(Controller* c, Cubic* q, const AckEvent* e) noexcept nogil:
    """Grow as RFC 9438 section 4.2 to 4.5 say: Reno's speed at least, W_cubic's where that is more."""
    cdef double acked = <double> e.acked_bytes / c.datagram_bytes
    cdef double elapsed, target, cubic_now, offset
    if q.now.start_ns == 0:
        start_epoch(q, e.now_ns)
    elapsed = <double> (e.now_ns - q.now.start_ns) / 1e9
    q.now.window_reno += (1.0 if q.now.window_reno >= q.now.window_prior else ALPHA) * acked / q.window
    offset = elapsed - q.now.k
    cubic_now = C * offset * offset * offset + q.now.window_max
    if cubic_now < q.now.window_reno:
        if q.now.window_reno > q.window:
            set_window(c, q, q.now.window_reno)
        return
    offset += <double> e.smoothed_rtt_ns / 1e9
    target = C * offset * offset * offset + q.now.window_max
    if target < q.window:
        target = q.window
    if target > 1.5 * q.window:
        target = 1.5 * q.window
    set_window(c, q, q.window + (target - q.window) / q.window * acked)


cdef bint init(Controller* c, int64_t now_ns, int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    cdef Cubic* q = <Cubic*> calloc(1, sizeof(Cubic))
    if q == NULL:
        return False
    c.state = q
    q.window = <double> c.window / c.datagram_bytes
    # A window that another algorithm has proven is not doubled.
    q.now.threshold = c.window if c.mid_life else UINT64_MAX
    q.recovery_start_ns = INT64_MIN
    q.round_min_ns = q.last_round_min_ns = INT64_MAX
    c.pacing_rate = <uint64_t> (2e9 * c.window / initial_rtt_ns)
    c.phase = AVOIDANCE if c.mid_life else SLOW_START
    return True


cdef void on_sent(Controller* c, int64_t now_ns, uint64_t sent_bytes, uint64_t in_flight, bint app_limited) noexcept nogil:
    pass


cdef void on_ack(Controller* c, const AckEvent* e) noexcept nogil:
    cdef Cubic* q = <Cubic*> c.state
    if (e.lost_bytes or e.marked_bytes) and e.largest_sent_ns > q.recovery_start_ns:
        reduce_window(c, q, e)
    elif e.acked_bytes and e.largest_sent_ns > q.recovery_start_ns:
        if e.prior_in_flight * 2 < c.window:
            # The window is not used: it does not grow, and neither does the time it grows by.
            if q.now.start_ns and q.last_ack_ns:
                q.now.start_ns += e.now_ns - q.last_ack_ns
        elif c.window < q.now.threshold:
            set_window(c, q, q.window + <double> e.acked_bytes / c.datagram_bytes / (CSS_GROWTH_DIVISOR if q.in_css else 1))
            hystart(c, q, e)
        else:
            avoid(c, q, e)
    q.undo_losses += e.lost_packets
    q.last_ack_ns = e.now_ns
    if c.window >= q.now.threshold:
        c.phase = AVOIDANCE
    else:
        c.phase = CONSERVATIVE_SLOW_START if q.in_css else SLOW_START
    # Linux's factors: twice the window per round trip while it doubles, a fifth more than it afterwards.
    if e.smoothed_rtt_ns > 0:
        c.pacing_rate = <uint64_t> ((2.0 if c.phase == SLOW_START else 1.2) * 1e9 * c.window / e.smoothed_rtt_ns)


cdef void on_spurious(Controller* c, int64_t now_ns) noexcept nogil:
    """Go back to before the reduction once every loss of its episode has proven to be none (section 4.9)."""
    cdef Cubic* q = <Cubic*> c.state
    if q.undo_losses:
        q.undo_losses -= 1
    if not q.undo_possible or q.undo_losses:
        return
    q.undo_possible = False
    if q.before.window > c.window:
        q.now = q.before
        set_window(c, q, <double> q.before.window / c.datagram_bytes)


cdef void on_persistent(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Cubic* q = <Cubic*> c.state
    q.undo_possible = False
    q.now.window_max = q.now.window_prior = q.window
    q.now.threshold = <uint64_t> (BETA * c.window)
    q.now.start_ns = 0
    q.in_css = False
    set_window(c, q, MIN_WINDOW_PACKETS)


cdef void clear(Controller* c) noexcept nogil:
    free(c.state)
    c.state = NULL


ALGORITHM.init = init
ALGORITHM.on_sent = on_sent
ALGORITHM.on_ack = on_ack
ALGORITHM.on_spurious = on_spurious
ALGORITHM.on_persistent = on_persistent
ALGORITHM.clear = clear
