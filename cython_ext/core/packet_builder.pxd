"""What leaves: one datagram per call."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from cython_ext.core.conn cimport Conn

cdef uint32_t conn_poll(Conn* c, uint8_t* out, uint32_t capacity, int64_t now_ns) noexcept nogil
