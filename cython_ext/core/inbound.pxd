"""What a protected packet does to a connection."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from cython_ext.core.conn cimport Conn
from cython_ext.wire.header cimport Header, Verdict

cdef Verdict conn_handle_packet(Conn* c, const Header* header, uint8_t* datagram, uint32_t length, uint8_t ecn,
                                int64_t now_ns) noexcept nogil
