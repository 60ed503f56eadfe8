"""Messages as they arrive: each once, bounded by credit and distance."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from cython_ext.core.inbox cimport inbox_clear, inbox_push
from cython_ext.core.ranges cimport ranges_add, ranges_clear
from cython_ext.core.stream cimport INTERNAL, MAX_GAPS, MESSAGE_LIMIT, NO_ERROR, TOO_MANY_GAPS

cdef enum:
    FIRST_PART_BYTES = 4096


cdef inline bint is_delivered(const Incoming* i, uint64_t id) noexcept nogil:
    if id < i.base:
        return True
    # Beyond the distance the bitmap's places belong to other ids; `admit` refuses those.
    if i.bitmap == NULL or id - i.base >= ID_DISTANCE:
        return False
    return i.bitmap[(id % ID_DISTANCE) // 8] >> (id % 8) & 1


cdef bint mark_delivered(Incoming* i, uint64_t id) noexcept nogil:
    """Mark a message that was not delivered yet; False when memory ran out."""
    #= 5.5: A receiver MUST deliver each message at most once.
    if id == i.base and i.bitmap == NULL:
        i.base += 1
        return True
    if i.bitmap == NULL:
        i.bitmap = <uint8_t*> calloc(1, BITMAP_BYTES)
        if i.bitmap == NULL:
            return False
    i.bitmap[(id % ID_DISTANCE) // 8] |= <uint8_t> (1 << (id % 8))
    while i.base < i.highest and i.bitmap[(i.base % ID_DISTANCE) // 8] >> (i.base % 8) & 1:
        i.bitmap[(i.base % ID_DISTANCE) // 8] &= <uint8_t> ~(1 << (i.base % 8))
        i.base += 1
    if i.base == i.highest:
        # Nothing is missing: an idle connection keeps neither.
        free(i.bitmap)
        free(i.partials)
        i.bitmap = NULL
        i.partials = NULL
    return True


cdef TransportError admit(Incoming* i, uint64_t id, uint64_t size, uint64_t max_bytes, bint counted) noexcept nogil:
    if size > max_bytes or id - i.base >= ID_DISTANCE:
        return MESSAGE_LIMIT
    if not counted:
        if size + 1 > i.limit - i.received:
            return MESSAGE_LIMIT
        i.received += size + 1
    if id >= i.highest:
        i.highest = id + 1
    return NO_ERROR


cdef TransportError incoming_whole(Incoming* i, uint64_t id, const uint8_t* data, uint64_t length, uint64_t max_bytes) noexcept nogil:
    """Take in a MESSAGE frame."""
    cdef TransportError error
    if is_delivered(i, id):
        i.duplicates += 1
        return NO_ERROR
    if i.partial_count and find_partial(i, id)[0] != NULL:
        # Sent in parts before and whole now: the size is the same, or someone lies.
        return incoming_part(i, id, length, 0, data, length, max_bytes)
    error = admit(i, id, length, max_bytes, False)
    if error != NO_ERROR:
        return error
    if not mark_delivered(i, id) or not inbox_push(&i.inbox, data, <uint32_t> length):
        return INTERNAL
    i.delivered += 1
    return NO_ERROR


cdef Partial** find_partial(Incoming* i, uint64_t id) noexcept nogil:
    # Only called when there are buckets.
    cdef Partial** link = &i.partials[id % PARTIAL_BUCKETS]
    while link[0] != NULL and link[0].id != id:
        link = &link[0].next
    return link


cdef TransportError incoming_part(Incoming* i, uint64_t id, uint64_t total, uint64_t offset, const uint8_t* data,
                                  uint64_t length, uint64_t max_bytes) noexcept nogil:
    """Take in a MESSAGE_PART frame. Credit counted the whole message, so what is held is bounded by it."""
    cdef Partial** link
    cdef Partial* p
    cdef TransportError error
    cdef uint64_t capacity
    cdef uint8_t* grown
    if is_delivered(i, id):
        i.duplicates += 1
        return NO_ERROR
    if i.partials == NULL:
        i.partials = <Partial**> calloc(PARTIAL_BUCKETS, sizeof(Partial*))
        if i.partials == NULL:
            return INTERNAL
    link = find_partial(i, id)
    p = link[0]
    if offset > total or length > total - offset or (p != NULL and p.total != total):
        return MESSAGE_LIMIT
    error = admit(i, id, total, max_bytes, p != NULL)
    if error != NO_ERROR:
        return error
    if p == NULL:
        p = <Partial*> calloc(1, sizeof(Partial))
        if p == NULL:
            return INTERNAL
        p.id = id
        p.total = total
        p.got.limit = MAX_GAPS
        link[0] = p
        i.partial_count += 1
    if offset + length > p.capacity:
        capacity = p.capacity * 2 if p.capacity else FIRST_PART_BYTES
        while capacity < offset + length:
            capacity *= 2
        if capacity > total:
            capacity = total
        grown = <uint8_t*> realloc(p.data, capacity)
        if grown == NULL:
            return INTERNAL
        p.data = grown
        p.capacity = capacity
    if length:
        memcpy(p.data + offset, data, length)
        if not ranges_add(&p.got, offset, offset + length):
            return TOO_MANY_GAPS
    if total and (p.got.count != 1 or p.got.items[0].low != 0 or p.got.items[0].high != total):
        return NO_ERROR
    if not inbox_push(&i.inbox, p.data, <uint32_t> total):
        return INTERNAL
    link[0] = p.next
    i.partial_count -= 1
    partial_free(p)
    i.delivered += 1
    return NO_ERROR if mark_delivered(i, id) else INTERNAL


cdef TransportError incoming_expired(Incoming* i, uint64_t id, uint64_t size, uint64_t max_bytes) noexcept nogil:
    """Take in a MESSAGE_EXPIRED frame: the id is closed, its size is credit that returns at once."""
    cdef Partial** link = NULL
    cdef Partial* p = NULL
    cdef TransportError error
    if is_delivered(i, id):
        i.duplicates += 1
        return NO_ERROR
    if i.partial_count:
        link = find_partial(i, id)
        p = link[0]
    if p != NULL and p.total != size:
        return MESSAGE_LIMIT
    error = admit(i, id, size, max_bytes, p != NULL)
    if error != NO_ERROR:
        return error
    if p != NULL:
        link[0] = p.next
        i.partial_count -= 1
        partial_free(p)
    i.consumed += size + 1
    i.expired += 1
    return NO_ERROR if mark_delivered(i, id) else INTERNAL


cdef bint incoming_misses(const Incoming* i) noexcept nogil:
    """Tell whether an id below the highest one seen was neither delivered nor given up."""
    return i.base < i.highest


cdef void partial_free(Partial* p) noexcept nogil:
    free(p.data)
    ranges_clear(&p.got)
    free(p)


cdef void incoming_clear(Incoming* i) noexcept nogil:
    cdef Partial* p
    cdef Partial* following
    cdef int n
    if i.partials != NULL:
        for n in range(PARTIAL_BUCKETS):
            p = i.partials[n]
            while p != NULL:
                following = p.next
                partial_free(p)
                p = following
        free(i.partials)
        i.partials = NULL
    free(i.bitmap)
    i.bitmap = NULL
    inbox_clear(&i.inbox)
