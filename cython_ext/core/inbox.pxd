"""A queue of byte records in one growing ring: what arrived and waits for the application."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.core.byte_ring cimport ByteRing, ring_clear, ring_read, ring_reserve, ring_write


cdef struct Inbox:
    ByteRing ring
    uint64_t head           # offset of the oldest record
    uint64_t tail           # offset behind the newest
    uint64_t count          # records
    uint64_t payload_bytes  # sum of their sizes


cdef inline bint inbox_push(Inbox* box, const uint8_t* data, uint32_t length) noexcept nogil:
    """Append a record; False when memory ran out. Bounds are the owner's."""
    if not ring_reserve(&box.ring, box.head, box.tail, box.tail + 4 + length):
        return False
    ring_write(&box.ring, box.tail, <const uint8_t*> &length, 4)
    if length:
        ring_write(&box.ring, box.tail + 4, data, length)
    box.tail += 4 + length
    box.count += 1
    box.payload_bytes += length
    return True


cdef inline uint32_t inbox_first_length(const Inbox* box) noexcept nogil:
    """Return the size of the oldest record; there must be one."""
    cdef uint32_t length = 0
    ring_read(&box.ring, box.head, <uint8_t*> &length, 4)
    return length


cdef inline void inbox_pop(Inbox* box, uint8_t* out) noexcept nogil:
    """Remove the oldest record, copying it to *out* unless that is NULL."""
    cdef uint32_t length = inbox_first_length(box)
    if out != NULL:
        ring_read(&box.ring, box.head + 4, out, length)
    box.head += 4 + length
    box.count -= 1
    box.payload_bytes -= length


cdef inline void inbox_rest(Inbox* box) noexcept nogil:
    """Give the room back when nothing is in it."""
    if box.count == 0:
        ring_clear(&box.ring)


cdef inline void inbox_clear(Inbox* box) noexcept nogil:
    ring_clear(&box.ring)
    box.head = box.tail = box.count = box.payload_bytes = 0
