"""Queues of messages, out and in."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from cython_ext.core.inbox cimport inbox_clear, inbox_push
from cython_ext.core.ranges cimport ranges_add, ranges_clear
from cython_ext.core.send_buffer cimport buffer_append, buffer_clear, buffer_on_acked
from cython_ext.core.stream cimport INTERNAL, MAX_GAPS, MESSAGE_LIMIT, NO_ERROR, TOO_MANY_GAPS

cdef enum:
    FIRST_ENTRIES = 16
    FIRST_PART_BYTES = 4096


cdef MessageOut* outgoing_entry(const Outgoing* o, uint64_t id) noexcept nogil:
    return &o.entries[id & (o.capacity - 1)]


cdef bint outgoing_add(Outgoing* o, const uint8_t* data, uint64_t length) noexcept nogil:
    """Queue a message; False, and nothing queued, when memory ran out."""
    cdef uint64_t capacity, n
    cdef MessageOut* grown
    cdef MessageOut* entry
    cdef uint8_t end = 0
    if o.next_id - o.first_id >= o.capacity:
        capacity = o.capacity * 2 if o.capacity else FIRST_ENTRIES
        grown = <MessageOut*> malloc(capacity * sizeof(MessageOut))
        if grown == NULL:
            return False
        for n in range(o.first_id, o.next_id):
            grown[n & (capacity - 1)] = outgoing_entry(o, n)[0]
        free(o.entries)
        o.entries = grown
        o.capacity = capacity
    entry = outgoing_entry(o, o.next_id)
    entry.start = o.buffer.end
    entry.length = length
    if length and not buffer_append(&o.buffer, data, length):
        return False
    if not buffer_append(&o.buffer, &end, 1):
        o.buffer.end -= length
        return False
    o.next_id += 1
    return True


cdef uint64_t outgoing_find(const Outgoing* o, uint64_t position) noexcept nogil:
    """Return the id of the message that *position* lies in; it is one of [first_id, next_id)."""
    cdef uint64_t low = o.first_id, high = o.next_id - 1, middle
    while low < high:
        middle = (low + high + 1) // 2
        if outgoing_entry(o, middle).start <= position:
            low = middle
        else:
            high = middle - 1
    return low


cdef bint outgoing_on_acked(Outgoing* o, uint64_t low, uint64_t high) noexcept nogil:
    """Note that [low, high) arrived; True when room came free."""
    cdef MessageOut* entry
    if not buffer_on_acked(&o.buffer, low, high):
        return False
    while o.first_id < o.next_id:
        entry = outgoing_entry(o, o.first_id)
        if entry.start + entry.length + 1 > o.buffer.base:
            break
        o.first_id += 1
    return True


cdef bint outgoing_may_start(const Outgoing* o, uint64_t id) noexcept nogil:
    """Tell whether credit and distance allow a first byte of message *id*."""
    cdef MessageOut* entry = outgoing_entry(o, id)
    return entry.start + entry.length + 1 <= o.credit and id - o.first_id < ID_DISTANCE


cdef bint outgoing_has_work(const Outgoing* o) noexcept nogil:
    if o.buffer.lost.count:
        return True
    if o.buffer.sent >= o.buffer.end:
        return False
    # A message that was begun is finished; a new one needs leave.
    return o.started_id > 0 and o.buffer.sent < outgoing_sent_end(o) or (
        o.started_id < o.next_id and outgoing_may_start(o, o.started_id))


cdef inline uint64_t outgoing_sent_end(const Outgoing* o) noexcept nogil:
    cdef MessageOut* entry
    if o.started_id <= o.first_id:
        return o.buffer.sent
    entry = outgoing_entry(o, o.started_id - 1)
    return entry.start + entry.length + 1


cdef void outgoing_clear(Outgoing* o) noexcept nogil:
    buffer_clear(&o.buffer)
    free(o.entries)
    o.entries = NULL
    o.capacity = 0


# -- receiving -------------------------------------------------------------------------------------

cdef inline bint is_delivered(const Incoming* i, uint64_t id) noexcept nogil:
    if id < i.base:
        return True
    # Ids beyond the window have the places of others in the ring.
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
