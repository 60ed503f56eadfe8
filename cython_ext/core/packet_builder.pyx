"""Build and seal the next datagram of a connection, in place.

Order in a packet: ACK, what the connection and its streams owe, datagrams, then messages and streams by
turns. Each frame that matters when lost is entered into the ledger as it is written.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from cython_ext.core.build cimport MAX_FRAMES, MIN_ROOM, Build, enter, room
from cython_ext.core.byte_ring cimport ring_read
from cython_ext.core.conn cimport (
    OWES_CLOSE, OWES_DONE, OWES_MAX_DATA,
    OWES_MAX_MESSAGE_DATA, OWES_MAX_STREAMS_BIDI, OWES_MAX_STREAMS_UNI, OWES_PING, QUEUE_CONTROLS,
    QUEUE_SENDING, conn_expire_messages, conn_fail, conn_may_send, conn_touch_idle, connection_credit, pop_stream,
    queue_stream, stream_forget_if_ended, )
from cython_ext.core.copies cimport copies_are_due, copies_pass, copies_refresh, copies_spend
from cython_ext.core.inbox cimport inbox_first_length, inbox_pop
from cython_ext.core.message_builder cimport add_copies, add_messages
from cython_ext.core.outgoing cimport outgoing_has_work
from cython_ext.core.pacer cimport pacer_allows, pacer_next_ns
from cython_ext.core.protection cimport (
    protection_close, protection_is_on, protection_poll, protection_wants,
)
from cython_ext.core.recovery cimport (
    FULL_PROBES, recovery_add_frame, recovery_mark_source, recovery_on_sent, recovery_reserve,
    recovery_skip, recovery_skip_due,
)
from cython_ext.core.repair_out cimport (
    WaitingRepair, repair_out_add, repair_out_first, repair_out_pop,
)
from cython_ext.core.rtt cimport rtt_probe_timeout_ns
from cython_ext.core.send_buffer cimport buffer_next, buffer_on_sent
from cython_ext.core.state cimport CLOSING, RECEIVING, RESET_SENT
from cython_ext.core.stream cimport (
    AEAD_LIMIT, INTERNAL, OWES_CREDIT, OWES_RESET, OWES_STOP, Stream, STREAM_UNI,
    stream_data_end, stream_has_work, stream_sendable,
)
from cython_ext.crypto.keys cimport keys_seal, keys_update, keys_update_due
from cython_ext.wire.cursor cimport (
    varint_size, write_bytes, write_u8, write_varint, writer_init, writer_left,
)
from cython_ext.wire.frames cimport (
    FRAME_ACK, FRAME_ACK_RECOVERED, FRAME_CLOSE, FRAME_CLOSE_APP, FRAME_DATAGRAM, FRAME_DONE,
    FRAME_MAX_DATA, FRAME_MAX_MESSAGE_DATA, FRAME_MAX_STREAM_DATA, FRAME_MAX_STREAMS_BIDI,
    FRAME_MAX_STREAMS_UNI, FRAME_PING, FRAME_RESET_STREAM,
    FRAME_STOP_SENDING, FRAME_STREAM, STREAM_FIN, STREAM_LEN, STREAM_OFF,
)
from cython_ext.wire.header cimport FLAG_ACK, FLAG_FEC, FLAG_FIN, FLAG_URG, HEADER_BYTES, TAG_BYTES, write_header

cdef enum:
    # So many packets with nothing but ACK make one that is acknowledged itself, or the ledger would
    # grow as long as only the peer has something to say (RFC 9000 13.2.4).
    ACK_ONLY_PACKETS = 32
    # An ACK goes beside a repair when it can tell a few ranges there.
    REPAIR_ACK_BYTES = 128


# -- frames ------------------------------------------------------------------------------------------

cdef unsigned int recovered_ranges(const Conn* c, unsigned int most) noexcept nogil:
    """Return how many recovered ranges, the newest, the peer is to be told."""
    cdef unsigned int n = 0
    while n < most and n < c.recovered.count and c.recovered.items[c.recovered.count - 1 - n].high > c.recovered_from:
        n += 1
    return n


cdef void add_ack(Conn* c, Build* b, int64_t now_ns) noexcept nogil:
    """Write ACK with as many ranges as fit, newest first."""
    cdef unsigned int n = c.received.count, more = 0, recovered = 0, last
    cdef uint64_t lowest
    cdef bint ecn = c.ecn_counts[0] or c.ecn_counts[1] or c.ecn_counts[2]
    cdef int64_t delay_us = (now_ns - c.largest_received_ns) // 1000
    if n == 0:
        return
    # A further range takes at most 16 bytes; what does not fit is older and less urgent.
    last = n - 1
    more = <unsigned int> ((writer_left(&b.w) - 64) // 16) if writer_left(&b.w) > 64 else 0
    if c.recovered.count:
        recovered = recovered_ranges(c, more // 2)
        more -= recovered
    if more > n - 1:
        more = n - 1
    write_u8(&b.w, (FRAME_ACK_RECOVERED if recovered else FRAME_ACK) + (1 if ecn else 0))
    write_varint(&b.w, c.received.items[last].high - 1)
    write_varint(&b.w, <uint64_t> (delay_us if delay_us > 0 else 0))
    write_varint(&b.w, more)
    write_varint(&b.w, c.received.items[last].high - 1 - c.received.items[last].low)
    lowest = c.received.items[last].low
    for n in range(1, more + 1):
        write_varint(&b.w, lowest - c.received.items[last - n].high - 1)
        write_varint(&b.w, c.received.items[last - n].high - 1 - c.received.items[last - n].low)
        lowest = c.received.items[last - n].low
    if recovered:
        write_varint(&b.w, recovered)
        lowest = c.received.items[last].high
        for n in range(1, recovered + 1):
            write_varint(&b.w, lowest - c.recovered.items[c.recovered.count - n].high - 1)
            write_varint(&b.w, c.recovered.items[c.recovered.count - n].high - 1 - c.recovered.items[c.recovered.count - n].low)
            lowest = c.recovered.items[c.recovered.count - n].low
    if ecn:
        for n in range(3):
            write_varint(&b.w, c.ecn_counts[n])
    recovery_add_frame(&c.recovery, FRAME_ACK, c.received.items[last].high - 1, c.recoveries, 0)
    b.frames += 1
    b.anything = True
    c.unacknowledged = 0
    c.ack_now = False
    c.ack_at_ns = 0
    c.stats.acks_sent += 1


cdef inline void add_limit(Conn* c, Build* b, uint8_t kind, uint64_t limit) noexcept nogil:
    write_u8(&b.w, kind)
    write_varint(&b.w, limit)
    enter(c, b, kind, 0, 0, 0)


cdef void add_owed(Conn* c, Build* b) noexcept nogil:
    """Write what the connection owes."""
    cdef int kind
    if c.owes & OWES_DONE and room(b):
        c.owes &= <uint8_t> ~OWES_DONE
        write_u8(&b.w, FRAME_DONE)
        write_bytes(&b.w, c.reset_token, 16)
        enter(c, b, FRAME_DONE, 0, 0, 0)
    if c.owes & OWES_MAX_DATA and room(b):
        c.owes &= <uint8_t> ~OWES_MAX_DATA
        c.receive_limit = c.data_consumed + c.params.max_data
        add_limit(c, b, FRAME_MAX_DATA, c.receive_limit)
    if c.owes & OWES_MAX_MESSAGE_DATA and room(b):
        c.owes &= <uint8_t> ~OWES_MAX_MESSAGE_DATA
        c.messages_in.limit = c.messages_in.consumed + c.params.max_message_data
        add_limit(c, b, FRAME_MAX_MESSAGE_DATA, c.messages_in.limit)
    if c.owes & OWES_MAX_STREAMS_BIDI and room(b):
        c.owes &= <uint8_t> ~OWES_MAX_STREAMS_BIDI
        kind = 1 if c.is_client else 0
        c.stream_limit[kind] = c.streams_ended[kind] + c.params.max_streams_bidi
        add_limit(c, b, FRAME_MAX_STREAMS_BIDI, c.stream_limit[kind])
    if c.owes & OWES_MAX_STREAMS_UNI and room(b):
        c.owes &= <uint8_t> ~OWES_MAX_STREAMS_UNI
        kind = (1 if c.is_client else 0) | STREAM_UNI
        c.stream_limit[kind] = c.streams_ended[kind] + c.params.max_streams_uni
        add_limit(c, b, FRAME_MAX_STREAMS_UNI, c.stream_limit[kind])


cdef void add_stream_controls(Conn* c, Build* b) noexcept nogil:
    cdef Stream* s
    while c.controls.first != NULL and room(b):
        s = pop_stream(&c.controls, QUEUE_CONTROLS)
        if s.owes & OWES_RESET and s.send_state == RESET_SENT:
            write_u8(&b.w, FRAME_RESET_STREAM)
            write_varint(&b.w, s.id)
            write_varint(&b.w, s.send_error)
            write_varint(&b.w, s.reset_size)
            enter(c, b, FRAME_RESET_STREAM, s.id, 0, 0)
            s.owes &= <uint8_t> ~OWES_RESET
        elif s.owes & OWES_STOP:
            write_u8(&b.w, FRAME_STOP_SENDING)
            write_varint(&b.w, s.id)
            write_varint(&b.w, s.stop_error)
            enter(c, b, FRAME_STOP_SENDING, s.id, 0, 0)
            s.owes &= <uint8_t> ~OWES_STOP
        elif s.owes & OWES_CREDIT:
            s.owes &= <uint8_t> ~OWES_CREDIT
            if s.receive_state == RECEIVING:
                s.receive_limit = s.read + c.params.max_stream_data
                write_u8(&b.w, FRAME_MAX_STREAM_DATA)
                write_varint(&b.w, s.id)
                write_varint(&b.w, s.receive_limit)
                enter(c, b, FRAME_MAX_STREAM_DATA, s.id, 0, 0)
        else:
            s.owes = 0
        if s.owes:
            queue_stream(&c.controls, s, QUEUE_CONTROLS)
        else:
            stream_forget_if_ended(c, s)


cdef void add_datagrams(Conn* c, Build* b, uint32_t full) noexcept nogil:
    cdef uint32_t length
    while c.datagrams_out.count and b.frames < MAX_FRAMES:
        length = inbox_first_length(&c.datagrams_out)
        if 1 + varint_size(length) + length > writer_left(&b.w):
            if 1 + varint_size(length) + length > full:
                # The packet size shrank since it was queued.
                inbox_pop(&c.datagrams_out, NULL)
                c.stats.datagrams_dropped += 1
                continue
            return
        write_u8(&b.w, FRAME_DATAGRAM)
        write_varint(&b.w, length)
        inbox_pop(&c.datagrams_out, b.w.at)
        b.w.at += length
        c.stats.datagrams_sent += 1
        b.eliciting = True
        b.anything = True


cdef bint add_stream_frame(Conn* c, Build* b, Stream* s) noexcept nogil:
    """Write one STREAM frame of *s*; False when the room is too small for one."""
    cdef uint64_t low = 0, high = 0, data_end = stream_data_end(s), length, credit = connection_credit(c)
    cdef size_t head
    cdef uint8_t kind = FRAME_STREAM | STREAM_LEN
    cdef bint fin
    if not buffer_next(&s.out, stream_sendable(s, credit), &low, &high):
        return True
    head = 1 + varint_size(s.id) + (varint_size(low) if low else 0) + 2
    if writer_left(&b.w) < head + 1:
        return False
    length = (high if high < data_end else data_end) - low
    if length > writer_left(&b.w) - head:
        length = writer_left(&b.w) - head
    if length > 16383:
        length = 16383
    fin = s.finished and low + length == data_end and high > data_end
    high = low + length + (1 if fin else 0)
    kind |= (STREAM_FIN if fin else 0) | (STREAM_OFF if low else 0)
    write_u8(&b.w, kind)
    write_varint(&b.w, s.id)
    if low:
        write_varint(&b.w, low)
    write_varint(&b.w, length)
    ring_read(&s.out.ring, low, b.w.at, length)
    b.w.at += length
    if low + length > s.out.sent and low >= s.out.sent:
        # New bytes: the place of FIN costs no credit.
        c.data_sent += length
        c.stats.stream_bytes_sent += length
    buffer_on_sent(&s.out, low, high)
    enter(c, b, FRAME_STREAM, s.id, low, high)
    b.has_stream = True
    return True


cdef void add_streams(Conn* c, Build* b) noexcept nogil:
    """Write stream data, one packet per stream and turn."""
    cdef Stream* s
    while c.sending.first != NULL and b.frames < MAX_FRAMES:
        s = c.sending.first
        if not stream_has_work(s, connection_credit(c)):
            pop_stream(&c.sending, QUEUE_SENDING)
            stream_forget_if_ended(c, s)
            continue
        if not add_stream_frame(c, b, s):
            return
        if writer_left(&b.w) < MIN_ROOM:
            # The packet is full: the next stream has the next one.
            pop_stream(&c.sending, QUEUE_SENDING)
            queue_stream(&c.sending, s, QUEUE_SENDING)
            return


# -- packets -----------------------------------------------------------------------------------------

cdef inline bint has_content(Conn* c) noexcept nogil:
    """Tell whether something ack-eliciting waits; streams without work leave the queue on the way."""
    cdef Stream* s
    if c.owes & ~<uint8_t> OWES_CLOSE or c.controls.first != NULL or c.datagrams_out.count:
        return True
    if outgoing_has_work(&c.messages_out):
        return True
    while c.sending.first != NULL:
        s = c.sending.first
        if stream_has_work(s, connection_credit(c)):
            return True
        pop_stream(&c.sending, QUEUE_SENDING)
        stream_forget_if_ended(c, s)
    return False


cdef uint32_t seal(Conn* c, uint8_t* out, Build* b, uint8_t flags, int64_t now_ns) noexcept nogil:
    """Write the header around the frames, seal, and enter the packet; 0 when sealing failed."""
    cdef uint32_t plain = <uint32_t> (b.w.at - (out + HEADER_BYTES))
    cdef uint32_t length = plain + TAG_BYTES, ack = 0
    if c.keys.phase:
        flags |= FLAG_URG
    if c.received_any:
        flags |= FLAG_ACK
        ack = <uint32_t> (c.largest_received + 1)
    #= 2.4: A sender MUST NOT use a packet number twice.
    write_header(out, 2, flags, c.peer_id, <uint32_t> c.recovery.next, ack, <unsigned short> length)
    if not keys_seal(&c.keys, c.recovery.next, out, out + HEADER_BYTES, plain):
        return 0
    recovery_on_sent(&c.recovery, length + HEADER_BYTES, b.frames, b.eliciting, c.recovery.delivery.app_limited_until != 0, now_ns)
    c.stats.packets_sent += 1
    c.stats.bytes_sent += length + HEADER_BYTES
    if c.copies != NULL and not b.has_stream:
        copies_spend(c.copies)
    if b.eliciting and not c.eliciting_since_receive:
        c.eliciting_since_receive = True
        conn_touch_idle(c, now_ns)
    return length + HEADER_BYTES


cdef uint32_t build_close(Conn* c, uint8_t* out, int64_t now_ns) noexcept nogil:
    cdef Build b
    memset(&b, 0, sizeof(Build))
    c.owes = 0
    if not c.keys.installed or not recovery_reserve(&c.recovery, 1):
        return 0
    writer_init(&b.w, out + HEADER_BYTES, c.datagram_bytes - HEADER_BYTES - TAG_BYTES)
    write_u8(&b.w, FRAME_CLOSE_APP if c.close_is_application else FRAME_CLOSE)
    write_varint(&b.w, c.close_code)
    write_varint(&b.w, c.close_reason_bytes)
    write_bytes(&b.w, c.close_reason, c.close_reason_bytes)
    return seal(c, out, &b, FLAG_FIN, now_ns)


cdef uint32_t poll_unprotected(Conn* c, uint8_t* out, Build* b, bint ack_due, int64_t now_ns) noexcept nogil:
    """Send what is owed, in a packet that no repair covers."""
    cdef uint32_t length
    if ack_due or c.unacknowledged:
        add_ack(c, b, now_ns)
    add_owed(c, b)
    add_stream_controls(c, b)
    if c.owes & OWES_PING and writer_left(&b.w):
        write_u8(&b.w, FRAME_PING)
        b.eliciting = True
        b.anything = True
        c.owes &= <uint8_t> ~OWES_PING
    if not b.anything:
        return 0
    length = seal(c, out, b, 0, now_ns)
    if length == 0:
        conn_fail(c, AEAD_LIMIT, b"the key may seal no more packets", now_ns)
    return length


cdef uint32_t poll_repair(Conn* c, uint8_t* out, Build* b, bint ack_due, int64_t now_ns) noexcept nogil:
    """Send the parity that is due, with an ACK that is owed when there is room for it."""
    cdef WaitingRepair* repair = repair_out_first(c.repair_out)
    cdef uint32_t length
    if ack_due or c.unacknowledged:
        if writer_left(&b.w) < repair.frame.bytes + REPAIR_ACK_BYTES:
            if ack_due:
                return poll_unprotected(c, out, b, ack_due, now_ns)
        else:
            b.w.end -= repair.frame.bytes
            add_ack(c, b, now_ns)
            b.w.end += repair.frame.bytes
    write_bytes(&b.w, repair.frame.data, repair.frame.bytes)
    b.eliciting = True
    b.anything = True
    c.stats.fec_repairs_sent += 1
    c.stats.fec_repair_bytes += repair.frame.bytes
    repair_out_pop(c.repair_out)
    #= 5.7: A lost REPAIR is not retransmitted.
    length = seal(c, out, b, 0, now_ns)
    if length == 0:
        conn_fail(c, AEAD_LIMIT, b"the key may seal no more packets", now_ns)
    return length


cdef uint32_t conn_poll(Conn* c, uint8_t* out, uint32_t capacity, int64_t now_ns) noexcept nogil:
    """Write the next datagram to *out*; return its size, 0 when nothing may leave now.

    When pacing holds something back, `send_at_ns` says until when.
    """
    cdef Build b
    cdef uint32_t full, length, head = 0
    cdef bint ack_due, content, allowed, probing, bare, copies_due = False, source = False, repair = False
    if capacity < c.datagram_bytes:
        return 0
    if c.state == CLOSING:
        return build_close(c, out, now_ns) if c.owes & OWES_CLOSE else 0
    if not conn_may_send(c):
        return 0
    if c.messages_out.expiry_ns and c.messages_out.expiry_ns <= now_ns:
        conn_expire_messages(c, now_ns)
    if c.copies != NULL:
        copies_refresh(c.copies, &c.recovery)
        copies_due = copies_are_due(c.copies, &c.messages_out, &c.recovery, now_ns)
        c.copies.blocked = copies_due
    ack_due = c.ack_now or (c.ack_at_ns and c.ack_at_ns <= now_ns)
    content = has_content(c) or copies_due
    probing = c.recovery.probes_owed > 0
    bare = c.recovery.probes_owed > FULL_PROBES
    c.send_at_ns = 0
    if c.repair_out != NULL:
        repair = protection_poll(c, not content, now_ns)
    #= 7: An endpoint MUST NOT have more bytes in flight than its congestion controller allows, probes excepted.
    allowed = probing or ((content or repair) and c.recovery.in_flight + c.datagram_bytes <= c.recovery.controller.window)
    if allowed and not probing and not pacer_allows(&c.recovery.pacer, now_ns):
        c.send_at_ns = pacer_next_ns(&c.recovery.pacer, c.datagram_bytes)
        allowed = False
    if not content and not probing and c.recovery.in_flight < c.recovery.controller.window:
        c.recovery.delivery.app_limited_until = c.recovery.delivery.delivered + c.recovery.in_flight
        if c.recovery.delivery.app_limited_until == 0:
            c.recovery.delivery.app_limited_until = 1
    if not allowed and not ack_due:
        return 0
    if keys_update_due(&c.keys, c.recovery.largest_acked):
        keys_update(&c.keys, now_ns, 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns))
    # The gap before a probe makes the peer acknowledge it at once (section 5.1).
    if ((probing or recovery_skip_due(&c.recovery)) and not recovery_skip(&c.recovery, True)) or not recovery_reserve(&c.recovery, MAX_FRAMES + 1):
        conn_fail(c, INTERNAL, b"out of memory", now_ns)
        return 0
    memset(&b, 0, sizeof(Build))
    full = c.datagram_bytes - HEADER_BYTES - TAG_BYTES
    writer_init(&b.w, out + HEADER_BYTES, full)
    if allowed and not probing and (repair or protection_is_on(c)):
        if repair:
            return poll_repair(c, out, &b, ack_due, now_ns)
        if content and protection_wants(c, &head, now_ns):
            if ack_due or c.owes & (OWES_DONE | OWES_PING) or c.controls.first != NULL:
                # What a source may not hold goes ahead.
                length = poll_unprotected(c, out, &b, ack_due, now_ns)
                if length or c.state >= CLOSING:
                    return length
            source = True
            full -= head
            writer_init(&b.w, out + HEADER_BYTES, full)
    if (ack_due or c.unacknowledged) and not source:
        add_ack(c, &b, now_ns)
    if allowed and not bare:
        add_owed(c, &b)
        if c.controls.first != NULL:
            add_stream_controls(c, &b)
        if c.datagrams_out.count:
            add_datagrams(c, &b, full)
        c.messages_turn = not c.messages_turn
        if c.messages_turn:
            add_messages(c, &b, full, now_ns)
            if copies_due:
                add_copies(c, &b, now_ns)
            add_streams(c, &b)
        else:
            if copies_due:
                add_copies(c, &b, now_ns)
            add_streams(c, &b)
            add_messages(c, &b, full, now_ns)
        if copies_due:
            copies_pass(c.copies, now_ns)
        elif c.copies != NULL and b.has_messages and not b.has_stream:
            add_copies(c, &b, now_ns)
            copies_pass(c.copies, now_ns)
        if c.copies != NULL and b.has_messages and not source and c.recovery.in_flight > c.recovery.controller.window // 2:
            # Acknowledgements that were lost, or wait: ask for one before the window closes.
            c.owes |= OWES_PING
    if allowed and not source:
        # A probe says that it is one: a packet of messages alone may be acknowledged late (section 5.1).
        if (c.owes & OWES_PING or probing) and writer_left(&b.w):
            write_u8(&b.w, FRAME_PING)
            b.eliciting = True
            b.anything = True
        c.owes &= <uint8_t> ~OWES_PING
        if probing:
            c.recovery.probes_owed -= 1
            c.recovery.probes_sent += 1
    if not b.anything:
        return 0
    if source:
        source = repair_out_add(c.repair_out, c.recovery.next, out + HEADER_BYTES, <uint32_t> (b.w.at - (out + HEADER_BYTES)))
        if source:
            c.stats.fec_packets_protected += 1
        else:
            protection_close(c, now_ns)
    if (not b.eliciting and c.recovery.eliciting_in_flight == 0 and writer_left(&b.w)
            and c.recovery.next - c.recovery.first >= ACK_ONLY_PACKETS):
        write_u8(&b.w, FRAME_PING)
        b.eliciting = True
    length = seal(c, out, &b, FLAG_FEC if source else 0, now_ns)
    if source and length:
        recovery_mark_source(&c.recovery)
    if length == 0:
        conn_fail(c, AEAD_LIMIT, b"the key may seal no more packets", now_ns)
    return length
