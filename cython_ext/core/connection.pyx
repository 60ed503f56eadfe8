"""A connection as the application sees it, and what time does to it.

The handle holds one reference to C memory that the endpoint works on; all its methods are plain calls
that take or give bytes, and never wait. Nothing here computes what another module of the core computes.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from cython_ext.core.conn cimport (
    EVENT_ALL_ACKED, EVENT_CLOSED, EVENT_CONNECTED, EVENT_DATAGRAMS, EVENT_MESSAGES,
    EVENT_MESSAGE_SPACE, EVENT_STREAMS_ALLOWED, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, LOCAL_CLOSE,
    OWES_MAX_MESSAGE_DATA, OWES_PING, QUEUE_READIES, conn_all_acked, conn_clear,
    conn_credit_consumed, conn_credit_messages, conn_drop_repair_in, conn_enter_closing,
    conn_expire_messages, conn_may_send, conn_open_stream, conn_rest, conn_touch, pop_stream,
    stream_forget_if_ended, stream_owes, stream_wants_to_send,
)
from cython_ext.core.copies cimport COPIES_ALL, COPIES_DEADLINE, copies_new
from cython_ext.core.inbox cimport inbox_first_length, inbox_pop, inbox_push
from cython_ext.core.loss_meter cimport meter_burst, meter_share
from cython_ext.core.outgoing cimport DEFAULT_LANE, LANES, outgoing_add, outgoing_waiting
from cython_ext.core.recovery cimport (
    recovery_on_loss_timer, recovery_on_probe_timer, recovery_probe_timeout_ns, recovery_set_controller,
    recovery_timer_ns,
)
from cython_ext.core.send_buffer cimport buffer_append, buffer_is_full
from cython_ext.core.state cimport (
    CLOSED, CLOSING, DRAINING, EXPIRE, FINISH, NO_RECEIVE,     READ_RESET, RECEIVING, RESET, RESET_READ, RESET_RECEIVED, SENDING, SIZE_KNOWN, TIME_OUT,
    advance_connection, advance_receive, advance_send,
)
from cython_ext.core.stream cimport (
    NO_FINAL_SIZE, OWES_CREDIT, OWES_RESET, OWES_STOP, Stream, STREAM_IS_ACKED, STREAM_OPENED, STREAM_READABLE,
    STREAM_UNI, STREAM_WAS_RESET, STREAM_WAS_STOPPED, STREAM_WRITABLE, stream_consume,
    stream_data_end, stream_readable, table_find,
)

from cython_ext.core.conn import CloseCause
from cython_ext.core.controller import CONTROLLERS
from cython_ext.core.state import ConnectionState


# -- time ----------------------------------------------------------------------------------------------

cdef inline int64_t earlier(int64_t a, int64_t b) noexcept nogil:
    # 0 means never.
    if a == 0 or (b != 0 and b < a):
        return b
    return a


cdef int64_t conn_next_timer(const Conn* c) noexcept nogil:
    """Return when conn_handle_timeout has something to do, 0 for never."""
    cdef int64_t due = 0
    if c.state == CLOSED:
        return 0
    if c.state == CLOSING or c.state == DRAINING:
        return c.end_at_ns
    due = earlier(c.handshake_at_ns, c.repeat_at_ns)
    if conn_may_send(c):
        due = earlier(due, earlier(c.ack_at_ns, c.send_at_ns))
        due = earlier(due, c.repair_at_ns)
        if c.repair_in != NULL:
            due = earlier(due, c.repair_in.free_at_ns)
        due = earlier(due, recovery_timer_ns(&c.recovery))
        due = earlier(due, earlier(c.quiet_at_ns, earlier(c.idle_at_ns, c.keepalive_at_ns)))
        due = earlier(due, c.messages_out.expiry_ns)
        if c.copies != NULL and not c.copies.blocked:
            due = earlier(due, c.copies.due_ns)
    return due


cdef void conn_handle_timeout(Conn* c, int64_t now_ns) noexcept nogil:
    """Do what is due; the handshake's repetitions are the endpoint's."""
    cdef int64_t due
    if c.state == CLOSING or c.state == DRAINING:
        if c.end_at_ns <= now_ns:
            advance_connection(&c.state, EXPIRE)
        return
    if c.handshake_at_ns and c.handshake_at_ns <= now_ns:
        c.cause = HANDSHAKE_TIMEOUT
        end(c)
        return
    if not conn_may_send(c):
        return
    if c.idle_at_ns and c.idle_at_ns <= now_ns:
        c.cause = IDLE_TIMEOUT
        end(c)
        return
    if c.keepalive_at_ns and c.keepalive_at_ns <= now_ns:
        c.owes |= OWES_PING
        c.keepalive_at_ns = now_ns + c.params.keepalive_ns
    if c.messages_out.expiry_ns and c.messages_out.expiry_ns <= now_ns:
        conn_expire_messages(c, now_ns)
    if c.repair_in != NULL and c.repair_in.free_at_ns <= now_ns:
        conn_drop_repair_in(c)
    if c.quiet_at_ns and c.quiet_at_ns <= now_ns:
        conn_rest(c)
    due = recovery_timer_ns(&c.recovery)
    if due and due <= now_ns:
        if c.recovery.loss_ns:
            recovery_on_loss_timer(&c.recovery, now_ns)
        else:
            recovery_on_probe_timer(&c.recovery, now_ns)


cdef void end(Conn* c) noexcept nogil:
    advance_connection(&c.state, TIME_OUT)
    c.events |= EVENT_CLOSED


cdef void conn_release(Conn* c) noexcept nogil:
    """Give up one of the two references to *c*."""
    c.owners -= 1
    if c.owners == 0:
        conn_clear(c)
        free(c)


# -- the handle ------------------------------------------------------------------------------------------

cdef class Connection:
    """One connection; made by `Endpoint` only."""

    def __dealloc__(self):
        if self.c != NULL:
            conn_release(self.c)

    cdef void changed(self):
        conn_touch(self.c)

    cdef void forget_if_ended(self, Stream* s):
        stream_forget_if_ended(self.c, s)
        if self.c.owes:
            # The peer may open another stream in its place.
            self.changed()

    # streams

    def open_stream(self, bidirectional: bool = True) -> int | None:
        """Open a stream and return its id; None while the peer's limit does not allow another."""
        cdef int kind = (0 if self.c.is_client else 1) | (0 if bidirectional else STREAM_UNI)
        cdef uint64_t id
        if self.c.state >= CLOSING:
            return None
        if self.c.next_stream[kind] >= self.c.stream_limit[kind]:
            self.c.wants_stream[0 if bidirectional else 1] = True
            return None
        id = self.c.next_stream[kind] << 2 | kind
        if conn_open_stream(self.c, id) == NULL:
            raise MemoryError
        self.c.next_stream[kind] += 1
        return id

    def stream_write(self, stream_id: int, data: object, at: int = 0) -> int:
        """Take bytes of *data* from place *at* on; return how many, 0 when the buffer is full.

        While there is any room, up to `send_buffer_bytes` are taken whole: what is buffered stays below twice
        that, or five times behind a loss. After a 0, STREAM_SPACE tells when to go on. Returns -1 when the stream takes no more data at all.
        """
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        cdef Py_buffer view
        cdef uint64_t length, start = at
        if s == NULL or s.send_state != SENDING or self.c.state >= CLOSING:
            return -1
        if buffer_is_full(&s.out, self.c.params.send_buffer_bytes):
            s.wants_space = True
            return 0
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            length = <uint64_t> view.len - start if <uint64_t> view.len > start else 0
            if length > self.c.params.send_buffer_bytes:
                length = self.c.params.send_buffer_bytes
            if length:
                if not buffer_append(&s.out, <const uint8_t*> view.buf + start, length):
                    raise MemoryError
                stream_wants_to_send(self.c, s)
                self.changed()
        finally:
            PyBuffer_Release(&view)
        return length

    def stream_finish(self, stream_id: int) -> None:
        """End the sending half after what was written; nothing happens when it has ended."""
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        cdef uint8_t place = 0
        if s == NULL or self.c.state >= CLOSING or not advance_send(&s.send_state, FINISH):
            return
        if not buffer_append(&s.out, &place, 1):
            raise MemoryError
        s.finished = True
        stream_wants_to_send(self.c, s)
        self.changed()

    def stream_reset(self, stream_id: int, code: int) -> None:
        """Give up the sending half; the peer learns *code*."""
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        if s == NULL or self.c.state >= CLOSING or not advance_send(&s.send_state, RESET):
            return
        s.send_error = code
        s.reset_size = s.out.sent if s.out.sent < stream_data_end(s) else stream_data_end(s)
        stream_owes(self.c, s, OWES_RESET)
        self.changed()

    def stream_stop(self, stream_id: int, code: int) -> None:
        """Ask the peer to stop sending; what still comes is thrown away."""
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        if s == NULL or s.stopped or self.c.state >= CLOSING:
            return
        if s.receive_state == RESET_RECEIVED:
            advance_receive(&s.receive_state, READ_RESET)
        elif s.receive_state == RECEIVING or s.receive_state == SIZE_KNOWN:
            s.stop_error = code
            stream_owes(self.c, s, OWES_STOP)
            conn_credit_consumed(self.c, s.highest - s.read)
            s.stopped = True
            s.contiguous = s.highest
            s.read = s.highest
        elif s.receive_state != NO_RECEIVE:
            conn_credit_consumed(self.c, s.highest - s.read)
            s.stopped = True
            s.read = s.final_size
            stream_consume(s, NULL, 0)
        stream_forget_if_ended(self.c, s)
        self.changed()

    def stream_read(self, stream_id: int, max_bytes: int) -> bytes | None:
        """Return up to *max_bytes* bytes; None when there are none yet, b"" at the end of the stream.

        A stream that the peer reset gives None for ever; STREAM_RESET_BY_PEER told so.
        """
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        cdef uint64_t length
        if s == NULL:
            return b""
        length = stream_readable(s)
        if length == 0:
            if s.receive_state == RESET_RECEIVED or s.receive_state == RESET_READ:
                advance_receive(&s.receive_state, READ_RESET)
                self.forget_if_ended(s)
                return None
            if s.final_size == NO_FINAL_SIZE or s.contiguous < s.final_size:
                return None
        if length > <uint64_t> max_bytes:
            length = max_bytes
        data = PyBytes_FromStringAndSize(NULL, length)
        stream_consume(s, <uint8_t*> PyBytes_AS_STRING(data), length)
        if length:
            conn_credit_consumed(self.c, length)
            if s.receive_state == RECEIVING and s.receive_limit - s.read <= self.c.params.max_stream_data // 2:
                stream_owes(self.c, s, OWES_CREDIT)
                self.changed()
            elif self.c.owes:
                self.changed()
        self.forget_if_ended(s)
        return data

    def stream_at_end(self, stream_id: int) -> bool:
        """Tell whether everything the peer sent on this stream was read."""
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        return s == NULL or (s.final_size != NO_FINAL_SIZE and s.read == s.final_size)

    def stream_unacknowledged(self, stream_id: int) -> int:
        """Return how many written bytes the peer has not acknowledged."""
        cdef Stream* s = table_find(&self.c.streams, stream_id)
        return 0 if s == NULL else s.out.end - s.out.base

    # messages and datagrams

    @property
    def max_message_bytes(self) -> int:
        """Size of the largest message that the peer accepts."""
        return self.c.peer.max_message_bytes

    @property
    def max_datagram_bytes(self) -> int:
        """Size of the largest datagram payload that fits into one packet."""
        # Header, tag, frame type and a length that takes 2 bytes below 16,384 and 4 above.
        cdef int64_t room = <int64_t> self.c.datagram_bytes - 32 - 16 - 1
        return room - 2 if room - 2 < 1 << 14 else room - 4

    def send_message(self, data: object, priority: int = DEFAULT_LANE, deadline_ns: int = 0) -> bool:
        """Queue a message; False when the buffer is full, and MESSAGE_SPACE tells when to go on.

        *priority* is 0, the most urgent, to 7. After *deadline_ns* on the clock of the endpoint, unless that is 0,
        what was not sent of it is not sent, and what was lost is not sent again.
        Raises ValueError for a message larger than the peer accepts, and for a priority that does not exist.
        """
        cdef Py_buffer view
        cdef int lane = priority
        cdef int64_t deadline = deadline_ns
        if self.c.state >= CLOSING:
            return False
        if not 0 <= lane < LANES:
            raise ValueError(f"a priority is 0 (most urgent) to {LANES - 1}, not {priority}")
        if outgoing_waiting(&self.c.messages_out) >= self.c.params.message_buffer_bytes:
            self.c.messages_out.wants_space = True
            return False
        if self.c.copies == NULL and (self.c.params.copies == COPIES_ALL or (deadline and self.c.params.copies == COPIES_DEADLINE)):
            self.c.copies = copies_new(self.c.params.copies)
            if self.c.copies == NULL:
                raise MemoryError
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if <uint64_t> view.len > self.c.peer.max_message_bytes:
                raise ValueError(f"a message of {view.len} bytes is larger than the peer's max_message_bytes = "
                                 f"{self.c.peer.max_message_bytes}; send it on a stream")
            if not outgoing_add(&self.c.messages_out, lane, <const uint8_t*> view.buf, view.len, deadline):
                raise MemoryError
        finally:
            PyBuffer_Release(&view)
        self.changed()
        return True

    def expire_message(self) -> None:
        """Count a message whose deadline passed before there was room for it."""
        self.c.messages_out.expired += 1

    def receive_messages(self, max_messages: int = 1024) -> list[bytes]:
        """Return messages that arrived, in the order of their completion."""
        cdef list taken = []
        cdef uint32_t length
        cdef bytes message
        while self.c.messages_in.inbox.count and len(taken) < max_messages:
            length = inbox_first_length(&self.c.messages_in.inbox)
            message = PyBytes_FromStringAndSize(NULL, length)
            inbox_pop(&self.c.messages_in.inbox, <uint8_t*> PyBytes_AS_STRING(message))
            self.c.messages_in.consumed += length + 1
            taken.append(message)
        conn_credit_messages(self.c)
        if self.c.owes & OWES_MAX_MESSAGE_DATA:
            self.changed()
        return taken

    def send_datagram(self, data: bytes) -> bool:
        """Queue a datagram; False, and it is dropped, when the queue is full.

        Raises ValueError when it does not fit into a packet.
        """
        if len(data) > self.max_datagram_bytes:
            raise ValueError(f"a datagram of {len(data)} bytes does not fit into a packet: at most "
                             f"{self.max_datagram_bytes} do; send a message instead")
        if self.c.state >= CLOSING:
            return False
        if self.c.datagrams_out.count >= self.c.params.datagram_queue:
            self.c.stats.datagrams_dropped += 1
            return False
        if not inbox_push(&self.c.datagrams_out, <const uint8_t*> PyBytes_AS_STRING(data), <uint32_t> len(data)):
            raise MemoryError
        self.changed()
        return True

    def receive_datagrams(self) -> list[bytes]:
        """Return the datagrams that arrived and were not dropped."""
        cdef list taken = []
        cdef bytes datagram
        while self.c.datagrams_in.count:
            datagram = PyBytes_FromStringAndSize(NULL, inbox_first_length(&self.c.datagrams_in))
            inbox_pop(&self.c.datagrams_in, <uint8_t*> PyBytes_AS_STRING(datagram))
            taken.append(datagram)
        return taken

    # life

    def ping(self) -> None:
        """Make the next packet ack-eliciting."""
        self.c.owes |= OWES_PING
        self.changed()

    def set_congestion(self, name: str, now_ns: int) -> None:
        """Go on with the controller called *name*, from the present window and round trip.

        Raises ValueError for a name that is not in CONTROLLERS.
        """
        if name not in CONTROLLERS:
            raise ValueError(f"no congestion controller is called {name!r}; known: {', '.join(CONTROLLERS)}")
        self.c.params.controller = CONTROLLERS.index(name)
        if self.c.recovery.controller.algorithm == NULL:
            # Recovery has not begun: it will begin with this one.
            return
        if not recovery_set_controller(&self.c.recovery, self.c.params.controller, now_ns):
            raise MemoryError
        self.changed()

    @property
    def congestion(self) -> str:
        """Name of the congestion controller."""
        return CONTROLLERS[self.c.params.controller]

    def request_flush(self) -> bool:
        """Return True when everything written was acknowledged; otherwise EVERYTHING_ACKED will tell."""
        if conn_all_acked(self.c):
            return True
        self.c.wants_flush = True
        return False

    def close(self, code: int, reason: bytes, is_application: bool, now_ns: int) -> None:
        """End the connection at once with a code from 0 to 2^62 - 1 and a reason of at most 256 bytes."""
        cdef const uint8_t* text = reason
        if not 0 <= code < 1 << 62:
            raise ValueError(f"code {code} is not between 0 and 2^62 - 1")
        conn_enter_closing(self.c, LOCAL_CLOSE, code, is_application, text, <uint32_t> len(reason), now_ns)
        self.changed()

    def poll_events(self) -> list[tuple[int, int, int]]:
        """Return what happened since the last call, as (EventKind, stream id, code)."""
        cdef list events = []
        cdef Stream* s
        cdef uint8_t told
        cdef uint32_t mine = self.c.events
        self.c.events = 0
        if mine & EVENT_CONNECTED:
            events.append((<int> CONNECTED, 0, 0))
        while self.c.readies.first != NULL:
            s = pop_stream(&self.c.readies, QUEUE_READIES)
            told = s.events
            s.events = 0
            if told & STREAM_OPENED:
                events.append((<int> STREAM_OPENED_BY_PEER, s.id, 0))
            if told & STREAM_WAS_RESET:
                events.append((<int> STREAM_RESET_BY_PEER, s.id, s.receive_error))
            elif told & STREAM_READABLE:
                events.append((<int> STREAM_DATA, s.id, 0))
            if told & STREAM_WAS_STOPPED:
                events.append((<int> STREAM_STOPPED_BY_PEER, s.id, s.send_error))
            if told & STREAM_WRITABLE:
                events.append((<int> STREAM_SPACE, s.id, 0))
            if told & STREAM_IS_ACKED:
                events.append((<int> STREAM_DELIVERED, s.id, 0))
            self.forget_if_ended(s)
        if mine & EVENT_MESSAGES:
            events.append((<int> MESSAGES_ARRIVED, 0, 0))
        if mine & EVENT_DATAGRAMS:
            events.append((<int> DATAGRAMS_ARRIVED, 0, 0))
        if mine & EVENT_MESSAGE_SPACE:
            events.append((<int> MESSAGE_SPACE, 0, 0))
        if mine & EVENT_STREAMS_ALLOWED:
            events.append((<int> STREAMS_ALLOWED, 0, 0))
        if mine & EVENT_ALL_ACKED:
            events.append((<int> EVERYTHING_ACKED, 0, 0))
        if mine & EVENT_CLOSED:
            events.append((<int> CONNECTION_CLOSED, 0, 0))
        return events

    # what is known

    @property
    def serial(self) -> int:
        """A number that names this connection in its endpoint."""
        return self.c.serial

    @property
    def is_client(self) -> bool:
        """Whether this end opened the connection."""
        return self.c.is_client

    @property
    def state(self) -> ConnectionState:
        """The state of docs/protocol.md section 6.1."""
        return ConnectionState(self.c.state)

    @property
    def is_over(self) -> bool:
        """Whether the state is CLOSED."""
        return self.c.state == CLOSED

    @property
    def is_changed(self) -> bool:
        """Whether a command or a packet gave it something to do since the endpoint was polled."""
        return self.c.is_touched

    @property
    def cause(self) -> CloseCause:
        """Why the connection ended; OPEN while it has not."""
        return CloseCause(self.c.cause)

    @property
    def close_frame(self) -> tuple[int, bool, bytes]:
        """(code, whether an application sent it, reason) of the CLOSE sent or received."""
        return self.c.close_code, self.c.close_is_application, self.c.close_reason[:self.c.close_reason_bytes]

    @property
    def connection_id(self) -> bytes:
        """Our 16-byte id: the one that packets to us carry."""
        return self.c.own_id[:16]

    @property
    def peer_address(self) -> tuple[str, int]:
        """Host and port of the peer."""
        return self._endpoint.address_of(self)

    def stats(self) -> dict[str, int]:
        """Return counters and estimates by name; times in ns, sizes in bytes."""
        cdef Conn* c = self.c
        return {
            "rtt_latest_ns": c.recovery.rtt.latest_ns,
            "rtt_smoothed_ns": c.recovery.rtt.smoothed_ns if c.recovery.rtt.sampled else 0,
            "rtt_variation_ns": c.recovery.rtt.variation_ns if c.recovery.rtt.sampled else 0,
            "rtt_minimum_ns": c.recovery.rtt.minimum_ns,
            "probe_timeout_ns": recovery_probe_timeout_ns(&c.recovery),
            "window_bytes": c.recovery.controller.window,
            "pacing_rate": c.recovery.controller.pacing_rate,
            "controller_phase": c.recovery.controller.phase,
            "in_flight_bytes": c.recovery.in_flight,
            "delivered_bytes": c.recovery.delivery.delivered,
            "datagram_bytes": c.datagram_bytes,
            "packets_sent": c.stats.packets_sent,
            "packets_received": c.stats.packets_received,
            "packets_acked": c.recovery.packets_acked,
            "packets_lost": c.recovery.packets_lost,
            "packets_spurious": c.recovery.packets_spurious,
            "packets_dropped": c.stats.packets_dropped,
            "probes_sent": c.recovery.probes_sent,
            "persistent_congestion": c.recovery.persistent_events,
            "bytes_sent": c.stats.bytes_sent,
            "bytes_received": c.stats.bytes_received,
            "bytes_lost": c.recovery.bytes_lost,
            "bytes_retransmitted": c.stats.retransmitted_bytes,
            "stream_bytes_sent": c.stats.stream_bytes_sent,
            "stream_bytes_received": c.stats.stream_bytes_received,
            "messages_sent": c.stats.messages_sent,
            "messages_received": c.stats.messages_received,
            "messages_expired": c.messages_out.expired,
            "messages_expired_by_peer": c.messages_in.expired,
            "copies_sent": 0 if c.copies == NULL else c.copies.sent,
            "copies_bytes": 0 if c.copies == NULL else c.copies.bytes,
            "copies_useful": 0 if c.copies == NULL else c.copies.useful,
            "datagrams_sent": c.stats.datagrams_sent,
            "datagrams_received": c.stats.datagrams_received,
            "datagrams_dropped": c.stats.datagrams_dropped,
            "acks_sent": c.stats.acks_sent,
            "acks_received": c.stats.acks_received,
            "ecn_ce_received": c.stats.ecn_ce_received,
            "loss_ppm": <uint64_t> (meter_share(&c.recovery.losses) * 1e6),
            "loss_run_thousandths": <uint64_t> (meter_burst(&c.recovery.losses) * 1e3),
            "fec_packets_protected": c.stats.fec_packets_protected,
            "fec_blocks_sent": c.stats.fec_blocks_sent + (c.repair_out.blocks if c.repair_out != NULL else 0),
            "fec_repairs_sent": c.stats.fec_repairs_sent,
            "fec_repair_bytes": c.stats.fec_repair_bytes,
            "fec_repairs_dropped": c.stats.fec_repairs_dropped + (
                c.repair_out.repairs_dropped if c.repair_out != NULL else 0),
            "fec_recovered_by_peer": c.recovery.packets_recovered,
            "fec_repairs_received": c.stats.fec_repairs_received,
            "fec_packets_recovered": c.stats.fec_packets_recovered,
            "fec_recovered_late": c.stats.fec_recovered_late,
            "fec_blocks_failed": c.stats.fec_blocks_failed + (c.repair_in.blocks_failed if c.repair_in != NULL else 0),
            "fec_repairs_unused": c.stats.fec_repairs_unused + (
                c.repair_in.repairs_unused if c.repair_in != NULL else 0),
            "ecn_marking": c.recovery.ecn.sends,
            "ecn_failed": c.recovery.ecn.failed,
            "ecn_ce_reported": c.recovery.ecn.marked,
            "key_updates": c.keys.updates,
            "streams": c.streams.count,
            "ledger_packets": c.recovery.next - c.recovery.first,
        }
