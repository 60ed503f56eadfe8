"""Every transition of the core's state machines (docs/protocol.md sections 5.3 and 6.1).

Rule: what changes a state goes through a table below. A trigger that the table does not list for a state
is refused, and the state stays; callers decide whether that is an error or a late echo.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

cdef enum:
    REFUSED = 0xFF
    WIDTH = 16

C, T = ConnectionState, ConnectionTrigger
CONNECTION_TRANSITIONS = {
    C.IDLE: {T.SEND_HELLO: C.HELLO_SENT, T.ANSWER_HELLO: C.HELLO_ANSWERED},
    C.HELLO_SENT: {T.VERIFY_HELLO: C.FINISHED_SENT, T.TIME_OUT: C.CLOSED, T.SEND_CLOSE: C.CLOSED},
    C.HELLO_ANSWERED: {T.VERIFY_FINISHED: C.ESTABLISHED, T.TIME_OUT: C.CLOSED, T.SEND_CLOSE: C.CLOSED},
    C.FINISHED_SENT: {
        T.RECEIVE_DONE: C.ESTABLISHED, T.SEND_CLOSE: C.CLOSING, T.RECEIVE_CLOSE: C.DRAINING, T.TIME_OUT: C.CLOSED,
    },
    C.ESTABLISHED: {
        T.SEND_CLOSE: C.CLOSING, T.RECEIVE_CLOSE: C.DRAINING, T.RECEIVE_RESET: C.DRAINING, T.TIME_OUT: C.CLOSED,
    },
    C.CLOSING: {T.RECEIVE_CLOSE: C.DRAINING, T.RECEIVE_RESET: C.DRAINING, T.EXPIRE: C.CLOSED},
    C.DRAINING: {T.EXPIRE: C.CLOSED},
    C.CLOSED: {},
}

S, U = SendState, SendTrigger
SEND_TRANSITIONS = {
    S.NO_SEND: {},
    S.SENDING: {U.FINISH: S.DATA_SENT, U.RESET: S.RESET_SENT},
    S.DATA_SENT: {U.ALL_ACKED: S.DATA_ACKED, U.RESET: S.RESET_SENT},
    S.DATA_ACKED: {},
    S.RESET_SENT: {U.RESET_IS_ACKED: S.RESET_ACKED},
    S.RESET_ACKED: {},
}

R, V = ReceiveState, ReceiveTrigger
RECEIVE_TRANSITIONS = {
    R.NO_RECEIVE: {},
    R.RECEIVING: {V.RECEIVE_FIN: R.SIZE_KNOWN, V.RECEIVE_RESET_STREAM: R.RESET_RECEIVED},
    R.SIZE_KNOWN: {V.RECEIVE_ALL: R.DATA_RECEIVED, V.RECEIVE_RESET_STREAM: R.RESET_RECEIVED},
    R.DATA_RECEIVED: {V.READ_ALL: R.DATA_READ},
    R.DATA_READ: {},
    R.RESET_RECEIVED: {V.READ_RESET: R.RESET_READ},
    R.RESET_READ: {},
}

cdef uint8_t[WIDTH][WIDTH] connection_table
cdef uint8_t[WIDTH][WIDTH] send_table
cdef uint8_t[WIDTH][WIDTH] receive_table


cdef void compile_table(uint8_t[WIDTH]* table, transitions):
    memset(table, REFUSED, WIDTH * WIDTH)
    for state, row in transitions.items():
        for trigger, target in row.items():
            table[<int> state][<int> trigger] = <uint8_t> (<int> target)


compile_table(connection_table, CONNECTION_TRANSITIONS)
compile_table(send_table, SEND_TRANSITIONS)
compile_table(receive_table, RECEIVE_TRANSITIONS)


cdef inline bint step(uint8_t* state, uint8_t target) noexcept nogil:
    if target == REFUSED:
        return False
    state[0] = target
    return True


cdef bint advance_connection(uint8_t* state, ConnectionTrigger trigger) noexcept nogil:
    """Move *state*; False, and no change, when the table refuses the trigger."""
    return step(state, connection_table[state[0]][<int> trigger])


cdef bint advance_send(uint8_t* state, SendTrigger trigger) noexcept nogil:
    return step(state, send_table[state[0]][<int> trigger])


cdef bint advance_receive(uint8_t* state, ReceiveTrigger trigger) noexcept nogil:
    return step(state, receive_table[state[0]][<int> trigger])
