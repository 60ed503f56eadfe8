"""One stream: its two halves, and the table of streams of a connection.

Streams do not know their connection: flow control of the connection enters as arguments and leaves as
results. A stream is found by id in a chained hash table that is allocated with the first stream.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.core.byte_ring cimport ByteRing
from cython_ext.core.ranges cimport RangeSet
from cython_ext.core.send_buffer cimport SendBuffer

cdef enum:
    MAX_GAPS = 1024
    NO_FINAL_SIZE = 0xFFFFFFFFFFFFFFFF
    STREAM_SERVER = 1           # bit 0 of an id
    STREAM_UNI = 2              # bit 1

cpdef enum TransportError:
    """docs/protocol.md section 6.4."""
    NO_ERROR = 0
    INTERNAL
    PROTOCOL_VIOLATION
    FRAME_ENCODING
    FLOW_CONTROL
    STREAM_LIMIT
    STREAM_STATE
    FINAL_SIZE
    MESSAGE_LIMIT
    AEAD_LIMIT
    REFUSED
    TOO_MANY_GAPS

cdef enum:
    # Control frames that a stream owes.
    OWES_RESET = 1
    OWES_STOP = 2
    OWES_CREDIT = 4

cdef enum:
    # What the application has not been told yet.
    STREAM_READABLE = 1
    STREAM_WRITABLE = 2
    STREAM_WAS_RESET = 4
    STREAM_WAS_STOPPED = 8
    STREAM_IS_ACKED = 16
    STREAM_OPENED = 32


cdef struct Stream:
    uint64_t id
    uint8_t send_state
    uint8_t receive_state
    uint8_t owes
    uint8_t events
    bint wants_space            # the application met a full buffer
    bint stopped                # we asked the peer to stop: what comes is counted and thrown away
    # sending half
    SendBuffer out              # FIN is one position behind the last byte
    bint finished               # FIN was appended to `out`
    uint64_t send_limit         # the peer's max_stream_data
    uint64_t send_error         # code of RESET_STREAM, or of the peer's STOP_SENDING
    uint64_t reset_size
    # receiving half
    ByteRing ring
    uint64_t read               # the application has everything below
    uint64_t contiguous         # everything below arrived
    uint64_t highest            # highest end of any data seen; counts in flow control
    uint64_t final_size
    uint64_t receive_limit      # what the peer was told
    RangeSet islands            # above `contiguous`
    uint64_t receive_error
    uint64_t stop_error
    # links
    Stream* hash_next
    Stream* send_next
    Stream* control_next
    Stream* event_next
    bint in_send
    bint in_control
    bint in_event


cdef struct StreamTable:
    Stream** buckets            # NULL before the first stream
    uint32_t bucket_count       # power of two
    uint32_t count


cdef struct StreamQueue:
    Stream* first
    Stream* last

cdef Stream* table_find(const StreamTable* table, uint64_t id) noexcept nogil
cdef Stream* table_add(StreamTable* table, uint64_t id) noexcept nogil
cdef void table_remove(StreamTable* table, Stream* stream) noexcept nogil
cdef void table_rest(StreamTable* table) noexcept nogil
cdef void table_clear(StreamTable* table) noexcept nogil
cdef TransportError stream_receive(Stream* s, uint64_t offset, const uint8_t* data, uint64_t length, bint fin,
                                   uint64_t* grown) noexcept nogil
cdef TransportError stream_receive_reset(Stream* s, uint64_t code, uint64_t final_size, uint64_t* grown) noexcept nogil
cdef uint64_t stream_readable(const Stream* s) noexcept nogil
cdef void stream_consume(Stream* s, uint8_t* out, uint64_t length) noexcept nogil
cdef bint stream_ended(const Stream* s) noexcept nogil
cdef uint64_t stream_data_end(const Stream* s) noexcept nogil
cdef bint stream_has_work(const Stream* s, uint64_t connection_credit) noexcept nogil
cdef uint64_t stream_sendable(const Stream* s, uint64_t connection_credit) noexcept nogil
