"""Lanes of messages, and giving messages up."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc

from cython_ext.core.byte_ring cimport ring_move_down
from cython_ext.core.inbox cimport inbox_clear, inbox_pop, inbox_push, inbox_rest
from cython_ext.core.messages cimport ID_DISTANCE
from cython_ext.core.ranges cimport (
    Range, ranges_add, ranges_clear, ranges_contain, ranges_find, ranges_remove,
)
from cython_ext.core.send_buffer cimport (
    buffer_append, buffer_clear, buffer_on_acked, buffer_on_lost, buffer_on_sent, buffer_rest,
)

cdef enum:
    FIRST_ENTRIES = 16
    # Given-up messages are cleared out of the middle of a lane when they are more than what lives there,
    # and more than this: the cost is then at most one copied byte for each that was given up.
    CLEAR_OUT_BYTES = 65536


cdef MessageOut* lane_entry(const Lane* lane, uint64_t seq) noexcept nogil:
    return &lane.entries[seq & (lane.capacity - 1)]


cdef inline uint64_t end_of(const MessageOut* m) noexcept nogil:
    return m.start + m.length + 1


# -- deadlines -------------------------------------------------------------------------------------

cdef void due_down(Lane* lane, uint64_t at) noexcept nogil:
    cdef Due moving = lane.dues[at]
    cdef uint64_t child
    while True:
        child = 2 * at + 1
        if child >= lane.due_count:
            break
        if child + 1 < lane.due_count and lane.dues[child + 1].deadline_ns < lane.dues[child].deadline_ns:
            child += 1
        if moving.deadline_ns <= lane.dues[child].deadline_ns:
            break
        lane.dues[at] = lane.dues[child]
        at = child
    lane.dues[at] = moving


cdef void dues_rebuild(Lane* lane) noexcept nogil:
    """Keep the deadlines of messages that live; there is room for all of them."""
    cdef uint64_t seq, n
    cdef MessageOut* m
    lane.due_count = 0
    for seq in range(lane.first, lane.next):
        m = lane_entry(lane, seq)
        if m.deadline_ns and not m.flags:
            lane.dues[lane.due_count].deadline_ns = m.deadline_ns
            lane.dues[lane.due_count].seq = seq
            lane.due_count += 1
    for n in range(lane.due_count // 2, 0, -1):
        due_down(lane, n - 1)


cdef bint due_push(Lane* lane, int64_t deadline_ns, uint64_t seq) noexcept nogil:
    cdef uint64_t at, parent, capacity
    cdef Due* grown
    if lane.due_count == lane.due_capacity:
        # Most of a full heap may be messages that were acknowledged long before their deadline.
        if lane.due_count > 2 * (lane.next - lane.first):
            dues_rebuild(lane)
        else:
            capacity = lane.due_capacity * 2 if lane.due_capacity else FIRST_ENTRIES
            grown = <Due*> realloc(lane.dues, capacity * sizeof(Due))
            if grown == NULL:
                return False
            lane.dues = grown
            lane.due_capacity = capacity
    at = lane.due_count
    lane.due_count += 1
    while at > 0:
        parent = (at - 1) // 2
        if lane.dues[parent].deadline_ns <= deadline_ns:
            break
        lane.dues[at] = lane.dues[parent]
        at = parent
    lane.dues[at].deadline_ns = deadline_ns
    lane.dues[at].seq = seq
    return True


cdef Due due_pop(Lane* lane) noexcept nogil:
    cdef Due top = lane.dues[0]
    lane.due_count -= 1
    if lane.due_count:
        lane.dues[0] = lane.dues[lane.due_count]
        due_down(lane, 0)
    return top


# -- adding ----------------------------------------------------------------------------------------

cdef bint grow_entries(Lane* lane) noexcept nogil:
    cdef uint64_t capacity = lane.capacity * 2 if lane.capacity else FIRST_ENTRIES, n
    cdef MessageOut* grown = <MessageOut*> malloc(capacity * sizeof(MessageOut))
    if grown == NULL:
        return False
    for n in range(lane.first, lane.next):
        grown[n & (capacity - 1)] = lane_entry(lane, n)[0]
    free(lane.entries)
    lane.entries = grown
    lane.capacity = capacity
    return True


cdef bint outgoing_add(Outgoing* o, uint32_t priority, const uint8_t* data, uint64_t length, int64_t deadline_ns) noexcept nogil:
    """Queue a message; False, and nothing queued, when memory ran out."""
    cdef Lane* lane = o.lanes[priority]
    cdef MessageOut* entry
    cdef uint8_t end = 0
    if lane == NULL:
        lane = <Lane*> calloc(1, sizeof(Lane))
        if lane == NULL:
            return False
        o.lanes[priority] = lane
    if lane.next - lane.first >= lane.capacity and not grow_entries(lane):
        return False
    entry = lane_entry(lane, lane.next)
    entry.start = lane.buffer.end
    entry.deadline_ns = deadline_ns
    entry.length = <uint32_t> length
    entry.flags = 0
    if length and not buffer_append(&lane.buffer, data, length):
        return False
    if not buffer_append(&lane.buffer, &end, 1) or (deadline_ns and not due_push(lane, deadline_ns, lane.next)):
        lane.buffer.end = entry.start
        return False
    lane.next += 1
    if deadline_ns and (o.expiry_ns == 0 or deadline_ns < o.expiry_ns):
        o.expiry_ns = deadline_ns
    return True


cdef uint64_t outgoing_waiting(const Outgoing* o) noexcept nogil:
    """Return how many bytes of messages are neither acknowledged nor given up."""
    cdef uint64_t waiting = 0
    cdef int n
    cdef const Lane* lane
    for n in range(LANES):
        lane = o.lanes[n]
        if lane != NULL:
            waiting += lane.buffer.end - lane.buffer.base - lane.dead_bytes
    return waiting


# -- sending ---------------------------------------------------------------------------------------

cdef uint64_t lane_find(const Lane* lane, uint64_t position) noexcept nogil:
    """Return which message *position* lies in; it is one of [first, next)."""
    cdef uint64_t low = lane.first, high = lane.next - 1, middle
    while low < high:
        middle = (low + high + 1) // 2
        if lane_entry(lane, middle).start <= position:
            low = middle
        else:
            high = middle - 1
    return low


cdef bint lane_has(const Lane* lane, uint64_t low, uint64_t high) noexcept nogil:
    """Tell whether all of [low, high) was acknowledged or given up."""
    cdef unsigned int at
    if high <= lane.buffer.base:
        return True
    if low < lane.buffer.base:
        low = lane.buffer.base
    at = ranges_find(&lane.buffer.acked, low)
    return at < lane.buffer.acked.count and lane.buffer.acked.items[at].low <= low and lane.buffer.acked.items[at].high >= high


cdef uint64_t outgoing_lowest(const Outgoing* o) noexcept nogil:
    """Return the lowest id that the peer may still miss."""
    cdef uint64_t lowest = o.next_id, id
    cdef int n
    cdef const Lane* lane
    for n in range(LANES):
        lane = o.lanes[n]
        if lane != NULL and lane.first < lane.started:
            id = lane_entry(lane, lane.first).id
            if id < lowest:
                lowest = id
    if o.unclosed.count and o.unclosed.items[0].low < lowest:
        lowest = o.unclosed.items[0].low
    return lowest


cdef void outgoing_start(Outgoing* o, Lane* lane, MessageOut* m) noexcept nogil:
    """Note that the first byte of *m*, the lane's next message, leaves now."""
    m.id = o.next_id
    o.next_id += 1
    o.used += m.length + 1
    lane.started += 1


cdef inline uint64_t sent_end(const Lane* lane) noexcept nogil:
    if lane.started <= lane.first:
        return lane.buffer.sent
    return end_of(lane_entry(lane, lane.started - 1))


cdef bint outgoing_has_work(const Outgoing* o) noexcept nogil:
    """Tell whether a frame may be sent. A message that was begun is finished; a new one needs leave."""
    cdef int n
    cdef const Lane* lane
    cdef bint may_start = True
    cdef MessageOut* m
    if o.notices.count:
        return True
    for n in range(LANES):
        lane = o.lanes[n]
        if lane == NULL:
            continue
        if lane.buffer.lost.count or lane.buffer.sent < sent_end(lane):
            return True
        if may_start and lane.started < lane.next:
            m = lane_entry(lane, lane.started)
            may_start = o.used + m.length + 1 <= o.credit and o.next_id - outgoing_lowest(o) < ID_DISTANCE
            if may_start:
                return True
    return False


# -- what became of it -------------------------------------------------------------------------------

cdef void advance(Lane* lane) noexcept nogil:
    cdef MessageOut* m
    while lane.first < lane.next:
        m = lane_entry(lane, lane.first)
        if end_of(m) > lane.buffer.base:
            break
        if m.flags == MESSAGE_LATE:
            lane.late -= 1
        lane.first += 1


cdef bint outgoing_on_acked(Outgoing* o, uint64_t priority, uint64_t low, uint64_t high) noexcept nogil:
    """Note that [low, high) of a lane arrived; True when room came free."""
    cdef Lane* lane = o.lanes[priority]
    if not buffer_on_acked(&lane.buffer, low, high):
        return False
    advance(lane)
    return True


cdef uint64_t outgoing_on_lost(Outgoing* o, uint64_t priority, uint64_t low, uint64_t high) noexcept nogil:
    """Queue what is missing of [low, high), but for messages past their deadline; return how many bytes."""
    cdef Lane* lane = o.lanes[priority]
    cdef uint64_t seq, queued = 0, stop
    cdef MessageOut* m
    if low < lane.buffer.base:
        low = lane.buffer.base
    if low >= high:
        return 0
    if lane.late == 0:
        return high - low if buffer_on_lost(&lane.buffer, low, high) else 0
    seq = lane_find(lane, low)
    while low < high:
        m = lane_entry(lane, seq)
        stop = end_of(m) if end_of(m) < high else high
        if m.flags == MESSAGE_LATE and not lane_has(lane, low, stop):
            give_up_started(o, lane, m)
        elif buffer_on_lost(&lane.buffer, low, stop):
            queued += stop - low
        low = stop
        seq += 1
    advance(lane)
    return queued


cdef void give_up_started(Outgoing* o, Lane* lane, MessageOut* m) noexcept nogil:
    """Send no more of a message that the peer has, or may have, a part of; it is told.

    Without memory for that the message is not given up: it is sent although it is late.
    """
    cdef uint64_t[2] notice
    notice[0] = m.id
    notice[1] = m.length
    if not ranges_add(&o.unclosed, m.id, m.id + 1):
        return
    if not inbox_push(&o.notices, <const uint8_t*> notice, sizeof(notice)):
        ranges_remove(&o.unclosed, m.id, m.id + 1)
        return
    if m.flags == MESSAGE_LATE:
        lane.late -= 1
    m.flags = MESSAGE_GIVEN_UP
    o.expired += 1
    buffer_on_sent(&lane.buffer, m.start, end_of(m))
    buffer_on_acked(&lane.buffer, m.start, end_of(m))


cdef void lane_skip_dead(Lane* lane) noexcept nogil:
    """Pass over the messages given up that are next in the lane."""
    cdef MessageOut* m
    while lane.started < lane.next:
        m = lane_entry(lane, lane.started)
        if m.flags != MESSAGE_GIVEN_UP or m.start != lane.buffer.sent:
            break
        lane.dead_bytes -= m.length + 1
        lane.buffer.sent = end_of(m)
        lane.started += 1
        buffer_on_acked(&lane.buffer, m.start, end_of(m))
    advance(lane)


cdef void clear_out(Lane* lane) noexcept nogil:
    """Take messages that were given up out of the part of the lane that nobody has seen."""
    cdef uint64_t seq, kept = lane.started, end
    cdef MessageOut m
    if kept == lane.next:
        return
    end = lane_entry(lane, kept).start
    for seq in range(lane.started, lane.next):
        m = lane_entry(lane, seq)[0]
        if m.flags == MESSAGE_GIVEN_UP:
            continue
        ring_move_down(&lane.buffer.ring, m.start, end, m.length + 1)
        m.start = end
        end += m.length + 1
        lane_entry(lane, kept)[0] = m
        kept += 1
    lane.buffer.end = end
    lane.next = kept
    lane.dead_bytes = 0
    dues_rebuild(lane)


cdef bint any_lost(const Lane* lane, const MessageOut* m) noexcept nogil:
    cdef unsigned int at = ranges_find(&lane.buffer.lost, m.start)
    cdef const Range* lost
    if at >= lane.buffer.lost.count:
        return False
    lost = &lane.buffer.lost.items[at]
    return lost.low < end_of(m)


cdef bint outgoing_expire(Outgoing* o, int64_t now_ns) noexcept nogil:
    """Give up what is past its deadline; True when that made room.

    A message that is wholly in flight is only marked: it counts as given up when it proves to be lost.
    """
    cdef int n
    cdef Lane* lane
    cdef Due due
    cdef MessageOut* m
    cdef uint64_t before = o.expired
    o.expiry_ns = 0
    for n in range(LANES):
        lane = o.lanes[n]
        if lane == NULL:
            continue
        while lane.due_count and lane.dues[0].deadline_ns <= now_ns:
            due = due_pop(lane)
            if due.seq < lane.first:
                continue
            m = lane_entry(lane, due.seq)
            if due.seq >= lane.started:
                m.flags = MESSAGE_GIVEN_UP
                lane.dead_bytes += m.length + 1
                o.expired += 1
            elif lane_has(lane, m.start, end_of(m)):
                continue
            elif end_of(m) > lane.buffer.sent or any_lost(lane, m):
                give_up_started(o, lane, m)
            else:
                m.flags = MESSAGE_LATE
                lane.late += 1
        lane_skip_dead(lane)
        if lane.dead_bytes > CLEAR_OUT_BYTES and lane.dead_bytes > (lane.buffer.end - lane.buffer.sent) // 2:
            clear_out(lane)
        if lane.due_count and (o.expiry_ns == 0 or lane.dues[0].deadline_ns < o.expiry_ns):
            o.expiry_ns = lane.dues[0].deadline_ns
    return o.expired != before


# -- telling the peer --------------------------------------------------------------------------------

cdef bint outgoing_next_notice(Outgoing* o, uint64_t* id, uint64_t* size) noexcept nogil:
    """Take the next MESSAGE_EXPIRED that is owed; False when there is none."""
    cdef uint64_t[2] notice
    while o.notices.count:
        inbox_pop(&o.notices, <uint8_t*> notice)
        if ranges_contain(&o.unclosed, notice[0]):
            id[0] = notice[0]
            size[0] = notice[1]
            return True
    return False


cdef void outgoing_notice_done(Outgoing* o, uint64_t id, uint64_t size, bint acked) noexcept nogil:
    """Note what became of a MESSAGE_EXPIRED."""
    cdef uint64_t[2] notice
    if acked:
        ranges_remove(&o.unclosed, id, id + 1)
    elif ranges_contain(&o.unclosed, id):
        notice[0] = id
        notice[1] = size
        inbox_push(&o.notices, <const uint8_t*> notice, sizeof(notice))


cdef void outgoing_rest(Outgoing* o) noexcept nogil:
    """Give back the room of lanes that nothing is in."""
    cdef Lane* lane
    cdef int n
    for n in range(LANES):
        lane = o.lanes[n]
        if lane != NULL and lane.first == lane.next and lane.buffer.base == lane.buffer.end:
            buffer_rest(&lane.buffer)
            free(lane.entries)
            free(lane.dues)
            lane.entries = NULL
            lane.dues = NULL
            lane.capacity = lane.due_count = lane.due_capacity = 0
    inbox_rest(&o.notices)


cdef void outgoing_clear(Outgoing* o) noexcept nogil:
    cdef int n
    for n in range(LANES):
        if o.lanes[n] != NULL:
            buffer_clear(&o.lanes[n].buffer)
            free(o.lanes[n].entries)
            free(o.lanes[n].dues)
            free(o.lanes[n])
            o.lanes[n] = NULL
    inbox_clear(&o.notices)
    ranges_clear(&o.unclosed)
