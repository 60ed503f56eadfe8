"""Write messages into the packet being built: lane by lane, the most urgent first, and copies of young ones.

A run of messages of one lane is one ledger entry. A copy has an entry of a kind of its own: its
acknowledgement counts, and its loss means nothing.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.build cimport MAX_FRAMES, MIN_ROOM, enter, room
from cython_ext.core.byte_ring cimport ring_read
from cython_ext.core.copies cimport (
    COPY, COPY_BYTES, Copies, Young, copies_is_useful, copies_note_copy, copies_note_message,
    copies_young,
)
from cython_ext.core.messages cimport ID_DISTANCE
from cython_ext.core.outgoing cimport (
    LANES, MESSAGE_GIVEN_UP, Lane, MessageOut, Outgoing, lane_entry, lane_find, lane_has, lane_skip_dead,
    outgoing_lowest, outgoing_next_notice, outgoing_start,
)
from cython_ext.core.send_buffer cimport buffer_next, buffer_on_sent
from cython_ext.wire.cursor cimport varint_size, write_u8, write_varint, writer_left
from cython_ext.wire.frames cimport FRAME_MESSAGE, FRAME_MESSAGE_EXPIRED, FRAME_MESSAGE_PART


cdef void add_messages(Conn* c, Build* b, uint32_t full, int64_t now_ns) noexcept nogil:
    """Write what the lanes hold, as far as it fits."""
    cdef Outgoing* o = &c.messages_out
    cdef uint64_t id = 0, size = 0, end_id
    cdef bint may_start = True
    cdef uint8_t n
    while o.notices.count and room(b) and outgoing_next_notice(o, &id, &size):
        write_u8(&b.w, FRAME_MESSAGE_EXPIRED)
        write_varint(&b.w, id)
        write_varint(&b.w, size)
        enter(c, b, FRAME_MESSAGE_EXPIRED, id, size, 0)
        b.has_messages = True
    end_id = outgoing_lowest(o) + ID_DISTANCE
    for n in range(LANES):
        if o.lanes[n] != NULL:
            may_start = add_lane(c, b, o.lanes[n], n, full, end_id, may_start, now_ns)


cdef bint add_lane(Conn* c, Build* b, Lane* lane, uint8_t n, uint32_t full, uint64_t end_id, bint may_start,
                   int64_t now_ns) noexcept nogil:
    """Write whole messages, and parts of those that do not fit into a packet.

    Returns whether a lane below may begin a message: one that waits for credit is not overtaken.
    """
    cdef Outgoing* o = &c.messages_out
    cdef uint64_t low = 0, high = 0, seq = 0, id, take, run_low = 0, run_high = 0
    cdef MessageOut* m
    cdef size_t head
    cdef bint resend, fresh
    # One entry stays for the run that is still open at the end.
    while b.frames < MAX_FRAMES - 1 and buffer_next(&lane.buffer, lane.buffer.end, &low, &high):
        resend = low < lane.buffer.sent
        # New messages come in order, so the search is for what was lost.
        if resend or seq == 0 or lane_entry(lane, seq).start != low:
            seq = lane_find(lane, low)
        m = lane_entry(lane, seq)
        fresh = seq >= lane.started
        if fresh:
            if m.flags == MESSAGE_GIVEN_UP:
                lane_skip_dead(lane)
                seq = 0
                continue
            if not may_start or o.used + m.length + 1 > o.credit or o.next_id >= end_id:
                may_start = False
                break
        id = o.next_id if fresh else m.id
        if high > m.start + m.length + 1:
            high = m.start + m.length + 1
        head = 1 + varint_size(id) + varint_size(m.length)
        if low == m.start and high == m.start + m.length + 1 and head + m.length <= writer_left(&b.w):
            write_u8(&b.w, FRAME_MESSAGE)
            write_varint(&b.w, id)
            write_varint(&b.w, m.length)
            ring_read(&lane.buffer.ring, low, b.w.at, m.length)
            b.w.at += m.length
            if fresh and c.copies != NULL:
                copies_note_message(c.copies, n, seq, m.length, m.deadline_ns, now_ns)
        else:
            if low == m.start and high == m.start + m.length + 1 and head + m.length <= full:
                # It fits into the next packet whole: rather that than two parts.
                break
            head = 1 + varint_size(id) + varint_size(m.length) + varint_size(low - m.start) + 4
            if writer_left(&b.w) < head + 64 and writer_left(&b.w) < head + (high - low):
                break
            take = m.start + m.length - low
            if take > high - low:
                take = high - low
            if take > writer_left(&b.w) - head:
                take = writer_left(&b.w) - head
            write_u8(&b.w, FRAME_MESSAGE_PART)
            write_varint(&b.w, id)
            write_varint(&b.w, m.length)
            write_varint(&b.w, low - m.start)
            write_varint(&b.w, take)
            ring_read(&lane.buffer.ring, low, b.w.at, take)
            b.w.at += take
            high = low + take
            if high == m.start + m.length:
                high += 1
        if fresh:
            outgoing_start(o, lane, m)
            c.stats.messages_sent += 1
        buffer_on_sent(&lane.buffer, low, high)
        if run_high == low and run_high:
            run_high = high
        else:
            if run_high:
                enter(c, b, FRAME_MESSAGE, n, run_low, run_high)
            run_low = low
            run_high = high
        seq += 1
        if seq >= lane.next:
            seq = 0
    if run_high:
        enter(c, b, FRAME_MESSAGE, n, run_low, run_high)
        b.has_messages = True
    return may_start


cdef void add_copies(Conn* c, Build* b, int64_t now_ns) noexcept nogil:
    """Repeat young messages that are not acknowledged, the newest first, in the room that is left."""
    #= 5.8: A sender may repeat a MESSAGE, MESSAGE_EXPIRED or STREAM frame that it sent before in any later packet, whether the earlier one was lost or not: receivers ignore what they have.
    cdef Copies* copies = c.copies
    cdef uint32_t n, written = 0
    cdef Young* y
    cdef Lane* lane
    cdef MessageOut* m
    cdef size_t bytes
    for n in range(copies.count):
        y = copies_young(copies, n)
        if not copies_is_useful(copies, y, now_ns):
            continue
        lane = c.messages_out.lanes[y.lane]
        if y.seq < lane.first:
            continue
        m = lane_entry(lane, y.seq)
        if m.flags == MESSAGE_GIVEN_UP or lane_has(lane, m.start, m.start + m.length + 1):
            continue
        bytes = 1 + varint_size(m.id) + varint_size(m.length) + m.length
        if written + bytes > COPY_BYTES or b.frames >= MAX_FRAMES or writer_left(&b.w) < bytes + MIN_ROOM:
            continue
        write_u8(&b.w, FRAME_MESSAGE)
        write_varint(&b.w, m.id)
        write_varint(&b.w, m.length)
        ring_read(&lane.buffer.ring, m.start, b.w.at, m.length)
        b.w.at += m.length
        enter(c, b, COPY, y.lane, m.start, m.start + m.length + 1)
        b.has_messages = True
        written += <uint32_t> bytes
        copies_note_copy(copies, y, bytes, now_ns)
