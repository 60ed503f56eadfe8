"""The codes that an `Error` reply may carry: HTTP status, and whether a retry is welcome.

One table for all doors. A service's error becomes one of these in `gateway.router`.
"""

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
    LOCKED = "locked"
    GONE = "gone"
    TOO_LARGE = "too_large"
    CLOCK_AHEAD = "clock_ahead"
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
    Code.LOCKED: Rule(409, True),
    Code.GONE: Rule(410, False),
    Code.TOO_LARGE: Rule(413, False),
    Code.CLOCK_AHEAD: Rule(422, False),
    Code.RATE_LIMITED: Rule(429, True),
    Code.LIMIT_REACHED: Rule(429, True),
    Code.TIMEOUT: Rule(504, True),
    Code.UNAVAILABLE: Rule(503, True),
    Code.INTERNAL: Rule(500, True),
}


class GatewayError(Exception):
    """A request that cannot be carried out. *reason* is one sentence for the person who asked."""

    def __init__(self, code: Code, reason: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retry_after_ms = retry_after_ms

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return RULES[self.code].status

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return RULES[self.code].retry
