"""Frames of messages for the packet being built."""

from libc.stdint cimport int64_t, uint32_t

from cython_ext.core.build cimport Build
from cython_ext.core.conn cimport Conn

cdef void add_messages(Conn* c, Build* b, uint32_t full, int64_t now_ns) noexcept nogil
cdef void add_copies(Conn* c, Build* b, int64_t now_ns) noexcept nogil
