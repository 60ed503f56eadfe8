"""Open a protected packet and do what its frames say (docs/protocol.md sections 4.6 and 5).

Dispatch only: every sum and set lives in the module it belongs to. Nothing here raises or takes the GIL.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cython_ext.core.conn cimport (
    EVENT_ALL_ACKED, EVENT_DATAGRAMS, EVENT_MESSAGES, EVENT_STREAMS_ALLOWED, OWES_CLOSE,
    PEER_CLOSE, PEER_ERROR, conn_all_acked, conn_credit_consumed, conn_credit_messages, conn_enter_draining, conn_fail,
    conn_open_stream, conn_touch_idle, connection_credit, stream_forget_if_ended, stream_notify,
    stream_owes, stream_wants_to_send,
)
from cython_ext.core.copies cimport copies_spend
from cython_ext.core.inbox cimport inbox_pop, inbox_push
from cython_ext.core.messages cimport incoming_expired, incoming_misses, incoming_part, incoming_whole
from cython_ext.core.ranges cimport (
    REPLAY_FRESH, REPLAY_OLD, REPLAY_SEEN, ranges_add, ranges_contain, ranges_drop_lowest,
    ranges_remove, replay_check, replay_commit,
)
from cython_ext.core.recovery cimport (
    recovery_ack_begin, recovery_ack_counts, recovery_ack_end, recovery_ack_largest, recovery_ack_range,
    recovery_recovered_range,
)
from cython_ext.core.repair_in cimport (
    repair_in_add, repair_in_again, repair_in_arrived, repair_in_keep, repair_in_new, repair_in_take,
)
from cython_ext.core.rtt cimport rtt_probe_timeout_ns
from cython_ext.core.state cimport (
    CLOSED, CLOSING, DRAINING,     READ_RESET, RECEIVE_DONE, RESET, advance_connection, advance_receive, advance_send,
)
from cython_ext.core.stream cimport (
    AEAD_LIMIT, FRAME_ENCODING, INTERNAL, NO_ERROR, OWES_RESET, PROTOCOL_VIOLATION, Stream,
    STREAM_LIMIT, STREAM_OPENED, STREAM_SERVER, STREAM_STATE, STREAM_UNI, STREAM_WAS_STOPPED,
    TransportError, stream_data_end, stream_has_work, stream_receive, stream_receive_reset, table_find,
)
from cython_ext.crypto.keys cimport NOT_OPENED, keys_exhausted, keys_open
from cython_ext.wire.cursor cimport Reader, read_varint, reader_init, reader_left
from cython_ext.wire.frames cimport (
    FRAME_ACK, FRAME_ACK_RECOVERED_ECN, FRAME_CLOSE, FRAME_CLOSE_APP, FRAME_DATAGRAM, FRAME_DONE,
    FRAME_MAX_DATA, FRAME_MAX_MESSAGE_DATA, FRAME_MAX_STREAM_DATA, FRAME_MAX_STREAMS_BIDI,
    FRAME_MAX_STREAMS_UNI, FRAME_MESSAGE, FRAME_MESSAGE_EXPIRED, FRAME_MESSAGE_PART, FRAME_REPAIR,
    FRAME_RESET_STREAM, FRAME_STOP_SENDING, FRAME_STREAM, STREAM_FIN, Frame, is_ack_eliciting,
    is_repairable, parse_frame,
)
from cython_ext.wire.header cimport (
    ACCEPTED, CLOSED_CONNECTION, DOES_NOT_OPEN, FLAG_ACK, FLAG_FEC, FLAG_URG, FRAME_REFUSED, HEADER_BYTES,
    OUT_OF_WINDOW, REPLAYED, expand_packet_number,
)

cdef enum:
    # docs/protocol.md section 5.1
    EARLY_PACKETS = 256
    EARLY_ACK_PACKETS = 2
    LATER_ACK_PACKETS = 8
    # An endpoint that promised no faster acknowledgement than this spares the sender of messages ACKs.
    PATIENT_ABOVE_NS = 25_000_000
    # The bound on the peer's max_ack_delay_us; a larger delay is nonsense and is cut to it.
    MAX_ACK_DELAY_US = 1 << 24


cdef enum:
    # What a packet holds, for the decision when to acknowledge it.
    ELICITING = 1
    NEWS = 2                    # a message, or a part, that was not here yet
    BEYOND_MESSAGES = 4         # an ack-eliciting frame other than whole messages


cdef Verdict conn_handle_packet(Conn* c, const Header* header, uint8_t* datagram, uint32_t length, uint8_t ecn,
                                int64_t now_ns) noexcept nogil:
    """Process one protected packet in place; its buffer holds plaintext, or garbage, afterwards."""
    cdef uint64_t number
    cdef int fresh
    cdef TransportError error
    cdef uint32_t plain_bytes
    cdef uint8_t* plain = datagram + HEADER_BYTES
    if c.state == DRAINING or c.state == CLOSED:
        return CLOSED_CONNECTION
    number = expand_packet_number(header.sequence, c.expected)
    fresh = replay_check(&c.replay, number)
    if fresh != REPLAY_FRESH and not (fresh == REPLAY_SEEN and c.recovered.count and ranges_contain(&c.recovered, number)):
        return OUT_OF_WINDOW if fresh == REPLAY_OLD else REPLAYED
    #= 4.6: A receiver MUST NOT act on any field of a protected packet before it was opened.
    if keys_open(&c.keys, number, 1 if header.flags & FLAG_URG else 0, datagram, plain, length - HEADER_BYTES, now_ns,
                 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns)) == NOT_OPENED:
        if keys_exhausted(&c.keys):
            conn_fail(c, AEAD_LIMIT, b"too many packets did not open", now_ns)
        return DOES_NOT_OPEN
    if fresh == REPLAY_FRESH:
        replay_commit(&c.replay, number)
    if number >= c.expected:
        c.expected = number + 1
    plain_bytes = length - HEADER_BYTES - 16
    c.stats.packets_received += 1
    c.stats.bytes_received += length
    if c.state == CLOSING:
        return handle_while_closing(c, plain, plain_bytes, now_ns)
    c.eliciting_since_receive = False
    conn_touch_idle(c, now_ns)
    if ecn:
        # 2 = ECT(0), 1 = ECT(1), 3 = CE on the wire
        c.ecn_counts[0 if ecn == 2 else 1 if ecn == 1 else 2] += 1
        c.stats.ecn_ce_received += ecn == 3
    error = check_frames(plain, plain_bytes, header.flags & FLAG_FEC)
    if error != NO_ERROR:
        fail_frames(c, error, now_ns)
        return FRAME_REFUSED
    if fresh == REPLAY_FRESH:
        note_received(c, number, process_frames(c, plain, plain_bytes, number, now_ns), now_ns)
        if c.repair_in != NULL or header.flags & FLAG_FEC:
            keep_for_repair(c, number, plain, plain_bytes, header.flags & FLAG_FEC, now_ns)
    else:
        note_late(c, number, now_ns)
    if header.flags & FLAG_ACK and c.state < CLOSING:
        handle_header_ack(c, header.ack, now_ns)
    if c.wants_flush and conn_all_acked(c):
        c.wants_flush = False
        c.events |= EVENT_ALL_ACKED
    return ACCEPTED


cdef Verdict handle_while_closing(Conn* c, const uint8_t* plain, uint32_t plain_bytes, int64_t now_ns) noexcept nogil:
    #= 6.3: An endpoint MUST NOT process any frame but CLOSE while it is CLOSING or DRAINING.
    cdef Reader r
    cdef Frame f
    # What does not parse is not acted on, and not looked into either.
    reader_init(&r, plain, plain_bytes if check_frames(plain, plain_bytes, False) == NO_ERROR else 0)
    while reader_left(&r) and parse_frame(&r, &f):
        if f.type == FRAME_CLOSE or f.type == FRAME_CLOSE_APP:
            conn_enter_draining(c, PEER_CLOSE, now_ns)
            return ACCEPTED
    c.close_answers += 1
    # Packets 1, 2, 4, 8 ... are answered with CLOSE.
    if c.close_answers & (c.close_answers - 1) == 0:
        c.owes |= OWES_CLOSE
    return ACCEPTED


cdef TransportError check_frames(const uint8_t* plain, uint32_t plain_bytes, bint is_source) noexcept nogil:
    """Tell whether the frames of a packet (*is_source*: with the flag FEC) may be processed."""
    #= 5: A receiver MUST NOT act on any frame of a packet that has a frame which does not parse.
    cdef Reader r
    cdef Frame f
    cdef bint stray = False
    reader_init(&r, plain, plain_bytes)
    while reader_left(&r):
        if not parse_frame(&r, &f):
            return FRAME_ENCODING
        if is_source and not is_repairable(f.type):
            stray = True
    #= 5.7: An endpoint MUST close with PROTOCOL_VIOLATION when a packet with the flag FEC, received or rebuilt, has a frame other than PADDING, STREAM, RESET_STREAM, MESSAGE, MESSAGE_PART, MESSAGE_EXPIRED, DATAGRAM, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS or MAX_MESSAGE_DATA, or a STREAM frame without length.
    return PROTOCOL_VIOLATION if stray else NO_ERROR


cdef void fail_frames(Conn* c, TransportError error, int64_t now_ns) noexcept nogil:
    """Close because of what check_frames found."""
    if error == FRAME_ENCODING:
        conn_fail(c, error, b"a frame does not parse", now_ns)
    else:
        conn_fail(c, error, b"a frame that a source of a repair block may not have", now_ns)


cdef void note_received(Conn* c, uint64_t number, uint32_t content, int64_t now_ns) noexcept nogil:
    """Enter the packet into what we acknowledge, and decide when."""
    cdef bint in_order = not c.received_any or number == c.largest_received + 1
    cdef int64_t delay
    cdef uint32_t every = EARLY_ACK_PACKETS if c.stats.packets_received < EARLY_PACKETS else LATER_ACK_PACKETS
    cdef bint patient
    if not ranges_add(&c.received, number, number + 1):
        ranges_drop_lowest(&c.received)
        ranges_add(&c.received, number, number + 1)
    if not c.received_any or number > c.largest_received:
        c.largest_received = number
        c.largest_received_ns = now_ns
        c.received_any = True
    if not content & ELICITING:
        if c.copies != NULL and c.sending.first == NULL:
            copies_spend(c.copies)
        return
    # Nothing but messages, and none is known to be missing: the sender has nothing to do about what it lost.
    patient = (c.params.max_ack_delay_ns > PATIENT_ABOVE_NS and not content & BEYOND_MESSAGES
               and not incoming_misses(&c.messages_in))
    if not patient or content & NEWS:
        c.unacknowledged += 1
    if patient:
        every = LATER_ACK_PACKETS
        in_order = True
    if not in_order or c.unacknowledged >= every:
        c.ack_now = True
    else:
        delay = c.params.max_ack_delay_ns if patient else c.recovery.rtt.smoothed_ns // 4
        if delay > c.params.max_ack_delay_ns:
            delay = c.params.max_ack_delay_ns
        if delay < 1_000_000 and c.params.max_ack_delay_ns >= 1_000_000:
            delay = 1_000_000
        if c.ack_at_ns == 0 or now_ns + delay < c.ack_at_ns:
            c.ack_at_ns = now_ns + delay


cdef void note_late(Conn* c, uint64_t number, int64_t now_ns) noexcept nogil:
    """Acknowledge a packet that comes after it was rebuilt; its frames were processed then."""
    #= 5.7: A packet that arrives after it was rebuilt is opened, and reported as acknowledged from then on; its frames are not processed again.
    ranges_remove(&c.recovered, number, number + 1)
    c.stats.fec_recovered_late += 1
    note_received(c, number, ELICITING | BEYOND_MESSAGES, now_ns)


# -- repair ------------------------------------------------------------------------------------------

cdef bint start_repair_in(Conn* c, int64_t now_ns) noexcept nogil:
    """Make sure that there is something to repair with, and that it is freed in time; False when it cannot be."""
    if c.params.repair_sources == 0:
        return False
    if c.repair_in == NULL:
        c.repair_in = repair_in_new(<uint32_t> c.params.repair_sources)
        if c.repair_in == NULL:
            return False
    c.repair_in.free_at_ns = now_ns + 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns)
    return True


cdef void keep_for_repair(Conn* c, uint64_t number, const uint8_t* plain, uint32_t plain_bytes, bint is_source,
                          int64_t now_ns) noexcept nogil:
    """Keep a source, and rebuild what a packet completes."""
    if c.state >= CLOSING:
        return
    if is_source and start_repair_in(c, now_ns):
        repair_in_keep(c.repair_in, number, plain, plain_bytes)
    if c.repair_in != NULL and c.repair_in.open_blocks and repair_in_arrived(c.repair_in, &c.replay, number):
        take_rebuilt(c, now_ns)


cdef void handle_repair(Conn* c, const Frame* f, uint64_t number, int64_t now_ns) noexcept nogil:
    cdef Reader gaps = f.ranges
    cdef uint64_t last = f.id
    cdef uint32_t _n
    for _n in range(1, f.sources):
        last += read_varint(&gaps) + 1
    #= 5.7: An endpoint MUST close with PROTOCOL_VIOLATION when REPAIR names a source number that is not below the number of the packet it came in.
    if last >= number:
        conn_fail(c, PROTOCOL_VIOLATION, b"REPAIR of a packet that was not sent", now_ns)
        return
    c.stats.fec_repairs_received += 1
    if start_repair_in(c, now_ns) and repair_in_add(c.repair_in, &c.replay, f):
        take_rebuilt(c, now_ns)


cdef void take_rebuilt(Conn* c, int64_t now_ns) noexcept nogil:
    """Process what was rebuilt, as if it had arrived, and what that completes in turn."""
    cdef uint64_t number = 0
    cdef const uint8_t* plain = NULL
    cdef uint32_t plain_bytes = 0
    cdef TransportError error
    while c.state < CLOSING and (
            repair_in_take(c.repair_in, &number, &plain, &plain_bytes)
            or (c.repair_in.open_blocks and repair_in_again(c.repair_in, &c.replay)
                and repair_in_take(c.repair_in, &number, &plain, &plain_bytes))):
        #= 5.7: A receiver MUST NOT process a rebuilt packet whose number its replay window has seen or that lies below the window.
        if replay_check(&c.replay, number) != REPLAY_FRESH:
            continue
        error = check_frames(plain, plain_bytes, True)
        if error != NO_ERROR:
            fail_frames(c, error, now_ns)
            return
        #= 5.7: A rebuilt packet counts as received in the replay window and in flow control, its frames are processed, and it is reported in recovered ranges instead of acknowledged ones.
        replay_commit(&c.replay, number)
        c.stats.fec_packets_recovered += 1
        if not ranges_add(&c.recovered, number, number + 1):
            ranges_drop_lowest(&c.recovered)
            ranges_add(&c.recovered, number, number + 1)
        if number < c.recovered_from:
            c.recovered_from = number
        c.recoveries += 1
        process_frames(c, plain, plain_bytes, number, now_ns)
        repair_in_keep(c.repair_in, number, plain, plain_bytes)
        #= 5.1: A packet that was rebuilt (5.7) is reported at once.
        c.ack_now = True


cdef void handle_header_ack(Conn* c, uint32_t ack, int64_t now_ns) noexcept nogil:
    cdef uint64_t number = expand_packet_number(ack - 1, c.recovery.next - 1 if c.recovery.next else 0)
    if number < c.recovery.first:
        return
    recovery_ack_begin(&c.recovery, now_ns)
    if not recovery_ack_range(&c.recovery, number, number, now_ns):
        conn_fail(c, PROTOCOL_VIOLATION, b"acknowledgement of a packet that was not sent", now_ns)
        return
    recovery_ack_end(&c.recovery, False, now_ns)


cdef void handle_ack(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef uint64_t high = f.id, low = f.id - f.first_range, n, _n
    cdef bint newest
    c.stats.acks_received += 1
    if high >= c.recovery.next:
        conn_fail(c, PROTOCOL_VIOLATION, b"acknowledgement of a packet that was not sent", now_ns)
        return
    newest = not c.recovery.acked_any or high > c.recovery.largest_acked
    recovery_ack_begin(&c.recovery, now_ns)
    if f.offset > MAX_ACK_DELAY_US:
        f.offset = MAX_ACK_DELAY_US
    recovery_ack_largest(&c.recovery, high, <int64_t> f.offset * 1000, now_ns)
    for n in range(f.range_count + 1):
        if n:
            high = low - read_varint(&f.ranges) - 2
            low = high - read_varint(&f.ranges)
        if high < c.recovery.first:
            break
        if not recovery_ack_range(&c.recovery, low, high, now_ns):
            conn_fail(c, PROTOCOL_VIOLATION, b"acknowledgement of a packet that was skipped", now_ns)
            return
    # After all that were acknowledged: a number that is in both counts as acknowledged.
    low = f.id + 1
    for _n in range(f.recovered_count):
        high = low - read_varint(&f.recovered) - 2
        low = high - read_varint(&f.recovered)
        if high < c.recovery.first:
            break
        if not recovery_recovered_range(&c.recovery, low, high, now_ns):
            conn_fail(c, PROTOCOL_VIOLATION, b"recovery of a packet that was skipped", now_ns)
            return
    # The odd types end with counts.
    recovery_ack_counts(&c.recovery, newest, f.ecn if f.type & 1 else NULL)
    recovery_ack_end(&c.recovery, True, now_ns)


cdef inline bint is_own(const Conn* c, uint64_t id) noexcept nogil:
    return (id & STREAM_SERVER) == (0 if c.is_client else 1)


cdef Stream* find_stream(Conn* c, uint64_t id, bint peer_sends, int64_t now_ns) noexcept nogil:
    """Return the stream a frame is for; NULL when it ended, or when the frame broke a rule and we closed.

    *peer_sends* tells whether the frame belongs to the peer's sending half of the stream.
    """
    cdef uint64_t count = (id >> 2) + 1, n
    cdef int kind = <int> (id & 3)
    cdef Stream* s
    #= 5.3: An endpoint MUST close with STREAM_STATE on a STREAM, RESET_STREAM, STOP_SENDING or MAX_STREAM_DATA frame for a stream that the peer may not send it on, or that this endpoint should have opened and has not.
    if id & STREAM_UNI and is_own(c, id) == peer_sends:
        conn_fail(c, STREAM_STATE, b"frame on the wrong half of a unidirectional stream", now_ns)
        return NULL
    if is_own(c, id) and count > c.next_stream[kind]:
        conn_fail(c, STREAM_STATE, b"frame for a stream that was never opened", now_ns)
        return NULL
    #= 5.3: An endpoint MUST close with STREAM_LIMIT when the peer opens a stream beyond the limit it was given.
    if count > c.stream_limit[kind]:
        conn_fail(c, STREAM_LIMIT, b"more streams than were allowed", now_ns)
        return NULL
    for n in range(c.next_stream[kind], count):
        s = conn_open_stream(c, n << 2 | kind)
        if s == NULL:
            conn_fail(c, INTERNAL, b"out of memory", now_ns)
            return NULL
        c.next_stream[kind] = n + 1
        stream_notify(c, s, STREAM_OPENED)
    return table_find(&c.streams, id)


cdef void handle_stream(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef Stream* s = find_stream(c, f.id, True, now_ns)
    cdef uint64_t grown = 0, before
    cdef TransportError error
    if s == NULL:
        return
    before = s.contiguous
    error = stream_receive(s, f.offset, f.data, f.length, f.type & STREAM_FIN, &grown)
    if error != NO_ERROR:
        conn_fail(c, error, b"STREAM", now_ns)
        return
    finish_receive(c, s, grown, now_ns)
    c.stats.stream_bytes_received += s.contiguous - before


cdef void finish_receive(Conn* c, Stream* s, uint64_t grown, int64_t now_ns) noexcept nogil:
    c.data_received += grown
    if c.data_received > c.receive_limit:
        conn_fail(c, 4, b"more data than the connection was allowed", now_ns)
        return
    if s.stopped:
        # Nobody will read it, so it is consumed as it comes; a reset counted it already otherwise.
        conn_credit_consumed(c, grown)
    if s.events:
        stream_notify(c, s, 0)
    stream_forget_if_ended(c, s)


cdef void handle_reset_stream(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef Stream* s = find_stream(c, f.id, True, now_ns)
    cdef uint64_t grown = 0, unread
    cdef TransportError error
    if s == NULL:
        return
    unread = s.highest - s.read if not s.stopped and s.receive_error == 0 and s.receive_state <= 2 else 0
    error = stream_receive_reset(s, f.offset, f.length, &grown)
    if error != NO_ERROR:
        conn_fail(c, error, b"RESET_STREAM", now_ns)
        return
    if s.stopped:
        # Nobody will read it: the reset is the end.
        unread = 0
        advance_receive(&s.receive_state, READ_RESET)
    elif unread or grown:
        # What was buffered is given up, so its credit returns.
        s.read = s.highest
        conn_credit_consumed(c, unread + grown)
    finish_receive(c, s, grown, now_ns)


cdef void handle_stop_sending(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef Stream* s = find_stream(c, f.id, False, now_ns)
    if s == NULL:
        return
    if advance_send(&s.send_state, RESET):
        s.send_error = f.offset
        s.reset_size = s.out.sent if s.out.sent < stream_data_end(s) else stream_data_end(s)
        stream_owes(c, s, OWES_RESET)
        stream_notify(c, s, STREAM_WAS_STOPPED)


cdef void handle_max_stream_data(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef Stream* s = find_stream(c, f.id, False, now_ns)
    if s == NULL or f.offset <= s.send_limit:
        return
    s.send_limit = f.offset
    if stream_has_work(s, connection_credit(c)):
        stream_wants_to_send(c, s)


cdef void handle_max_data(Conn* c, uint64_t limit) noexcept nogil:
    cdef uint32_t n
    cdef Stream* s
    if limit <= c.send_limit:
        return
    c.send_limit = limit
    for n in range(c.streams.bucket_count):
        s = c.streams.buckets[n]
        while s != NULL:
            if stream_has_work(s, connection_credit(c)):
                stream_wants_to_send(c, s)
            s = s.hash_next


cdef void handle_max_streams(Conn* c, bint uni, uint64_t limit) noexcept nogil:
    cdef int kind = (0 if c.is_client else 1) | (STREAM_UNI if uni else 0)
    if limit > c.stream_limit[kind]:
        c.stream_limit[kind] = limit
        if c.wants_stream[1 if uni else 0]:
            c.wants_stream[1 if uni else 0] = False
            c.events |= EVENT_STREAMS_ALLOWED


cdef void handle_message(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    cdef TransportError error
    cdef uint64_t before = c.messages_in.delivered
    if f.type == FRAME_MESSAGE_EXPIRED:
        error = incoming_expired(&c.messages_in, f.id, f.total, c.params.max_message_bytes)
        conn_credit_messages(c)
    elif f.type == FRAME_MESSAGE:
        error = incoming_whole(&c.messages_in, f.id, f.data, f.length, c.params.max_message_bytes)
    else:
        error = incoming_part(&c.messages_in, f.id, f.total, f.offset, f.data, f.length, c.params.max_message_bytes)
    if error != NO_ERROR:
        conn_fail(c, error, b"MESSAGE", now_ns)
    elif c.messages_in.delivered != before:
        c.stats.messages_received += 1
        c.events |= EVENT_MESSAGES


cdef void handle_datagram(Conn* c, Frame* f) noexcept nogil:
    if c.datagrams_in.count >= c.params.datagram_queue:
        inbox_pop(&c.datagrams_in, NULL)
        c.stats.datagrams_dropped += 1
    if inbox_push(&c.datagrams_in, f.data, <uint32_t> f.length):
        c.stats.datagrams_received += 1
        c.events |= EVENT_DATAGRAMS


cdef void handle_close(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    c.close_is_application = f.type == FRAME_CLOSE_APP
    c.close_code = f.id
    c.close_reason_bytes = <uint32_t> f.length
    memcpy(c.close_reason, f.data, f.length)
    conn_enter_draining(c, PEER_CLOSE if c.close_is_application or f.id == 0 else PEER_ERROR, now_ns)


cdef uint32_t process_frames(Conn* c, const uint8_t* plain, uint32_t plain_bytes, uint64_t number, int64_t now_ns) noexcept nogil:
    """Do what the frames of packet *number* say; return what kind of packet this was."""
    cdef Reader r
    cdef Frame f
    cdef uint32_t content = 0
    cdef uint64_t copies
    reader_init(&r, plain, plain_bytes)
    while reader_left(&r) and c.state < CLOSING:
        if not parse_frame(&r, &f):
            break
        if is_ack_eliciting(f.type):
            content |= ELICITING
            if f.type != FRAME_MESSAGE and f.type != FRAME_MESSAGE_EXPIRED:
                content |= BEYOND_MESSAGES
        if FRAME_STREAM <= f.type <= 0x0f:
            handle_stream(c, &f, now_ns)
        elif f.type == FRAME_MESSAGE or f.type == FRAME_MESSAGE_PART or f.type == FRAME_MESSAGE_EXPIRED:
            copies = c.messages_in.duplicates
            handle_message(c, &f, now_ns)
            if copies == c.messages_in.duplicates:
                content |= NEWS
        elif FRAME_ACK <= f.type <= FRAME_ACK_RECOVERED_ECN:
            handle_ack(c, &f, now_ns)
        elif f.type == FRAME_DATAGRAM:
            handle_datagram(c, &f)
        elif f.type == FRAME_REPAIR:
            handle_repair(c, &f, number, now_ns)
        elif f.type == FRAME_MAX_STREAM_DATA:
            handle_max_stream_data(c, &f, now_ns)
        elif f.type == FRAME_MAX_DATA:
            handle_max_data(c, f.id)
        elif f.type == FRAME_MAX_MESSAGE_DATA:
            if f.id > c.messages_out.credit:
                c.messages_out.credit = f.id
        elif f.type == FRAME_MAX_STREAMS_BIDI or f.type == FRAME_MAX_STREAMS_UNI:
            handle_max_streams(c, f.type == FRAME_MAX_STREAMS_UNI, f.id)
        elif f.type == FRAME_RESET_STREAM:
            handle_reset_stream(c, &f, now_ns)
        elif f.type == FRAME_STOP_SENDING:
            handle_stop_sending(c, &f, now_ns)
        elif f.type == FRAME_DONE:
            handle_done(c, &f, now_ns)
        elif f.type == FRAME_CLOSE or f.type == FRAME_CLOSE_APP:
            handle_close(c, &f, now_ns)
    return content


cdef void handle_done(Conn* c, Frame* f, int64_t now_ns) noexcept nogil:
    if not c.is_client:
        conn_fail(c, PROTOCOL_VIOLATION, b"a client sent DONE", now_ns)
        return
    if advance_connection(&c.state, RECEIVE_DONE):
        memcpy(c.reset_token, f.data, 16)
        c.reset_token_known = True
        c.handshake_at_ns = c.repeat_at_ns = 0
