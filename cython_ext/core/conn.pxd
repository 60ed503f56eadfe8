"""The state of one connection: every field that the modules of the core share.

It lies in C memory, found through the endpoint's table. Its owner is the endpoint; the Python handle
borrows it and gives it back. Functions over it: `inbound` (what a packet does), `packet_builder` (what
leaves), `connection` (time, closing, the application).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.abi.datagram cimport Address
from cython_ext.core.copies cimport Copies
from cython_ext.core.inbox cimport Inbox
from cython_ext.core.messages cimport Incoming
from cython_ext.core.outgoing cimport Outgoing
from cython_ext.core.params cimport ParamsView, PeerParams
from cython_ext.core.ranges cimport RangeSet, ReplayWindow
from cython_ext.core.recovery cimport Recovery
from cython_ext.core.repair_in cimport RepairIn
from cython_ext.core.repair_out cimport RepairOut
from cython_ext.core.stream cimport Stream, StreamQueue, StreamTable
from cython_ext.crypto.keys cimport TrafficKeys

cdef enum:
    # Control frames that the connection owes.
    OWES_MAX_DATA = 1
    OWES_MAX_STREAMS_BIDI = 2
    OWES_MAX_STREAMS_UNI = 4
    OWES_MAX_MESSAGE_DATA = 8
    OWES_DONE = 16
    OWES_PING = 32
    OWES_CLOSE = 64

cdef enum:
    # What the application has not been told yet.
    EVENT_CONNECTED = 1
    EVENT_MESSAGES = 2
    EVENT_DATAGRAMS = 4
    EVENT_MESSAGE_SPACE = 8
    EVENT_STREAMS_ALLOWED = 16
    EVENT_CLOSED = 32
    EVENT_ALL_ACKED = 64

cpdef enum CloseCause:
    """Why a connection is no more."""
    OPEN = 0
    LOCAL_CLOSE
    LOCAL_ERROR
    PEER_CLOSE
    PEER_ERROR
    IDLE_TIMEOUT
    HANDSHAKE_TIMEOUT
    STATELESS_RESET


cdef struct ConnList:
    Conn** items
    uint32_t count
    uint32_t capacity


cdef struct ConnStats:
    uint64_t packets_sent
    uint64_t packets_received
    uint64_t bytes_sent
    uint64_t bytes_received
    uint64_t packets_dropped
    uint64_t stream_bytes_sent          # each byte once
    uint64_t stream_bytes_received
    uint64_t retransmitted_bytes        # of streams and messages
    uint64_t messages_sent
    uint64_t messages_received
    uint64_t datagrams_sent
    uint64_t datagrams_received
    uint64_t datagrams_dropped          # queue full, either way
    uint64_t acks_sent
    uint64_t acks_received
    uint64_t ecn_ce_received
    uint64_t fec_packets_protected      # sent with the flag FEC
    uint64_t fec_blocks_sent            # with one repair or more
    uint64_t fec_repairs_sent
    uint64_t fec_repair_bytes           # of REPAIR frames
    uint64_t fec_repairs_dropped        # made, and not sent: needless, stale, or too many
    uint64_t fec_repairs_received
    uint64_t fec_packets_recovered      # rebuilt from what the peer sent
    uint64_t fec_recovered_late         # of those, the packet itself came afterwards
    uint64_t fec_blocks_failed          # of the peer's: contradictory, or out of reach
    uint64_t fec_repairs_unused         # of the peer's: nothing was missing


cdef struct Conn:
    # who
    uint8_t[16] own_id
    uint8_t[16] peer_id
    Address peer_address
    bint is_client
    uint8_t state               # ConnectionState
    ParamsView params
    PeerParams peer
    uint32_t datagram_bytes     # largest we send: the smaller of both sides' limits
    # packets in
    TrafficKeys keys
    ReplayWindow replay
    uint64_t expected           # largest number opened + 1
    RangeSet received           # protected packets, for ACK; half-open
    uint64_t largest_received
    int64_t largest_received_ns
    bint received_any
    uint32_t unacknowledged     # ack-eliciting packets since the last ACK left
    bint ack_now
    int64_t ack_at_ns           # 0 = no ACK owed
    uint64_t[3] ecn_counts      # ECT0, ECT1, CE
    RangeSet recovered          # packets rebuilt, bounded: reported in ACK, and known should they come after all
    uint64_t recovered_from     # the peer knows of those below
    uint64_t recoveries         # how many there were: what an ACK said is known once nothing was added since
    RepairIn* repair_in         # NULL unless packets with the flag FEC came lately
    Inbox early                 # protected datagrams that came before the client's Finished
    # packets out
    Recovery recovery
    uint8_t fec                 # FEC_OFF, FEC_AUTO or FEC_ALWAYS: what may be repaired on this connection
    RepairOut* repair_out       # NULL unless packets were protected lately
    int64_t repair_at_ns        # when a block closes, or a parity is due; 0 = never
    uint8_t owes
    int64_t send_at_ns          # pacing holds back what there is until then; 0 = nothing held back
    # streams
    StreamTable streams
    StreamQueue sending
    StreamQueue controls
    StreamQueue readies
    uint64_t data_sent          # flow control of the connection
    uint64_t send_limit
    uint64_t data_received
    uint64_t data_consumed
    uint64_t receive_limit
    uint64_t[4] next_stream     # by kind (2 low bits): ids opened so far, as counts
    uint64_t[4] stream_limit    # by kind: how many may be opened; ours by the peer, the peer's by us
    uint64_t[4] streams_ended   # by kind
    bint wants_stream[2]        # the application waits for leave: bidirectional, unidirectional
    # messages and datagrams
    Outgoing messages_out
    Copies* copies              # NULL until a message that may be copied was sent
    Incoming messages_in
    Inbox datagrams_out
    Inbox datagrams_in
    bint messages_turn          # streams and messages take turns
    # time
    int64_t idle_timeout_ns     # effective; 0 = none
    int64_t idle_at_ns
    int64_t keepalive_at_ns
    int64_t quiet_at_ns         # when it gives back what only a busy connection needs; 0 = it has
    int64_t handshake_at_ns     # end of the handshake time-out
    int64_t repeat_at_ns        # when SYN or PSH is sent again
    int64_t repeat_ns
    int64_t hello_ns            # when SYN or its answer left; 0 once either was repeated
    uint64_t hello_number       # of the SYN that a server answered
    int64_t end_at_ns           # end of CLOSING or DRAINING
    bint eliciting_since_receive
    # closing
    uint8_t cause               # CloseCause
    bint close_is_application
    uint64_t close_code
    uint8_t[256] close_reason
    uint32_t close_reason_bytes
    uint32_t close_answers      # packets that came while CLOSING
    bint reset_token_known
    uint8_t[16] reset_token     # of the server, for stateless resets; of our own when we are the server
    # application
    uint32_t events
    bint wants_flush
    ConnStats stats
    # the endpoint's links
    int64_t timer_ns
    uint32_t heap_index         # place in the timer heap + 1; 0 = not in it
    bint is_touched
    bint is_ready
    bint half_open
    Conn* hash_next
    ConnList* touched           # the endpoint's list of those that may have something to send; NULL once forgotten
    uint64_t serial             # names the handle in the endpoint
    uint32_t owners             # the endpoint and the Python handle; the last one frees

cdef bint list_push(ConnList* items, Conn* c) noexcept nogil
cdef void conn_touch(Conn* c) noexcept nogil
cdef void conn_fail(Conn* c, uint64_t code, const char* reason, int64_t now_ns) noexcept nogil
cdef void conn_enter_closing(Conn* c, uint8_t cause, uint64_t code, bint is_application, const uint8_t* reason,
                             uint32_t reason_bytes, int64_t now_ns) noexcept nogil
cdef void conn_enter_draining(Conn* c, uint8_t cause, int64_t now_ns) noexcept nogil
cdef void conn_touch_idle(Conn* c, int64_t now_ns) noexcept nogil
cdef void queue_stream(StreamQueue* queue, Stream* s, int which) noexcept nogil
cdef Stream* pop_stream(StreamQueue* queue, int which) noexcept nogil
cdef void stream_owes(Conn* c, Stream* s, uint8_t what) noexcept nogil
cdef void stream_wants_to_send(Conn* c, Stream* s) noexcept nogil
cdef void stream_notify(Conn* c, Stream* s, uint8_t event) noexcept nogil
cdef void stream_forget_if_ended(Conn* c, Stream* s) noexcept nogil
cdef Stream* conn_open_stream(Conn* c, uint64_t id) noexcept nogil
cdef uint64_t connection_credit(const Conn* c) noexcept nogil
cdef bint conn_may_send(const Conn* c) noexcept nogil
cdef bint conn_all_acked(const Conn* c) noexcept nogil
cdef void conn_credit_consumed(Conn* c, uint64_t consumed) noexcept nogil
cdef void conn_expire_messages(Conn* c, int64_t now_ns) noexcept nogil
cdef void conn_credit_messages(Conn* c) noexcept nogil
cdef void conn_drop_repair_in(Conn* c) noexcept nogil
cdef void conn_rest(Conn* c) noexcept nogil
cdef void conn_clear(Conn* c) noexcept nogil
cdef bint conn_start_traffic(Conn* c, int64_t now_ns, uint64_t seed) noexcept nogil

cdef enum:
    QUEUE_SENDING = 0
    QUEUE_CONTROLS = 1
    QUEUE_READIES = 2
