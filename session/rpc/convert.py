"""Session messages to values and back; what cannot be converted is `InvalidArgument`."""

from collections.abc import Callable
from typing import TypeVar

import grpc

from quantum_pb.common.v1 import errors_pb2
from quantum_pb.session.v1 import session_pb2 as pb
from session.api import (
    ERRORS,
    AlreadyLoggedIn,
    IllegalTransition,
    InvalidArgument,
    ServiceUnavailable,
    Session,
    SessionError,
    SessionExpired,
    SessionNotFound,
    SessionState,
    SessionStats,
    TokenRejected,
    TooManySessions,
    VersionMismatch,
)
from svckit.grpc import ErrorMapping

M = TypeVar("M")

_STATES = {
    SessionState.CONNECTING: pb.SESSION_STATE_CONNECTING,
    SessionState.ACTIVE: pb.SESSION_STATE_ACTIVE,
    SessionState.IDLE: pb.SESSION_STATE_IDLE,
    SessionState.DISCONNECTING: pb.SESSION_STATE_DISCONNECTING,
    SessionState.CLOSED: pb.SESSION_STATE_CLOSED,
    SessionState.EXPIRED: pb.SESSION_STATE_EXPIRED,
}
_STATES_BACK: dict[int, SessionState] = {number: state for state, number in _STATES.items()}


def request(make: Callable[..., M], *arguments: object, **fields: object) -> M:
    """Return a message made by *make*; what a message cannot hold is `InvalidArgument`."""
    try:
        return make(*arguments, **fields)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"an argument cannot be sent: {error}") from None


def state_to_wire(state: SessionState) -> pb.SessionState:
    """Return the number of a state."""
    return _STATES[state]


def state_from_wire(number: int) -> SessionState:
    """Return the state with this number."""
    state = _STATES_BACK.get(number)
    if state is None:
        raise InvalidArgument(f"state {number} is not a session state; use 1 to 6")
    return state


def stats_to_wire(stats: SessionStats) -> pb.SessionStats:
    """Return statistics as a message."""
    return pb.SessionStats(
        packets_sent=stats.packets_sent,
        packets_received=stats.packets_received,
        bytes_sent=stats.bytes_sent,
        bytes_received=stats.bytes_received,
        retransmissions=stats.retransmissions,
        current_rtt_ms=stats.current_rtt_ms,
    )


def stats_from_wire(message: pb.SessionStats) -> SessionStats:
    """Return statistics from a message."""
    return SessionStats(
        packets_sent=message.packets_sent,
        packets_received=message.packets_received,
        bytes_sent=message.bytes_sent,
        bytes_received=message.bytes_received,
        retransmissions=message.retransmissions,
        current_rtt_ms=message.current_rtt_ms,
    )


def session_to_wire(session: Session) -> pb.Session:
    """Return a session as a message."""
    return pb.Session(
        session_id=session.id,
        user_id=session.user_id,
        connection_id=session.connection_id,
        client_ip=session.client_ip,
        client_port=session.client_port,
        server_addr=session.server_addr,
        state=state_to_wire(session.state),
        created_at_ns=session.created_at_ns,
        last_active_at_ns=session.last_active_at_ns,
        expires_at_ns=session.expires_at_ns,
        metadata=session.metadata,
        stats=stats_to_wire(session.stats),
        timeout_s=session.timeout_s,
        version=session.version,
    )


def session_from_wire(message: pb.Session) -> Session:
    """Return a session from a message."""
    return Session(
        id=message.session_id,
        user_id=message.user_id,
        state=state_from_wire(message.state),
        created_at_ns=message.created_at_ns,
        last_active_at_ns=message.last_active_at_ns,
        expires_at_ns=message.expires_at_ns,
        timeout_s=message.timeout_s,
        version=message.version,
        connection_id=message.connection_id,
        client_ip=message.client_ip,
        client_port=message.client_port,
        server_addr=message.server_addr,
        metadata=dict(message.metadata),
        stats=stats_from_wire(message.stats),
    )


def error_to_wire(error: SessionError) -> bytes:
    """Return an error as bytes for the trailing metadata."""
    return errors_pb2.Error(
        code=error.code.value, reason=error.reason, retry=error.retry, detail=error.detail
    ).SerializeToString()


def error_from_wire(data: bytes) -> SessionError:
    """Return the error that a service sent."""
    message = errors_pb2.Error.FromString(data)
    kind = ERRORS.get(message.code, ServiceUnavailable)
    return kind(message.reason, remote=True, detail=dict(message.detail))


STATUS: dict[type[SessionError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    SessionNotFound: grpc.StatusCode.NOT_FOUND,
    SessionExpired: grpc.StatusCode.FAILED_PRECONDITION,
    TokenRejected: grpc.StatusCode.UNAUTHENTICATED,
    VersionMismatch: grpc.StatusCode.ABORTED,
    IllegalTransition: grpc.StatusCode.FAILED_PRECONDITION,
    AlreadyLoggedIn: grpc.StatusCode.ALREADY_EXISTS,
    TooManySessions: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
}

ERROR_MAPPING = ErrorMapping(
    root=SessionError,
    status=STATUS,
    encode=error_to_wire,
    decode=error_from_wire,
    unavailable=lambda reason: ServiceUnavailable(reason, remote=True),
    refused=lambda reason: InvalidArgument(reason, remote=True),
)
