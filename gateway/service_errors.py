"""What the services' errors are called at the gateway's doors."""

from collections.abc import Mapping

from gateway.errors import Code, GatewayError
from session.errors import ErrorCode as SessionCode
from session.errors import SessionError
from statesync.errors import ErrorCode as StateCode
from statesync.errors import StateSyncError

SESSION_CODES: Mapping[SessionCode, Code] = {
    SessionCode.INVALID_ARGUMENT: Code.INVALID,
    SessionCode.NOT_FOUND: Code.NOT_FOUND,
    SessionCode.EXPIRED: Code.EXPIRED,
    SessionCode.TOKEN_REJECTED: Code.UNAUTHENTICATED,
    SessionCode.VERSION_MISMATCH: Code.REVISION_MISMATCH,
    SessionCode.ILLEGAL_TRANSITION: Code.CONFLICT,
    SessionCode.DUPLICATE_LOGIN: Code.CONFLICT,
    SessionCode.TOO_MANY_SESSIONS: Code.LIMIT_REACHED,
    SessionCode.UNAVAILABLE: Code.UNAVAILABLE,
}

STATE_CODES: Mapping[StateCode, Code] = {
    StateCode.INVALID_ARGUMENT: Code.INVALID,
    StateCode.INVALID_OPERATION: Code.INVALID,
    StateCode.TOO_LARGE: Code.TOO_LARGE,
    StateCode.NOT_FOUND: Code.NOT_FOUND,
    StateCode.CONFLICT_NOT_FOUND: Code.NOT_FOUND,
    StateCode.PERMISSION_DENIED: Code.FORBIDDEN,
    StateCode.NOT_WRITABLE: Code.NOT_WRITABLE,
    StateCode.REVISION_MISMATCH: Code.REVISION_MISMATCH,
    StateCode.ALREADY_EXISTS: Code.EXISTS,
    StateCode.SEQUENCE_GAP: Code.SEQUENCE_GAP,
    StateCode.SEQUENCE_REUSED: Code.SEQUENCE_REUSED,
    StateCode.BASE_AHEAD: Code.BASE_AHEAD,
    StateCode.STAMP_AHEAD: Code.STAMP_AHEAD,
    StateCode.LOG_COMPACTED: Code.LOG_COMPACTED,
    StateCode.LOCKED: Code.LOCKED,
    StateCode.STALE_LOCK: Code.STALE_LOCK,
    StateCode.ALREADY_RESOLVED: Code.ALREADY_RESOLVED,
    StateCode.TOO_MANY: Code.LIMIT_REACHED,
    StateCode.UNAVAILABLE: Code.UNAVAILABLE,
}


def to_gateway_error(error: Exception) -> GatewayError | None:
    """Return what a client is told of *error*, or None for one that is nobody's business."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, SessionError):
        return GatewayError(SESSION_CODES[error.code], error.reason, detail=error.detail)
    if isinstance(error, StateSyncError):
        return GatewayError(STATE_CODES[error.code], error.reason, detail=error.detail)
    if isinstance(error, TimeoutError):
        return GatewayError(Code.TIMEOUT, "the request took too long; it may still be carried out")
    return None
