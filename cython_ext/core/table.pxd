"""Connections by id, and lists of those that have something to do."""

from libc.stdint cimport uint8_t, uint32_t

from cython_ext.core.conn cimport Conn, ConnList


cdef class ConnectionTable:
    # table by our ids: chained hash
    cdef Conn** buckets
    cdef uint32_t bucket_count
    cdef uint32_t conn_count
    # lists
    cdef ConnList touched               # may have something to send
    cdef uint32_t touched_at            # next of them to poll
    cdef ConnList ready                 # have events for the application
    cdef ConnList heap                  # by timer_ns

    cdef Conn* find(self, const uint8_t* id) noexcept nogil
    cdef bint insert(self, Conn* c) noexcept nogil
    cdef void remove(self, Conn* c) noexcept nogil
    cdef void touch(self, Conn* c) noexcept nogil
    cdef Conn* next_touched(self) noexcept nogil
    cdef void settle(self, Conn* c) noexcept nogil
    cdef void drop(self, Conn* c) noexcept nogil
