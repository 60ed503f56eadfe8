"""Time, closing, and the handle that Python holds."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cython_ext.core.conn cimport Conn
from cython_ext.core.stream cimport Stream

cpdef enum EventKind:
    """What `Connection.poll_events` tells; the fields behind it in brackets."""
    CONNECTED = 0
    STREAM_OPENED_BY_PEER       # (stream id)
    STREAM_DATA                 # (stream id) readable, or at its end
    STREAM_SPACE                # (stream id) the send buffer has room again
    STREAM_RESET_BY_PEER        # (stream id, code)
    STREAM_STOPPED_BY_PEER      # (stream id, code)
    STREAM_DELIVERED            # (stream id) everything up to FIN was acknowledged
    MESSAGES_ARRIVED
    DATAGRAMS_ARRIVED
    MESSAGE_SPACE
    STREAMS_ALLOWED
    EVERYTHING_ACKED
    CONNECTION_CLOSED

cdef void conn_handle_timeout(Conn* c, int64_t now_ns) noexcept nogil
cdef int64_t conn_next_timer(const Conn* c) noexcept nogil
cdef void conn_release(Conn* c) noexcept nogil


cdef class Connection:
    cdef Conn* c
    cdef object _endpoint
    cdef public object handshake        # ClientHandshake or ServerHandshake until it is confirmed
    cdef public object secrets          # Secrets, when the handshake is done
    cdef readonly object server_name
    cdef void changed(self)
    cdef void forget_if_ended(self, Stream* s)
