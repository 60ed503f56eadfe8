"""A growing ring of bytes addressed by absolute offset; what is in it is the owner's knowledge."""

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef enum:
    RING_FIRST_BYTES = 2048


cdef struct ByteRing:
    uint8_t* data           # owned; NULL while capacity is 0
    uint64_t capacity       # 0 or a power of two


cdef inline void ring_write(ByteRing* ring, uint64_t offset, const uint8_t* source, uint64_t length) noexcept nogil:
    """Copy in at *offset*; the owner has reserved the place."""
    cdef uint64_t at = offset & (ring.capacity - 1)
    cdef uint64_t first = ring.capacity - at
    if length <= first:
        memcpy(ring.data + at, source, length)
    else:
        memcpy(ring.data + at, source, first)
        memcpy(ring.data, source + first, length - first)


cdef inline void ring_read(const ByteRing* ring, uint64_t offset, uint8_t* out, uint64_t length) noexcept nogil:
    """Copy out *length* bytes that start at *offset*."""
    cdef uint64_t at = offset & (ring.capacity - 1)
    cdef uint64_t first = ring.capacity - at
    if length == 0:
        return
    if length <= first:
        memcpy(out, ring.data + at, length)
    else:
        memcpy(out, ring.data + at, first)
        memcpy(out + first, ring.data, length - first)


cdef inline void ring_move_down(ByteRing* ring, uint64_t source, uint64_t target, uint64_t length) noexcept nogil:
    """Copy *length* bytes from offset *source* to *target*, which is not above it; they may overlap."""
    cdef uint64_t mask = ring.capacity - 1, step
    if source == target:
        return
    while length:
        step = length
        if step > ring.capacity - (source & mask):
            step = ring.capacity - (source & mask)
        if step > ring.capacity - (target & mask):
            step = ring.capacity - (target & mask)
        memmove(ring.data + (target & mask), ring.data + (source & mask), step)
        source += step
        target += step
        length -= step


cdef inline bint ring_reserve(ByteRing* ring, uint64_t base, uint64_t used, uint64_t end) noexcept nogil:
    """Make room for [base, end), keeping the bytes of [base, used); False when memory ran out."""
    cdef uint64_t capacity = ring.capacity if ring.capacity else RING_FIRST_BYTES
    cdef ByteRing grown
    if end - base <= ring.capacity:
        return True
    while capacity < end - base:
        capacity *= 2
    grown.data = <uint8_t*> malloc(capacity)
    if grown.data == NULL:
        return False
    grown.capacity = capacity
    cdef uint64_t at = base, step
    while at < used:
        step = ring.capacity - (at & (ring.capacity - 1))
        if step > used - at:
            step = used - at
        ring_write(&grown, at, ring.data + (at & (ring.capacity - 1)), step)
        at += step
    free(ring.data)
    ring[0] = grown
    return True


cdef inline void ring_clear(ByteRing* ring) noexcept nogil:
    free(ring.data)
    ring.data = NULL
    ring.capacity = 0
