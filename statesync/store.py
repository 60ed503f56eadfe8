"""What a state store must do: keep logs in order, and say truly what they survive.

A store knows no rule of documents. It is opened once, used from one event loop, and closed. Writes
take effect in the order in which they are given to it. A write is kept whole or not at all, and its
future ends only when it survives what `durability` says; after a failure it ends with
`statesync.api.ServiceUnavailable`, and nothing of it may be believed until the document is loaded
again.
"""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from statesync.api import (
    Conflict,
    Document,
    DocumentFilter,
    Durability,
    JsonValue,
    Lock,
    Operation,
)


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """Content at a version: an object, or the encoded state of text."""

    version: int
    content: JsonValue | bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document as it is opened: its newest snapshot and what came after."""

    document: Document
    snapshot: StoredSnapshot
    operations: tuple[Operation, ...]
    locks: tuple[Lock, ...]
    last_token: int
    """The highest fencing token ever given."""


@dataclass(frozen=True, slots=True)
class ClientMark:
    """How far a client has come in a document; outlives the operations themselves."""

    user_id: str
    client_seq: int


@dataclass(frozen=True, slots=True)
class Append:
    """One operation to add to its log, with all that must be true or false together with it.

    ``operation`` has its version, which must be the next. If its ``fencing_token`` is not 0, that
    lock must still be in the store. ``conflict`` is kept, replacing one of the same id.
    """

    operation: Operation
    conflict: Conflict | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the whole store."""

    documents: int
    active: int
    archived: int
    operations: int
    conflicts: int
    resolved: int
    locks: int


class StateStore(Protocol):
    """Keeps documents; raises `ServiceUnavailable` when it cannot."""

    durability: Durability

    def __init__(self, location: str = "") -> None:
        """Take where the documents are: a file, an address, or nothing. Raises ValueError."""
        ...

    async def open(self) -> None:
        """Make ready; called once before anything else."""
        ...

    async def close(self) -> None:
        """Finish every write that was given and release everything."""
        ...

    async def create(self, document: Document, content: JsonValue | bytes) -> bool:
        """Keep a new document with its content at version 0; False if its id is taken."""
        ...

    async def load(self, doc_id: str) -> Loaded | None:
        """Return a document to be opened."""
        ...

    async def document(self, doc_id: str) -> Document | None:
        """Return a document's settings."""
        ...

    async def update(self, document: Document, expected_revision: int) -> bool:
        """Replace a document's settings if they stand at *expected_revision*."""
        ...

    async def documents(
        self, where: DocumentFilter, reader: str | None, after: str, limit: int
    ) -> tuple[list[Document], int]:
        """Return documents in order of id from *after*, and how many match in all.

        *reader* None sees all; else those that are public, or name the user as owner, editor or
        viewer, and of the deleted ones only the user's own.
        """
        ...

    def append(self, entry: Append) -> "Future[None] | None":
        """Add an operation; None means that it is as durable as it will be already."""
        ...

    async def operations(self, doc_id: str, after: int, limit: int) -> list[Operation]:
        """Return operations of the log after a version, oldest first."""
        ...

    async def operation(self, doc_id: str, client_id: str, client_seq: int) -> Operation | None:
        """Return the operation that a client sent under a sequence."""
        ...

    async def mark(self, doc_id: str, client_id: str) -> ClientMark | None:
        """Return how far a client has come."""
        ...

    async def save_snapshot(self, doc_id: str, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot; older ones may be dropped, the first and some recent ones not."""
        ...

    async def snapshot_at(self, doc_id: str, version: int) -> StoredSnapshot | None:
        """Return the newest snapshot that is not after a version."""
        ...

    async def conflicts(self, doc_id: str, pending_only: bool, limit: int) -> list[Conflict]:
        """Return conflicts, newest first."""
        ...

    async def conflict(self, doc_id: str, conflict_id: str) -> Conflict | None:
        """Return one conflict."""
        ...

    async def conflict_of(self, doc_id: str, operation_id: str) -> Conflict | None:
        """Return the conflict that an operation met, if it met one."""
        ...

    async def save_lock(self, lock: Lock) -> None:
        """Keep or renew a lock; its token is remembered as the document's highest."""
        ...

    async def drop_locks(self, doc_id: str, tokens: Sequence[int]) -> None:
        """Forget locks."""
        ...

    async def totals(self) -> Totals:
        """Return counts."""
        ...
