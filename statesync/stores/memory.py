"""Documents in memory (D0); they end with the process."""

from asyncio import Future
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from statesync.api import (
    Conflict,
    Document,
    DocumentFilter,
    DocumentState,
    Durability,
    JsonValue,
    Lock,
    Operation,
    ServiceUnavailable,
)
from statesync.store import Append, ClientMark, Loaded, StoredSnapshot, Totals
from statesync.tree import copied_json

_RECENT_SNAPSHOTS = 4


@dataclass(slots=True)
class _Log:
    document: Document
    operations: list[Operation] = field(default_factory=list)
    by_name: dict[tuple[str, int], int] = field(default_factory=dict)
    marks: dict[str, ClientMark] = field(default_factory=dict)
    snapshots: list[StoredSnapshot] = field(default_factory=list)
    conflicts: dict[str, Conflict] = field(default_factory=dict)
    locks: dict[int, Lock] = field(default_factory=dict)
    last_token: int = 0

    def current(self) -> Document:
        return replace(self.document, version=len(self.operations))


class MemoryStore:
    """A store of lists and dictionaries."""

    durability = Durability.D0

    def __init__(self, location: str = "") -> None:
        """Ignore *location*, which every store is given."""
        self._logs: dict[str, _Log] = {}
        self._ids: list[str] = []

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing: the documents live as long as this object."""

    async def create(self, document: Document, content: JsonValue | bytes) -> bool:
        """Keep a new document."""
        if document.id in self._logs:
            return False
        log = _Log(document)
        log.snapshots.append(StoredSnapshot(0, _own(content)))
        self._logs[document.id] = log
        insort(self._ids, document.id)
        return True

    async def load(self, doc_id: str) -> Loaded | None:
        """Return a document to be opened."""
        log = self._logs.get(doc_id)
        if log is None:
            return None
        newest = log.snapshots[-1]
        return Loaded(
            document=log.current(),
            snapshot=StoredSnapshot(newest.version, _own(newest.content)),
            operations=tuple(log.operations[newest.version :]),
            locks=tuple(log.locks.values()),
            last_token=log.last_token,
        )

    async def document(self, doc_id: str) -> Document | None:
        """Return a document's settings."""
        log = self._logs.get(doc_id)
        return None if log is None else log.current()

    async def update(self, document: Document, expected_revision: int) -> bool:
        """Replace a document's settings; its version stays the log's."""
        log = self._logs.get(document.id)
        if log is None or log.document.revision != expected_revision:
            return False
        log.document = document
        return True

    async def documents(
        self, where: DocumentFilter, reader: str | None, after: str, limit: int
    ) -> tuple[list[Document], int]:
        """Return one page and the total."""
        total = 0
        page: list[Document] = []
        for doc_id in self._ids:
            document = self._logs[doc_id].current()
            if _matches(document, where) and (reader is None or _reads(reader, document)):
                total += 1
                if doc_id > after and len(page) < limit:
                    page.append(document)
        return page, total

    def append(self, entry: Append) -> "Future[None] | None":
        """Add an operation at once."""
        operation = entry.operation
        log = self._logs.get(operation.doc_id)
        if log is None or operation.version != len(log.operations) + 1:
            raise ServiceUnavailable(
                f"the log of {operation.doc_id} moved on: open the document again"
            )
        if operation.fencing_token and operation.fencing_token not in log.locks:
            raise ServiceUnavailable(f"the lock {operation.fencing_token} is gone from the store")
        name = (operation.client_id, operation.client_seq)
        if name in log.by_name:
            raise ServiceUnavailable(f"{name} is in the log already: open the document again")
        log.operations.append(operation)
        log.by_name[name] = operation.version
        log.marks[operation.client_id] = ClientMark(operation.user_id, operation.client_seq)
        if entry.conflict is not None:
            log.conflicts[entry.conflict.id] = entry.conflict
        return None

    async def operations(self, doc_id: str, after: int, limit: int) -> list[Operation]:
        """Return operations after a version."""
        log = self._logs.get(doc_id)
        return [] if log is None else log.operations[after : after + limit]

    async def operation(self, doc_id: str, client_id: str, client_seq: int) -> Operation | None:
        """Return the operation that a client sent under a sequence."""
        log = self._logs.get(doc_id)
        version = None if log is None else log.by_name.get((client_id, client_seq))
        return None if log is None or version is None else log.operations[version - 1]

    async def mark(self, doc_id: str, client_id: str) -> ClientMark | None:
        """Return how far a client has come."""
        log = self._logs.get(doc_id)
        return None if log is None else log.marks.get(client_id)

    async def save_snapshot(self, doc_id: str, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot, the first, and a few recent ones."""
        log = self._logs.get(doc_id)
        if log is None or len(log.operations) < snapshot.version:
            return
        snapshots = log.snapshots
        at = bisect_left([s.version for s in snapshots], snapshot.version)
        if at < len(snapshots) and snapshots[at].version == snapshot.version:
            return
        snapshots.insert(at, StoredSnapshot(snapshot.version, _own(snapshot.content)))
        del snapshots[1:-_RECENT_SNAPSHOTS]

    async def snapshot_at(self, doc_id: str, version: int) -> StoredSnapshot | None:
        """Return the newest snapshot that is not after a version."""
        log = self._logs.get(doc_id)
        if log is None:
            return None
        found = next(s for s in reversed(log.snapshots) if s.version <= version)
        return StoredSnapshot(found.version, _own(found.content))

    async def conflicts(self, doc_id: str, pending_only: bool, limit: int) -> list[Conflict]:
        """Return conflicts, newest first."""
        log = self._logs.get(doc_id)
        found: Iterable[Conflict] = () if log is None else reversed(log.conflicts.values())
        return [c for c in found if c.is_pending or not pending_only][:limit]

    async def conflict(self, doc_id: str, conflict_id: str) -> Conflict | None:
        """Return one conflict."""
        log = self._logs.get(doc_id)
        return None if log is None else log.conflicts.get(conflict_id)

    async def conflict_of(self, doc_id: str, operation_id: str) -> Conflict | None:
        """Return the conflict that an operation met."""
        log = self._logs.get(doc_id)
        found = () if log is None else log.conflicts.values()
        return next((c for c in found if c.incoming.id == operation_id), None)

    async def save_lock(self, lock: Lock) -> None:
        """Keep or renew a lock."""
        log = self._logs[lock.doc_id]
        log.locks[lock.fencing_token] = lock
        log.last_token = max(log.last_token, lock.fencing_token)

    async def drop_locks(self, doc_id: str, tokens: Sequence[int]) -> None:
        """Forget locks."""
        for token in tokens:
            self._logs[doc_id].locks.pop(token, None)

    async def totals(self) -> Totals:
        """Return counts."""
        logs = self._logs.values()
        return Totals(
            documents=sum(log.document.state is not DocumentState.DELETED for log in logs),
            active=sum(log.document.state is DocumentState.ACTIVE for log in logs),
            archived=sum(log.document.state is DocumentState.ARCHIVED for log in logs),
            operations=sum(len(log.operations) for log in logs),
            conflicts=sum(len(log.conflicts) for log in logs),
            resolved=sum(not c.is_pending for log in logs for c in log.conflicts.values()),
            locks=sum(len(log.locks) for log in logs),
        )


def _own(content: JsonValue | bytes) -> JsonValue | bytes:
    # What is kept must not change when the caller's copy does.
    return content if isinstance(content, bytes) else copied_json(content)


def _matches(document: Document, where: DocumentFilter) -> bool:
    if where.state is None:
        if document.state is DocumentState.DELETED:
            return False
    elif document.state is not where.state:
        return False
    if where.type is not None and document.type is not where.type:
        return False
    return where.created_by is None or document.created_by == where.created_by


def _reads(user_id: str, document: Document) -> bool:
    allowed = document.permissions
    if user_id == allowed.owner:
        return True
    if document.state is DocumentState.DELETED:
        return False
    return allowed.public or user_id in allowed.editors or user_id in allowed.viewers
