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
    uint64_t undo_losses        # packets lost since then that have not proven spurious


cdef bint init(Controller* c, int64_t now_ns, int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    cdef Reno* reno = <Reno*> calloc(1, sizeof(Reno))
    if reno == NULL:
        return False
    # A window that another algorithm has proven is not doubled.
    reno.threshold = c.window if c.mid_life else UINT64_MAX
    reno.recovery_start_ns = INT64_MIN
    c.state = reno
    c.pacing_rate = <uint64_t> (2e9 * c.window / initial_rtt_ns)
    return True


cdef void on_sent(Controller* c, int64_t now_ns, uint64_t sent_bytes, uint64_t in_flight, bint app_limited) noexcept nogil:
    pass


cdef void on_ack(Controller* c, const AckEvent* event) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    cdef uint64_t floor = 2 * c.datagram_bytes
    if (event.lost_bytes or event.marked_bytes) and event.largest_sent_ns > reno.recovery_start_ns:
        # A mark is never taken back.
        reno.undo_window = 0 if event.marked_bytes else c.window
        reno.undo_losses = 0
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
    reno.undo_losses += event.lost_packets
    c.phase = SLOW_START if c.window < reno.threshold else AVOIDANCE
    # Linux's factors: no burst, and no wait for the window that the round trip would allow.
    if event.smoothed_rtt_ns > 0:
        c.pacing_rate = <uint64_t> ((2.0 if c.phase == SLOW_START else 1.2) * 1e9 * c.window / event.smoothed_rtt_ns)


cdef void on_spurious(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    if reno.undo_losses:
        reno.undo_losses -= 1
    if reno.undo_losses:
        # Others of the same episode were real, or are not known yet.
        return
    if reno.undo_window > c.window:
        c.window = reno.undo_window
        reno.threshold = reno.undo_threshold
    reno.undo_window = 0


cdef void on_persistent(Controller* c, int64_t now_ns) noexcept nogil:
    cdef Reno* reno = <Reno*> c.state
    reno.undo_window = 0
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
