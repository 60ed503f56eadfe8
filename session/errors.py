"""The errors of this package: one tree, one code each, and a table from code to class."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Every code a session error can carry, as it is written on the wire."""

    INVALID_ARGUMENT = "invalid_argument"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    TOKEN_REJECTED = "token_rejected"
    VERSION_MISMATCH = "version_mismatch"
    ILLEGAL_TRANSITION = "illegal_transition"
    DUPLICATE_LOGIN = "duplicate_login"
    TOO_MANY_SESSIONS = "too_many_sessions"
    UNAVAILABLE = "unavailable"


class SessionError(Exception):
    """The root of this package's errors.

    ``code`` is stable and is what programs compare; ``reason`` is one sentence for people;
    ``remote`` says that the error came over the wire; ``retry`` whether the same call may succeed
    later; ``detail`` holds values that the caller needs to mend it.
    """

    code: ClassVar[ErrorCode]
    retry: ClassVar[bool] = False

    def __init__(
        self, reason: str, *, remote: bool = False, detail: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remote = remote
        self.detail: Mapping[str, str] = dict(detail or {})


class InvalidArgument(SessionError):
    """An argument is malformed; the reason names it."""

    code = ErrorCode.INVALID_ARGUMENT


class SessionNotFound(SessionError):
    """No session has this id or connection."""

    code = ErrorCode.NOT_FOUND


class SessionExpired(SessionError):
    """The session timed out or was closed; create another."""

    code = ErrorCode.EXPIRED


class TokenRejected(SessionError):
    """The token is not this session's."""

    code = ErrorCode.TOKEN_REJECTED


class VersionMismatch(SessionError):
    """The session changed since it was read; read it again and repeat the update."""

    code = ErrorCode.VERSION_MISMATCH
    retry = True


class IllegalTransition(SessionError):
    """The table of states has no such move."""

    code = ErrorCode.ILLEGAL_TRANSITION


class AlreadyLoggedIn(SessionError):
    """The policy refuses a second session for this user."""

    code = ErrorCode.DUPLICATE_LOGIN


class TooManySessions(SessionError):
    """The service or the user is at its bound of live sessions."""

    code = ErrorCode.TOO_MANY_SESSIONS
    retry = True


class ServiceUnavailable(SessionError):
    """The store or the remote service cannot be reached or did not answer in time."""

    code = ErrorCode.UNAVAILABLE
    retry = True


ERRORS: Mapping[str, type[SessionError]] = {
    kind.code.value: kind
    for kind in (
        InvalidArgument,
        SessionNotFound,
        SessionExpired,
        TokenRejected,
        VersionMismatch,
        IllegalTransition,
        AlreadyLoggedIn,
        TooManySessions,
        ServiceUnavailable,
    )
}
