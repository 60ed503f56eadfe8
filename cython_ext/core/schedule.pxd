"""Which connections have something to do: lists of them, and a heap by deadline."""

from libc.stdint cimport int64_t, uint32_t

from cython_ext.core.conn cimport Conn


cdef struct ConnList:
    Conn** items
    uint32_t count
    uint32_t capacity

cdef bint list_push(ConnList* items, Conn* c) noexcept nogil
cdef void heap_remove(ConnList* heap, Conn* c) noexcept nogil
cdef void heap_set(ConnList* heap, Conn* c, int64_t due_ns) noexcept nogil
