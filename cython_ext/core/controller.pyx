"""The table of congestion controllers: a new one is a file and a line here."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cython_ext.core.controllers cimport bbr, cubic, new_reno

CONTROLLERS = ("bbr", "new_reno", "cubic")


cdef enum:
    # What quic-go, Chromium and most content networks begin with. It leaves paced over a round trip that the
    # handshake has measured, so the burst that RFC 6928 guards against does not exist.
    INITIAL_WINDOW_PACKETS = 32


cdef bint start(Controller* c, uint8_t which, int64_t now_ns, int64_t rtt_ns, uint64_t seed) noexcept nogil:
    if which == 1:
        c.algorithm = &new_reno.ALGORITHM
    elif which == 2:
        c.algorithm = &cubic.ALGORITHM
    else:
        c.algorithm = &bbr.ALGORITHM
    return c.algorithm.init(c, now_ns, rtt_ns, seed)


cdef bint controller_init(Controller* c, uint8_t which, uint64_t datagram_bytes, int64_t now_ns,
                          int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    """Start algorithm number *which* of CONTROLLERS; False when memory ran out."""
    memset(c, 0, sizeof(Controller))
    c.datagram_bytes = datagram_bytes
    c.window = c.initial_window = INITIAL_WINDOW_PACKETS * datagram_bytes
    return start(c, which, now_ns, initial_rtt_ns, seed)


cdef bint controller_switch(Controller* c, uint8_t which, int64_t now_ns, int64_t rtt_ns, uint64_t seed) noexcept nogil:
    """Go on with another algorithm from the present window; False, and nothing changed, without memory."""
    cdef Controller before = c[0]
    c.mid_life = True
    if not start(c, which, now_ns, rtt_ns, seed):
        c[0] = before
        return False
    before.algorithm.clear(&before)
    return True


cdef void controller_clear(Controller* c) noexcept nogil:
    if c.algorithm != NULL:
        c.algorithm.clear(c)
    c.algorithm = NULL
