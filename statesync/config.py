"""Settings of the state service."""

from dataclasses import dataclass

from statesync.api import Durability


@dataclass(frozen=True)
class StateSyncConfig:
    """What the service promises and its bounds. A frozen value; see each field's cost."""

    durability: Durability = Durability.D0
    """The least an acknowledgement must survive; a store that gives less refuses to start."""
    default_strategy: str = "last_writer_wins"
    """For structured documents that name none; text documents have ``text``."""
    snapshot_every: int = 1000
    """Operations between snapshots. Few: larger files; many: a document opens slowly."""
    history: int = 1024
    """Operations an open document remembers for conflicts; older bases are read from the store."""
    max_base_lag: int = 10_000
    """Operations an edit may be behind; beyond it the client must read the document again. Many:
    one stale edit costs a replay of as many operations."""
    max_open_documents: int = 1000
    """Documents held in memory; above it the least recently used idle one is closed."""
    max_operation_bytes: int = 256 << 10
    """The payload of one operation."""
    max_document_bytes: int = 16 << 20
    """The content of one document."""
    max_batch: int = 1000
    """Operations in one `apply_many`, and in one page of the log."""
    max_subscribers: int = 10_000
    """Subscriptions of one document."""
    subscriber_queue: int = 256
    """Unread operations of a subscriber before it is caught up from the log instead."""
    lock_ttl_s: float = 30.0
    """The life of a lock that names none."""
    max_lock_ttl_s: float = 3600.0
    """The longest life of a lock without renewal."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in (
            "snapshot_every",
            "history",
            "max_base_lag",
            "max_open_documents",
            "max_operation_bytes",
            "max_document_bytes",
            "max_batch",
            "max_subscribers",
            "subscriber_queue",
            "lock_ttl_s",
            "max_lock_ttl_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"statesync {name} must be above 0, not {getattr(self, name)}")
        if self.lock_ttl_s > self.max_lock_ttl_s:
            raise ValueError(
                f"statesync lock_ttl_s ({self.lock_ttl_s}) must not exceed max_lock_ttl_s "
                f"({self.max_lock_ttl_s})"
            )
