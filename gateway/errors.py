"""The codes that an `Error` reply may carry: HTTP status, and whether a retry is welcome.

One table for all doors. A service's error becomes one of these in `gateway.service_errors`, under
the same name wherever a client must tell it apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Rule:
    """How one code is shown at the HTTP door, and whether trying again may help."""

    status: int
    retry: bool


class Code(StrEnum):
    """What went wrong with a request."""

    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    EXISTS = "exists"
    EXPIRED = "expired"
    TOO_LARGE = "too_large"
    NOT_WRITABLE = "not_writable"
    REVISION_MISMATCH = "revision_mismatch"
    SEQUENCE_GAP = "sequence_gap"
    SEQUENCE_REUSED = "sequence_reused"
    BASE_AHEAD = "base_ahead"
    STAMP_AHEAD = "stamp_ahead"
    LOG_COMPACTED = "log_compacted"
    LOCKED = "locked"
    STALE_LOCK = "stale_lock"
    ALREADY_RESOLVED = "already_resolved"
    RATE_LIMITED = "rate_limited"
    LIMIT_REACHED = "limit_reached"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


RULES: dict[Code, Rule] = {
    Code.MALFORMED: Rule(400, False),
    Code.UNKNOWN_KIND: Rule(400, False),
    Code.INVALID: Rule(422, False),
    Code.UNAUTHENTICATED: Rule(401, False),
    Code.FORBIDDEN: Rule(403, False),
    Code.NOT_FOUND: Rule(404, False),
    Code.METHOD_NOT_ALLOWED: Rule(405, False),
    Code.CONFLICT: Rule(409, False),
    Code.EXISTS: Rule(409, False),
    Code.EXPIRED: Rule(410, False),
    Code.TOO_LARGE: Rule(413, False),
    Code.NOT_WRITABLE: Rule(409, False),
    Code.REVISION_MISMATCH: Rule(409, True),
    Code.SEQUENCE_GAP: Rule(409, True),
    Code.SEQUENCE_REUSED: Rule(409, False),
    Code.BASE_AHEAD: Rule(409, False),
    Code.STAMP_AHEAD: Rule(422, True),
    Code.LOG_COMPACTED: Rule(410, False),
    Code.LOCKED: Rule(409, True),
    Code.STALE_LOCK: Rule(409, False),
    Code.ALREADY_RESOLVED: Rule(409, False),
    Code.RATE_LIMITED: Rule(429, True),
    Code.LIMIT_REACHED: Rule(429, True),
    Code.TIMEOUT: Rule(504, True),
    Code.UNAVAILABLE: Rule(503, True),
    Code.INTERNAL: Rule(500, True),
}


class GatewayError(Exception):
    """A request that cannot be carried out. *reason* is one sentence for the person who asked."""

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        retry_after_ms: int = 0,
        detail: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        self.detail = dict(detail or {})

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return RULES[self.code].status

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return RULES[self.code].retry
