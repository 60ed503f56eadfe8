"""The errors of this package: one tree, one code each, and a table from code to class."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Every code a state error can carry, as it is written on the wire."""

    INVALID_ARGUMENT = "invalid_argument"
    INVALID_OPERATION = "invalid_operation"
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    CONFLICT_NOT_FOUND = "conflict_not_found"
    PERMISSION_DENIED = "permission_denied"
    NOT_WRITABLE = "not_writable"
    REVISION_MISMATCH = "revision_mismatch"
    ALREADY_EXISTS = "already_exists"
    SEQUENCE_GAP = "sequence_gap"
    SEQUENCE_REUSED = "sequence_reused"
    BASE_AHEAD = "base_ahead"
    STAMP_AHEAD = "stamp_ahead"
    LOG_COMPACTED = "log_compacted"
    LOCKED = "locked"
    STALE_LOCK = "stale_lock"
    ALREADY_RESOLVED = "already_resolved"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"


class StateSyncError(Exception):
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


class InvalidArgument(StateSyncError):
    """An argument is malformed; the reason names it."""

    code = ErrorCode.INVALID_ARGUMENT


class InvalidOperation(StateSyncError):
    """The operation's payload or target does not fit its type or the document."""

    code = ErrorCode.INVALID_OPERATION


class TooLarge(StateSyncError):
    """A value is above the service's bound, which the reason names."""

    code = ErrorCode.TOO_LARGE


class DocumentNotFound(StateSyncError):
    """No document has this id."""

    code = ErrorCode.NOT_FOUND


class ConflictNotFound(StateSyncError):
    """The document has no conflict with this id."""

    code = ErrorCode.CONFLICT_NOT_FOUND


class PermissionDenied(StateSyncError):
    """The actor lacks the permission that the reason names."""

    code = ErrorCode.PERMISSION_DENIED


class NotWritable(StateSyncError):
    """The document is archived or deleted."""

    code = ErrorCode.NOT_WRITABLE


class RevisionMismatch(StateSyncError):
    """The document's settings changed since they were read; ``detail["revision"]`` is current."""

    code = ErrorCode.REVISION_MISMATCH
    retry = True


class AlreadyExists(StateSyncError):
    """Another document has this id."""

    code = ErrorCode.ALREADY_EXISTS


class SequenceGap(StateSyncError):
    """The client's sequence skipped; send ``detail["expected"]`` first."""

    code = ErrorCode.SEQUENCE_GAP
    retry = True


class SequenceReused(StateSyncError):
    """The same (document, client, sequence) was used with another content."""

    code = ErrorCode.SEQUENCE_REUSED


class BaseAhead(StateSyncError):
    """``base_version`` is one that the document has not reached: ``detail["version"]``."""

    code = ErrorCode.BASE_AHEAD


class StampAhead(StateSyncError):
    """The stamp is too far ahead: restamp from ``detail["server_wall_ms"]``, same sequence."""

    code = ErrorCode.STAMP_AHEAD
    retry = True


class LogCompacted(StateSyncError):
    """Operations that far back are gone; read the document, then its log from there."""

    code = ErrorCode.LOG_COMPACTED


class Locked(StateSyncError):
    """Another holds a lock on this part; ``detail["user_id"]`` says who."""

    code = ErrorCode.LOCKED
    retry = True


class StaleLock(StateSyncError):
    """The fencing token is not that of a lock now held: it expired, or another has it since."""

    code = ErrorCode.STALE_LOCK


class AlreadyResolved(StateSyncError):
    """The conflict was decided before."""

    code = ErrorCode.ALREADY_RESOLVED


class TooMany(StateSyncError):
    """A table is at its bound (subscribers, locks, documents); the reason names it."""

    code = ErrorCode.TOO_MANY
    retry = True


class ServiceUnavailable(StateSyncError):
    """The store or the remote service failed or did not answer; the outcome may be unknown.

    Sending the same operation again under the same sequence is safe.
    """

    code = ErrorCode.UNAVAILABLE
    retry = True


ERRORS: Mapping[str, type[StateSyncError]] = {
    kind.code.value: kind
    for kind in (
        InvalidArgument,
        InvalidOperation,
        TooLarge,
        DocumentNotFound,
        ConflictNotFound,
        PermissionDenied,
        NotWritable,
        RevisionMismatch,
        AlreadyExists,
        SequenceGap,
        SequenceReused,
        BaseAhead,
        StampAhead,
        LogCompacted,
        Locked,
        StaleLock,
        AlreadyResolved,
        TooMany,
        ServiceUnavailable,
    )
}
