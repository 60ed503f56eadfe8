"""What the modules of the core do to a connection's shared state: queues of streams, credit, ending."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, strlen

from cython_ext.core.inbox cimport inbox_clear, inbox_rest
from cython_ext.core.copies cimport COPY
from cython_ext.core.loss_meter cimport meter_init
from cython_ext.core.messages cimport incoming_clear
from cython_ext.core.outgoing cimport (
    outgoing_clear, outgoing_rest, outgoing_expire, outgoing_notice_done, outgoing_on_acked, outgoing_on_lost,
    outgoing_waiting,
)
from cython_ext.core.ranges cimport ranges_clear, ranges_remove_below, replay_clear
from cython_ext.core.params cimport FEC_OFF
from cython_ext.core.recovery cimport SentFrame, recovery_clear, recovery_init, recovery_rest
from cython_ext.core.repair_in cimport repair_in_free
from cython_ext.core.repair_out cimport repair_out_free
from cython_ext.core.rtt cimport rtt_probe_timeout_ns, rtt_update
from cython_ext.core.send_buffer cimport buffer_is_full, buffer_on_acked, buffer_on_lost
from cython_ext.core.state cimport (
    ALL_ACKED, CLOSING, DATA_SENT, ESTABLISHED,
    FINISHED_SENT, NO_RECEIVE, NO_SEND, RECEIVE_CLOSE, RECEIVE_RESET, RECEIVING, RESET_IS_ACKED,
    RESET_SENT, SEND_CLOSE, SENDING, SIZE_KNOWN, advance_connection, advance_send,
)
from cython_ext.core.stream cimport (
    OWES_CREDIT, OWES_RESET, OWES_STOP, STREAM_IS_ACKED, STREAM_SERVER, STREAM_UNI,
    STREAM_WRITABLE, stream_ended, table_add, table_clear,
    table_find, table_remove, table_rest,
)
from cython_ext.crypto.keys cimport keys_clear, keys_rest
from cython_ext.wire.frames cimport (
    FRAME_ACK, FRAME_DONE, FRAME_MAX_DATA, FRAME_MAX_MESSAGE_DATA, FRAME_MAX_STREAM_DATA,
    FRAME_MAX_STREAMS_BIDI, FRAME_MAX_STREAMS_UNI, FRAME_MESSAGE, FRAME_MESSAGE_EXPIRED,
    FRAME_RESET_STREAM, FRAME_STOP_SENDING, FRAME_STREAM, MAX_ACK_RANGES, MAX_RECOVERED_RANGES,
)


cdef enum:
    # A connection that says nothing for so long is quiet: long beside the gap between two messages of a
    # game, short beside the time that thousands of connections take to be made.
    QUIET_NS = 250_000_000


# -- lists of connections ---------------------------------------------------------------------------

cdef bint list_push(ConnList* items, Conn* c) noexcept nogil:
    cdef uint32_t capacity
    cdef Conn** grown
    if items.count == items.capacity:
        capacity = items.capacity * 2 if items.capacity else 16
        grown = <Conn**> realloc(items.items, capacity * sizeof(Conn*))
        if grown == NULL:
            return False
        items.items = grown
        items.capacity = capacity
    items.items[items.count] = c
    items.count += 1
    return True


cdef void conn_touch(Conn* c) noexcept nogil:
    """Note that *c* may have something to send, or to say to the application."""
    if not c.is_touched and c.touched != NULL and list_push(c.touched, c):
        c.is_touched = True


# -- queues of streams -----------------------------------------------------------------------------

cdef inline Stream** link_of(Stream* s, int which) noexcept nogil:
    if which == QUEUE_SENDING:
        return &s.send_next
    return &s.control_next if which == QUEUE_CONTROLS else &s.event_next


cdef inline bint* flag_of(Stream* s, int which) noexcept nogil:
    if which == QUEUE_SENDING:
        return &s.in_send
    return &s.in_control if which == QUEUE_CONTROLS else &s.in_event


cdef void queue_stream(StreamQueue* queue, Stream* s, int which) noexcept nogil:
    """Append *s* unless it is there."""
    if flag_of(s, which)[0]:
        return
    flag_of(s, which)[0] = True
    link_of(s, which)[0] = NULL
    if queue.first == NULL:
        queue.first = s
    else:
        link_of(queue.last, which)[0] = s
    queue.last = s


cdef Stream* pop_stream(StreamQueue* queue, int which) noexcept nogil:
    cdef Stream* s = queue.first
    if s != NULL:
        queue.first = link_of(s, which)[0]
        flag_of(s, which)[0] = False
    return s


cdef void stream_owes(Conn* c, Stream* s, uint8_t what) noexcept nogil:
    s.owes |= what
    queue_stream(&c.controls, s, QUEUE_CONTROLS)


cdef void stream_wants_to_send(Conn* c, Stream* s) noexcept nogil:
    queue_stream(&c.sending, s, QUEUE_SENDING)


cdef void stream_notify(Conn* c, Stream* s, uint8_t event) noexcept nogil:
    s.events |= event
    queue_stream(&c.readies, s, QUEUE_READIES)


cdef void stream_forget_if_ended(Conn* c, Stream* s) noexcept nogil:
    # A stream in a queue stays until the queue comes to it; who pops it calls here again.
    cdef int kind
    if not stream_ended(s) or s.in_send or s.in_control or s.in_event:
        return
    kind = <int> (s.id & 3)
    table_remove(&c.streams, s)
    if (kind & STREAM_SERVER) == (1 if c.is_client else 0):
        # One of the peer's: it may open another.
        c.streams_ended[kind] += 1
        if kind & STREAM_UNI:
            if c.params.max_streams_uni - (c.stream_limit[kind] - c.streams_ended[kind]) >= (c.params.max_streams_uni + 3) // 4:
                c.owes |= OWES_MAX_STREAMS_UNI
        elif c.params.max_streams_bidi - (c.stream_limit[kind] - c.streams_ended[kind]) >= (c.params.max_streams_bidi + 3) // 4:
            c.owes |= OWES_MAX_STREAMS_BIDI


cdef Stream* conn_open_stream(Conn* c, uint64_t id) noexcept nogil:
    """Add stream *id* with the states and limits that its kind has; NULL when memory ran out."""
    cdef Stream* s = table_add(&c.streams, id)
    cdef bint own = (id & STREAM_SERVER) == (0 if c.is_client else 1)
    if s == NULL:
        return NULL
    s.send_state = SENDING if own or not id & STREAM_UNI else NO_SEND
    s.receive_state = RECEIVING if not own or not id & STREAM_UNI else NO_RECEIVE
    s.send_limit = c.peer.max_stream_data
    s.receive_limit = c.params.max_stream_data
    return s


cdef uint64_t connection_credit(const Conn* c) noexcept nogil:
    return c.send_limit - c.data_sent


cdef void conn_credit_consumed(Conn* c, uint64_t consumed) noexcept nogil:
    """Note that the application took stream bytes, or that they will never be read."""
    c.data_consumed += consumed
    if c.receive_limit - c.data_consumed <= c.params.max_data // 2:
        c.owes |= OWES_MAX_DATA


# -- what became of a frame --------------------------------------------------------------------------

cdef void stream_frame_done(Conn* c, Stream* s, const SentFrame* f, bint acked) noexcept nogil:
    if s.send_state == RESET_SENT:
        return
    if not acked:
        if buffer_on_lost(&s.out, f.low, f.high):
            c.stats.retransmitted_bytes += f.high - f.low
            stream_wants_to_send(c, s)
        return
    buffer_on_acked(&s.out, f.low, f.high)
    if s.finished and s.out.base == s.out.end:
        if advance_send(&s.send_state, ALL_ACKED):
            stream_notify(c, s, STREAM_IS_ACKED)
    elif s.wants_space and not buffer_is_full(&s.out, c.params.send_buffer_bytes // 2):
        s.wants_space = False
        stream_notify(c, s, STREAM_WRITABLE)


cdef void sink(void* owner, const SentFrame* f, bint acked) noexcept nogil:
    """The ledger's sink: a frame was acknowledged, or must be sent again."""
    cdef Conn* c = <Conn*> owner
    cdef Stream* s
    cdef uint64_t queued
    if f.kind == FRAME_MESSAGE or f.kind == COPY:
        if acked:
            if outgoing_on_acked(&c.messages_out, f.id, f.low, f.high):
                message_room(c)
        elif f.kind == FRAME_MESSAGE:
            queued = outgoing_on_lost(&c.messages_out, f.id, f.low, f.high)
            c.stats.retransmitted_bytes += queued
            if c.messages_out.wants_space:
                message_room(c)
            if queued == 0 and c.copies != NULL:
                c.copies.useful += 1
    elif f.kind == FRAME_MESSAGE_EXPIRED:
        outgoing_notice_done(&c.messages_out, f.id, f.low, acked)
    elif f.kind == FRAME_STREAM or f.kind == FRAME_RESET_STREAM or f.kind == FRAME_STOP_SENDING or f.kind == FRAME_MAX_STREAM_DATA:
        s = table_find(&c.streams, f.id)
        if s == NULL:
            return
        if f.kind == FRAME_STREAM:
            stream_frame_done(c, s, f, acked)
        elif f.kind == FRAME_RESET_STREAM:
            if acked:
                advance_send(&s.send_state, RESET_IS_ACKED)
            elif s.send_state == RESET_SENT:
                stream_owes(c, s, OWES_RESET)
        elif not acked and (s.receive_state == RECEIVING or s.receive_state == SIZE_KNOWN):
            stream_owes(c, s, OWES_STOP if f.kind == FRAME_STOP_SENDING else OWES_CREDIT)
        stream_forget_if_ended(c, s)
    elif f.kind == FRAME_ACK:
        if acked and c.received.count > 1:
            # The peer has these ranges; the newest stays for the next ACK to build on.
            ranges_remove_below(&c.received, f.id)
        if acked and f.low == c.recoveries:
            # Nothing was rebuilt since, so the peer knows of all below.
            c.recovered_from = f.id
    elif not acked:
        if f.kind == FRAME_MAX_DATA:
            c.owes |= OWES_MAX_DATA
        elif f.kind == FRAME_MAX_MESSAGE_DATA:
            c.owes |= OWES_MAX_MESSAGE_DATA
        elif f.kind == FRAME_MAX_STREAMS_BIDI:
            c.owes |= OWES_MAX_STREAMS_BIDI
        elif f.kind == FRAME_MAX_STREAMS_UNI:
            c.owes |= OWES_MAX_STREAMS_UNI
        elif f.kind == FRAME_DONE:
            c.owes |= OWES_DONE


cdef void message_room(Conn* c) noexcept nogil:
    if c.messages_out.wants_space and outgoing_waiting(&c.messages_out) <= c.params.message_buffer_bytes // 2:
        c.messages_out.wants_space = False
        c.events |= EVENT_MESSAGE_SPACE


cdef void conn_expire_messages(Conn* c, int64_t now_ns) noexcept nogil:
    """Give up the messages that are past their deadline."""
    if outgoing_expire(&c.messages_out, now_ns):
        message_room(c)
        if c.wants_flush and conn_all_acked(c):
            c.wants_flush = False
            c.events |= EVENT_ALL_ACKED


cdef void conn_credit_messages(Conn* c) noexcept nogil:
    """Note that messages were taken by the application, or given up by the peer."""
    # Never less than the largest message, or a sender that has one waits for ever.
    cdef uint64_t least = c.params.max_message_data // 2
    if least < c.params.max_message_bytes:
        least = c.params.max_message_bytes
    if c.messages_in.limit - c.messages_in.consumed < least + 1:
        c.owes |= OWES_MAX_MESSAGE_DATA


cdef bint conn_all_acked(const Conn* c) noexcept nogil:
    """Tell whether everything the application wrote was acknowledged."""
    cdef uint32_t n
    cdef Stream* s
    if outgoing_waiting(&c.messages_out) or c.datagrams_out.count:
        return False
    for n in range(c.streams.bucket_count):
        s = c.streams.buckets[n]
        while s != NULL:
            if (s.send_state == SENDING or s.send_state == DATA_SENT) and s.out.base != s.out.end:
                return False
            if s.send_state == RESET_SENT:
                return False
            s = s.hash_next
    return True


# -- life ----------------------------------------------------------------------------------------------

cdef bint conn_may_send(const Conn* c) noexcept nogil:
    """Tell whether protected packets may leave in this state (section 6.1)."""
    #= 4.4: A server MUST NOT send protected packets or deliver application data before it verified the client's Finished.
    return c.keys.installed and (c.state == ESTABLISHED or (c.is_client and c.state == FINISHED_SENT))


cdef bint conn_start_traffic(Conn* c, int64_t now_ns, uint64_t seed) noexcept nogil:
    """Start recovery and apply the peer's parameters; keys are installed by the caller."""
    cdef int64_t initial_rtt_ns = c.params.initial_rtt_ns
    c.datagram_bytes = <uint32_t> c.params.send_datagram_bytes
    if c.peer.max_datagram_bytes < c.datagram_bytes:
        c.datagram_bytes = <uint32_t> c.peer.max_datagram_bytes
    c.recovery.sink = sink
    c.recovery.owner = c
    c.received.limit = MAX_ACK_RANGES
    # A handshake that was not repeated has measured the round trip (section 7).
    if c.hello_ns:
        initial_rtt_ns = now_ns - c.hello_ns
        if initial_rtt_ns < 1_000:
            initial_rtt_ns = 1_000
    if not recovery_init(&c.recovery, c.params.controller, c.datagram_bytes, now_ns, initial_rtt_ns, seed):
        return False
    if c.hello_ns:
        rtt_update(&c.recovery.rtt, initial_rtt_ns, 0)
    c.recovery.max_ack_delay_ns = c.peer.max_ack_delay_ns
    c.recovery.ecn.sends = c.params.ecn
    c.send_limit = c.peer.max_data
    c.receive_limit = c.params.max_data
    c.messages_out.credit = c.peer.max_message_data
    c.messages_in.limit = c.params.max_message_data
    c.stream_limit[0 if c.is_client else 1] = c.peer.max_streams_bidi
    c.stream_limit[2 if c.is_client else 3] = c.peer.max_streams_uni
    c.stream_limit[1 if c.is_client else 0] = c.params.max_streams_bidi
    c.stream_limit[3 if c.is_client else 2] = c.params.max_streams_uni
    c.idle_timeout_ns = c.params.idle_timeout_ns
    if c.peer.idle_timeout_ns and (c.idle_timeout_ns == 0 or c.peer.idle_timeout_ns < c.idle_timeout_ns):
        c.idle_timeout_ns = c.peer.idle_timeout_ns
    c.recovery.probe_cap_ns = c.idle_timeout_ns // 64
    #= 5.7: A sender MUST NOT send REPAIR or the flag FEC to an endpoint whose repair_sources is 0.
    c.fec = c.params.fec if c.peer.repair_sources else FEC_OFF
    meter_init(&c.recovery.losses, c.params.assumed_loss, 1)
    c.recovered.limit = MAX_RECOVERED_RANGES
    conn_touch_idle(c, now_ns)
    return True


cdef void conn_touch_idle(Conn* c, int64_t now_ns) noexcept nogil:
    """Restart the idle time-out and the keepalive."""
    cdef int64_t floor
    if c.idle_timeout_ns:
        # At least three probe timeouts, so that the last probe can be answered (RFC 9000 10.1).
        floor = 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns)
        c.idle_at_ns = now_ns + (c.idle_timeout_ns if c.idle_timeout_ns > floor else floor)
    c.quiet_at_ns = now_ns + QUIET_NS
    if c.params.keepalive_ns:
        c.keepalive_at_ns = now_ns + c.params.keepalive_ns


cdef void end_soon(Conn* c, int64_t now_ns) noexcept nogil:
    c.end_at_ns = now_ns + 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns)
    c.events |= EVENT_CLOSED
    c.idle_at_ns = c.keepalive_at_ns = c.ack_at_ns = c.send_at_ns = 0
    c.handshake_at_ns = c.repeat_at_ns = 0


cdef void conn_enter_closing(Conn* c, uint8_t cause, uint64_t code, bint is_application, const uint8_t* reason,
                             uint32_t reason_bytes, int64_t now_ns) noexcept nogil:
    """End the connection from this side: CLOSE is owed when the peer can read it."""
    if not advance_connection(&c.state, SEND_CLOSE):
        return
    c.cause = cause
    c.close_code = code
    c.close_is_application = is_application
    c.close_reason_bytes = reason_bytes if reason_bytes < 256 else 256
    if c.close_reason_bytes:
        memcpy(c.close_reason, reason, c.close_reason_bytes)
    if c.state == CLOSING:
        c.owes |= OWES_CLOSE
    end_soon(c, now_ns)


cdef void conn_fail(Conn* c, uint64_t code, const char* reason, int64_t now_ns) noexcept nogil:
    """Close because the peer broke a rule."""
    conn_enter_closing(c, LOCAL_ERROR, code, False, <const uint8_t*> reason, <uint32_t> strlen(reason), now_ns)


cdef void conn_enter_draining(Conn* c, uint8_t cause, int64_t now_ns) noexcept nogil:
    """The peer ended the connection: what came before stays readable, nothing more is sent."""
    if not advance_connection(&c.state, RECEIVE_RESET if cause == STATELESS_RESET else RECEIVE_CLOSE):
        return
    c.owes &= <uint8_t> ~OWES_CLOSE
    if c.cause == OPEN:
        c.cause = cause
        end_soon(c, now_ns)


cdef void conn_drop_repair_in(Conn* c) noexcept nogil:
    """Free what is kept for repair: nothing was protected by the peer for a while."""
    c.stats.fec_blocks_failed += c.repair_in.blocks_failed + c.repair_in.open_blocks
    c.stats.fec_repairs_unused += c.repair_in.repairs_unused
    repair_in_free(c.repair_in)
    c.repair_in = NULL


cdef void conn_rest(Conn* c) noexcept nogil:
    """Give back what *c* takes only while it moves: room that nothing is in, and contexts of keys.

    All of it comes again with the next packet, for about a microsecond.
    """
    c.quiet_at_ns = 0
    keys_rest(&c.keys)
    recovery_rest(&c.recovery)
    table_rest(&c.streams)
    outgoing_rest(&c.messages_out)
    inbox_rest(&c.messages_in.inbox)
    inbox_rest(&c.datagrams_out)
    inbox_rest(&c.datagrams_in)
    inbox_rest(&c.early)


cdef void conn_clear(Conn* c) noexcept nogil:
    """Free everything that *c* owns."""
    keys_clear(&c.keys)
    ranges_clear(&c.received)
    replay_clear(&c.replay)
    recovery_clear(&c.recovery)
    table_clear(&c.streams)
    outgoing_clear(&c.messages_out)
    free(c.copies)
    c.copies = NULL
    incoming_clear(&c.messages_in)
    inbox_clear(&c.datagrams_out)
    inbox_clear(&c.datagrams_in)
    inbox_clear(&c.early)
    ranges_clear(&c.recovered)
    repair_in_free(c.repair_in)
    repair_out_free(c.repair_out)
    c.repair_in = NULL
    c.repair_out = NULL
