"""The pump: readable -> receive -> handle -> poll -> send -> next deadline, bounded per turn."""

from libc.stdint cimport int64_t, uint64_t

from cython_ext.core.endpoint cimport Endpoint
from cython_ext.udp.batch cimport RecvBatch, SendBatch


cdef class Pump:
    cdef int fd
    cdef Endpoint endpoint
    cdef RecvBatch inbound
    cdef SendBatch outbound
    cdef readonly int timer_fd
    cdef int64_t armed_ns           # what the timer is set to; 0 = off
    cdef int64_t retry_ns           # when to try again after ENOBUFS; 0 = not waiting
    cdef readonly bint wants_write  # the kernel's buffer is full: call turn() when writable
    cdef readonly bint wants_turn   # the bound of a turn was reached: call turn() again soon
    cdef int failure                # errno that made the socket unusable
    cdef uint64_t turns

    cdef void receive(self, int64_t now_ns) noexcept nogil
    cdef void send(self, int64_t now_ns) noexcept nogil
    cdef bint post_outbox(self) noexcept nogil
    cdef void arm(self, int64_t now_ns) noexcept nogil
