"""Which connection's timer is next: a heap by deadline."""

from libc.stdint cimport int64_t

from cython_ext.core.conn cimport Conn, ConnList

cdef void heap_remove(ConnList* heap, Conn* c) noexcept nogil
cdef void heap_set(ConnList* heap, Conn* c, int64_t due_ns) noexcept nogil
