from enum import IntEnum

class ConnectionState(IntEnum):
    IDLE = 0
    HELLO_SENT = 1
    HELLO_ANSWERED = 2
    FINISHED_SENT = 3
    ESTABLISHED = 4
    CLOSING = 5
    DRAINING = 6
    CLOSED = 7

class ConnectionTrigger(IntEnum):
    SEND_HELLO = 0
    ANSWER_HELLO = 1
    VERIFY_HELLO = 2
    VERIFY_FINISHED = 3
    RECEIVE_DONE = 4
    SEND_CLOSE = 5
    RECEIVE_CLOSE = 6
    RECEIVE_RESET = 7
    TIME_OUT = 8
    EXPIRE = 9

class SendState(IntEnum):
    NO_SEND = 0
    SENDING = 1
    DATA_SENT = 2
    DATA_ACKED = 3
    RESET_SENT = 4
    RESET_ACKED = 5

class SendTrigger(IntEnum):
    FINISH = 0
    ALL_ACKED = 1
    RESET = 2
    RESET_IS_ACKED = 3

class ReceiveState(IntEnum):
    NO_RECEIVE = 0
    RECEIVING = 1
    SIZE_KNOWN = 2
    DATA_RECEIVED = 3
    DATA_READ = 4
    RESET_RECEIVED = 5
    RESET_READ = 6

class ReceiveTrigger(IntEnum):
    RECEIVE_FIN = 0
    RECEIVE_ALL = 1
    READ_ALL = 2
    RECEIVE_RESET_STREAM = 3
    READ_RESET = 4

C = ConnectionState
T = ConnectionTrigger
S = SendState
U = SendTrigger
R = ReceiveState
V = ReceiveTrigger

CONNECTION_TRANSITIONS: dict[ConnectionState, dict[ConnectionTrigger, ConnectionState]]
SEND_TRANSITIONS: dict[SendState, dict[SendTrigger, SendState]]
RECEIVE_TRANSITIONS: dict[ReceiveState, dict[ReceiveTrigger, ReceiveState]]
