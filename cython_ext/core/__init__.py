"""The protocol without I/O: endpoints, connections, and what they are configured with."""

from cython_ext.core.conn import CloseCause
from cython_ext.core.connection import Connection, EventKind
from cython_ext.core.controller import CONTROLLERS
from cython_ext.core.endpoint import Endpoint
from cython_ext.core.params import COPIES, FEC_MODES, Params
from cython_ext.core.ranges import Ranges, Replay
from cython_ext.core.state import (
    CONNECTION_TRANSITIONS,
    RECEIVE_TRANSITIONS,
    SEND_TRANSITIONS,
    ConnectionState,
    ConnectionTrigger,
    ReceiveState,
    ReceiveTrigger,
    SendState,
    SendTrigger,
)
from cython_ext.core.stream import TransportError
from cython_ext.crypto.suite import ed25519_public
from cython_ext.wire.header import Verdict

__all__ = [
    "CONNECTION_TRANSITIONS",
    "CONTROLLERS",
    "COPIES",
    "FEC_MODES",
    "RECEIVE_TRANSITIONS",
    "SEND_TRANSITIONS",
    "CloseCause",
    "Connection",
    "ConnectionState",
    "ConnectionTrigger",
    "Endpoint",
    "EventKind",
    "Params",
    "Ranges",
    "ReceiveState",
    "ReceiveTrigger",
    "Replay",
    "SendState",
    "SendTrigger",
    "TransportError",
    "Verdict",
    "ed25519_public",
]
