"""Bytes that were written and are not yet acknowledged, for streams and for messages alike."""

from libc.stdint cimport uint8_t, uint64_t

from cython_ext.core.byte_ring cimport ByteRing
from cython_ext.core.ranges cimport RangeSet


cdef struct SendBuffer:
    ByteRing ring
    uint64_t base       # everything below was acknowledged
    uint64_t sent       # everything below was sent at least once
    uint64_t end        # everything below was written; base <= sent <= end
    RangeSet acked      # inside (base, sent)
    RangeSet lost       # inside [base, sent): to be sent again, disjoint from acked

cdef bint buffer_append(SendBuffer* b, const uint8_t* data, uint64_t length) noexcept nogil
cdef bint buffer_is_full(const SendBuffer* b, uint64_t limit) noexcept nogil
cdef bint buffer_on_acked(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil
cdef bint buffer_on_lost(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil
cdef bint buffer_next(const SendBuffer* b, uint64_t limit, uint64_t* low, uint64_t* high) noexcept nogil
cdef void buffer_on_sent(SendBuffer* b, uint64_t low, uint64_t high) noexcept nogil
cdef void buffer_rest(SendBuffer* b) noexcept nogil
cdef void buffer_clear(SendBuffer* b) noexcept nogil
