"""Settings of the session service."""

from dataclasses import dataclass

from session.api import DuplicateLogin


@dataclass(frozen=True)
class SessionConfig:
    """How sessions live and how many there may be. A frozen value; see each field's cost."""

    timeout_s: float = 1800.0
    """Life without a heartbeat, where a caller asks for none. Short: clients on a bad network must
    log in again; long: the dead hold memory."""
    max_timeout_s: float = 86_400.0
    """The longest time-out a caller may ask for."""
    idle_after_s: float = 60.0
    """Silence after which ACTIVE becomes IDLE."""
    retain_s: float = 300.0
    """How long the record of an ended session answers "expired" instead of "not found"."""
    max_sessions: int = 1_000_000
    """Live sessions in all; above it `TooManySessions`."""
    max_sessions_per_user: int = 100
    """Live sessions of one user; above it `TooManySessions`."""
    max_metadata_entries: int = 64
    """Metadata keys of one session."""
    max_metadata_bytes: int = 8192
    """UTF-8 bytes of all metadata keys and values of one session."""
    duplicate_login: DuplicateLogin = DuplicateLogin.ALLOW
    """What a second session of a user does: allow, refuse, or replace (the older are closed)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("timeout_s", "max_timeout_s", "idle_after_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"session {name} must be above 0, not {getattr(self, name)}")
        if self.timeout_s > self.max_timeout_s:
            raise ValueError(
                f"session timeout_s ({self.timeout_s}) must not exceed max_timeout_s "
                f"({self.max_timeout_s})"
            )
        if self.retain_s < 0 or self.max_sessions < 1 or self.max_sessions_per_user < 1:
            raise ValueError("session retain_s and the session bounds must be positive")
