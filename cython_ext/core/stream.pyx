"""Streams: reassembly, flow control of one stream, and the table (docs/protocol.md 5.3 and 5.4)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.byte_ring cimport ring_clear, ring_read, ring_reserve, ring_write
from cython_ext.core.ranges cimport ranges_add, ranges_clear, ranges_remove_below
from cython_ext.core.send_buffer cimport buffer_clear, buffer_rest
from cython_ext.core.state cimport (
    DATA_ACKED, DATA_READ, NO_RECEIVE, NO_SEND, READ_ALL, RECEIVE_ALL, RECEIVE_FIN,
    RECEIVE_RESET_STREAM, RECEIVING, RESET_ACKED, RESET_READ, RESET_RECEIVED, RESET_SENT, SIZE_KNOWN,
    advance_receive,
)

cdef enum:
    FIRST_BUCKETS = 8


cdef inline uint32_t bucket(const StreamTable* table, uint64_t id) noexcept nogil:
    # Ids of one kind are consecutive; the kind is in the two low bits.
    return <uint32_t> ((id ^ (id >> 2)) & (table.bucket_count - 1))


cdef Stream* table_find(const StreamTable* table, uint64_t id) noexcept nogil:
    cdef Stream* s
    if table.buckets == NULL:
        return NULL
    s = table.buckets[bucket(table, id)]
    while s != NULL and s.id != id:
        s = s.hash_next
    return s


cdef bint table_grow(StreamTable* table) noexcept nogil:
    cdef StreamTable grown
    cdef uint32_t n, at
    cdef Stream* s
    cdef Stream* following
    grown.bucket_count = table.bucket_count * 2 if table.bucket_count else FIRST_BUCKETS
    grown.buckets = <Stream**> calloc(grown.bucket_count, sizeof(Stream*))
    grown.count = table.count
    if grown.buckets == NULL:
        return False
    for n in range(table.bucket_count):
        s = table.buckets[n]
        while s != NULL:
            following = s.hash_next
            at = bucket(&grown, s.id)
            s.hash_next = grown.buckets[at]
            grown.buckets[at] = s
            s = following
    free(table.buckets)
    table[0] = grown
    return True


cdef Stream* table_add(StreamTable* table, uint64_t id) noexcept nogil:
    """Add an empty stream; NULL when memory ran out. Its states and limits are the caller's to set."""
    cdef Stream* s
    cdef uint32_t at
    if table.count >= table.bucket_count and not table_grow(table):
        return NULL
    s = <Stream*> calloc(1, sizeof(Stream))
    if s == NULL:
        return NULL
    s.id = id
    s.final_size = NO_FINAL_SIZE
    s.islands.limit = MAX_GAPS
    at = bucket(table, id)
    s.hash_next = table.buckets[at]
    table.buckets[at] = s
    table.count += 1
    return s


cdef void stream_free(Stream* s) noexcept nogil:
    buffer_clear(&s.out)
    ring_clear(&s.ring)
    ranges_clear(&s.islands)
    free(s)


cdef void table_remove(StreamTable* table, Stream* stream) noexcept nogil:
    """Take *stream* out and free it; it must be in no queue."""
    cdef uint32_t at = bucket(table, stream.id)
    cdef Stream** link = &table.buckets[at]
    while link[0] != stream:
        link = &link[0].hash_next
    link[0] = stream.hash_next
    table.count -= 1
    stream_free(stream)


cdef void table_rest(StreamTable* table) noexcept nogil:
    """Give back the room of streams that nothing is in."""
    cdef uint32_t n
    cdef Stream* s
    for n in range(table.bucket_count):
        s = table.buckets[n]
        while s != NULL:
            buffer_rest(&s.out)
            if s.read == s.highest and s.islands.count == 0:
                ring_clear(&s.ring)
                ranges_clear(&s.islands)
            s = s.hash_next
    if table.count == 0:
        free(table.buckets)
        table.buckets = NULL
        table.bucket_count = 0


cdef void table_clear(StreamTable* table) noexcept nogil:
    cdef uint32_t n
    cdef Stream* s
    cdef Stream* following
    for n in range(table.bucket_count):
        s = table.buckets[n]
        while s != NULL:
            following = s.hash_next
            stream_free(s)
            s = following
    free(table.buckets)
    table.buckets = NULL
    table.bucket_count = table.count = 0


cdef TransportError stream_receive(Stream* s, uint64_t offset, const uint8_t* data, uint64_t length, bint fin,
                                   uint64_t* grown) noexcept nogil:
    """Take in data of a STREAM frame; *grown* is by how much the highest offset rose."""
    cdef uint64_t end = offset + length
    grown[0] = 0
    #= 5.3: An endpoint MUST close with FINAL_SIZE when the end of a stream changes or data lies beyond it.
    if s.final_size != NO_FINAL_SIZE:
        if end > s.final_size or (fin and end != s.final_size):
            return FINAL_SIZE
    elif fin and s.highest > end:
        return FINAL_SIZE
    #= 5.4: An endpoint MUST close with FLOW_CONTROL when the peer exceeds a limit.
    if end > s.receive_limit:
        return FLOW_CONTROL
    if s.receive_state != RECEIVING and s.receive_state != SIZE_KNOWN:
        return NO_ERROR
    if s.stopped:
        s.contiguous = s.contiguous if s.contiguous > end else end
    elif end > s.contiguous:
        if offset < s.contiguous:
            data += s.contiguous - offset
            offset = s.contiguous
        if not ring_reserve(&s.ring, s.read, s.highest if s.highest > s.contiguous else s.contiguous, end):
            return INTERNAL
        ring_write(&s.ring, offset, data, end - offset)
        if offset == s.contiguous:
            s.contiguous = end
            if s.islands.count and s.islands.items[0].low <= end:
                ranges_remove_below(&s.islands, end)
                if s.islands.count and s.islands.items[0].low == end:
                    s.contiguous = s.islands.items[0].high
                    ranges_remove_below(&s.islands, s.contiguous)
            s.events |= STREAM_READABLE
        elif not ranges_add(&s.islands, offset, end):
            return TOO_MANY_GAPS
    if end > s.highest:
        grown[0] = end - s.highest
        s.highest = end
    if fin and s.final_size == NO_FINAL_SIZE:
        s.final_size = end
        advance_receive(&s.receive_state, RECEIVE_FIN)
    if s.final_size != NO_FINAL_SIZE and s.contiguous >= s.final_size:
        if advance_receive(&s.receive_state, RECEIVE_ALL):
            s.events |= STREAM_READABLE
            if s.stopped:
                s.read = s.final_size
                advance_receive(&s.receive_state, READ_ALL)
    return NO_ERROR


cdef TransportError stream_receive_reset(Stream* s, uint64_t code, uint64_t final_size, uint64_t* grown) noexcept nogil:
    """Take in RESET_STREAM; buffered data that was not read is given up, as in RFC 9000 section 3.2."""
    grown[0] = 0
    if final_size < s.highest or (s.final_size != NO_FINAL_SIZE and final_size != s.final_size):
        return FINAL_SIZE
    if final_size > s.receive_limit:
        return FLOW_CONTROL
    grown[0] = final_size - s.highest
    s.highest = final_size
    s.final_size = final_size
    if advance_receive(&s.receive_state, RECEIVE_RESET_STREAM):
        s.receive_error = code
        s.events |= STREAM_WAS_RESET
        ring_clear(&s.ring)
        ranges_clear(&s.islands)
    return NO_ERROR


cdef uint64_t stream_readable(const Stream* s) noexcept nogil:
    if s.receive_state == RESET_RECEIVED or s.receive_state == RESET_READ or s.stopped:
        return 0
    return s.contiguous - s.read


cdef void stream_consume(Stream* s, uint8_t* out, uint64_t length) noexcept nogil:
    """Move the next *length* readable bytes to *out*."""
    ring_read(&s.ring, s.read, out, length)
    s.read += length
    if s.read == s.final_size:
        advance_receive(&s.receive_state, READ_ALL)


cdef bint stream_ended(const Stream* s) noexcept nogil:
    """Tell whether both halves are over, so that the stream may be forgotten."""
    return ((s.send_state == NO_SEND or s.send_state == DATA_ACKED or s.send_state == RESET_ACKED)
            and (s.receive_state == NO_RECEIVE or s.receive_state == DATA_READ or s.receive_state == RESET_READ))


cdef uint64_t stream_data_end(const Stream* s) noexcept nogil:
    """Return the offset behind the last byte written, without the place of FIN."""
    return s.out.end - 1 if s.finished else s.out.end


cdef uint64_t stream_sendable(const Stream* s, uint64_t connection_credit) noexcept nogil:
    """Return up to which position of `out` new content may leave."""
    #= 5.4: A sender MUST NOT send stream data beyond either limit.
    cdef uint64_t data_end = stream_data_end(s)
    cdef uint64_t data_sent = s.out.sent if s.out.sent < data_end else data_end
    cdef uint64_t limit = s.send_limit
    if limit - data_sent > connection_credit:
        limit = data_sent + connection_credit
    if limit >= data_end:
        return s.out.end
    return limit


cdef bint stream_has_work(const Stream* s, uint64_t connection_credit) noexcept nogil:
    """Tell whether there is something that a STREAM frame could carry now."""
    if s.send_state == NO_SEND or s.send_state == RESET_SENT or s.send_state == RESET_ACKED:
        return False
    return s.out.lost.count > 0 or s.out.sent < stream_sendable(s, connection_credit)
