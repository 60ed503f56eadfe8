"""The table of congestion controllers: a new one is a file and a line here."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cython_ext.core.controllers cimport bbr, new_reno

CONTROLLERS = ("bbr", "new_reno")


cdef bint controller_init(Controller* c, uint8_t which, uint64_t datagram_bytes, int64_t now_ns,
                          int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    """Start algorithm number *which* of CONTROLLERS; False when memory ran out."""
    memset(c, 0, sizeof(Controller))
    c.datagram_bytes = datagram_bytes
    # RFC 6928: ten packets.
    c.window = 10 * datagram_bytes
    c.algorithm = &new_reno.ALGORITHM if which == 1 else &bbr.ALGORITHM
    return c.algorithm.init(c, now_ns, initial_rtt_ns, seed)


cdef void controller_clear(Controller* c) noexcept nogil:
    if c.algorithm != NULL:
        c.algorithm.clear(c)
    c.algorithm = NULL
