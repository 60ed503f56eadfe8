"""States and triggers of the three machines; the tables are in state.pyx."""

from libc.stdint cimport uint8_t

cpdef enum ConnectionState:
    """docs/protocol.md section 6.1."""
    IDLE = 0
    HELLO_SENT
    HELLO_ANSWERED
    FINISHED_SENT
    ESTABLISHED
    CLOSING
    DRAINING
    CLOSED

cpdef enum ConnectionTrigger:
    """What may happen to a connection."""
    SEND_HELLO = 0
    ANSWER_HELLO
    VERIFY_HELLO
    VERIFY_FINISHED
    RECEIVE_DONE
    SEND_CLOSE
    RECEIVE_CLOSE
    RECEIVE_RESET
    TIME_OUT
    EXPIRE

cpdef enum SendState:
    """The sending half of a stream (RFC 9000 section 3.1); NO_SEND is a half that does not exist."""
    NO_SEND = 0
    SENDING
    DATA_SENT
    DATA_ACKED
    RESET_SENT
    RESET_ACKED

cpdef enum SendTrigger:
    """What may happen to a sending half."""
    FINISH = 0
    ALL_ACKED
    RESET
    RESET_IS_ACKED

cpdef enum ReceiveState:
    """The receiving half of a stream (RFC 9000 section 3.2); NO_RECEIVE is a half that does not exist."""
    NO_RECEIVE = 0
    RECEIVING
    SIZE_KNOWN
    DATA_RECEIVED
    DATA_READ
    RESET_RECEIVED
    RESET_READ

cpdef enum ReceiveTrigger:
    """What may happen to a receiving half."""
    RECEIVE_FIN = 0
    RECEIVE_ALL
    READ_ALL
    RECEIVE_RESET_STREAM
    READ_RESET

cdef bint advance_connection(uint8_t* state, ConnectionTrigger trigger) noexcept nogil
cdef bint advance_send(uint8_t* state, SendTrigger trigger) noexcept nogil
cdef bint advance_receive(uint8_t* state, ReceiveTrigger trigger) noexcept nogil
