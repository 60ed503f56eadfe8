"""NewReno (RFC 9002 section 7): slow start, congestion avoidance, one halving per round trip."""

from libc.stdint cimport INT64_MIN, UINT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.controller cimport AckEvent, Controller

cdef enum:
    SLOW_START = 0
    AVOIDANCE = 1


cdef struct Reno:
    uint64_t threshold          # ssthresh in bytes
    uint64_t acked              # bytes acknowledged since the window last grew
    int64_t recovery_start_ns   # packets sent before this do not reduce the window again
    uint64_t undo_window        # before the last reduction, for spurious losses
    uint64_t undo_threshold


cdef bint init(Controller* c, int64_t now_ns, int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    cdef Reno* reno = <Reno*> calloc(1, sizeof(Reno))
    if reno == NULL:
        return False
    reno.threshold = UINT64_MAX
    reno.recovery_start_ns = INT64_MIN
    c.state = reno
    return True


cdef void on_sent(Controller* c, int64_t now_ns, uint64_t sent_bytes, uint64_t in_flight, bint app_limited) noexcept nogil:
    pass


cdef void on_ack(Controller* c, const AckEvent* event) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    cdef uint64_t floor = 2 * c.datagram_bytes
    if event.lost_bytes and event.largest_sent_ns > reno.recovery_start_ns:
        reno.undo_window = c.window
        reno.undo_threshold = reno.threshold
        reno.recovery_start_ns = event.now_ns
        c.window = c.window // 2 if c.window // 2 > floor else floor
        reno.threshold = c.window
        reno.acked = 0
    elif event.acked_bytes and event.prior_in_flight * 2 >= c.window and event.largest_sent_ns > reno.recovery_start_ns:
        if c.window < reno.threshold:
            c.window += event.acked_bytes
        else:
            reno.acked += event.acked_bytes
            if reno.acked >= c.window:
                reno.acked -= c.window
                c.window += c.datagram_bytes
    c.phase = SLOW_START if c.window < reno.threshold else AVOIDANCE
    # Paced at 1.25 windows per round trip, so that a window does not leave as one burst.
    if event.smoothed_rtt_ns > 0:
        c.pacing_rate = <uint64_t> (1.25e9 * c.window / event.smoothed_rtt_ns)


cdef void on_spurious(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    if reno.undo_window > c.window:
        c.window = reno.undo_window
        reno.threshold = reno.undo_threshold
    reno.undo_window = 0


cdef void on_persistent(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    reno.threshold = c.window // 2
    c.window = 2 * c.datagram_bytes
    reno.acked = 0


cdef void clear(Controller* c) noexcept nogil:
    free(c.state)
    c.state = NULL


ALGORITHM.init = init
ALGORITHM.on_sent = on_sent
ALGORITHM.on_ack = on_ack
ALGORITHM.on_spurious = on_spurious
ALGORITHM.on_persistent = on_persistent
ALGORITHM.clear = clear
