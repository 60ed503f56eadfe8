"""Documents in a SQLite file (D2): write-ahead log, ``synchronous=FULL``, group commit.

One process writes the file. Writes queue here, and one task gives all that have come to one thread
in one transaction, so that the cost of an fsync is shared and an operation costs no hop between
threads. Reads have a connection and a thread of their own and see what is committed.

After a failed commit (disk full, I/O error) everything in it is refused, nothing is tried again
behind the caller's back, and the file is opened afresh for the next write.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

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
from statesync.encoding import conflict_to_text, document_to_text, lock_to_text
from statesync.sql import (
    SCHEMA,
    SCHEMA_VERSION,
    content_columns,
    operation_row,
    read_conflict,
    read_conflict_of,
    read_conflicts,
    read_document,
    read_documents,
    read_load,
    read_mark,
    read_operation,
    read_operations,
    read_snapshot,
    read_totals,
)
from statesync.store import Append, ClientMark, Loaded, StoredSnapshot, Totals

T = TypeVar("T")
_Write: TypeAlias = Callable[[sqlite3.Connection], Any]
_Item: TypeAlias = tuple["Append | _Write", "asyncio.Future[Any]"]
_RECENT_SNAPSHOTS = 4
_MAX_BATCH = 4096


class SqliteStore:
    """A store in the file at *location*."""

    durability = Durability.D2

    def __init__(self, location: str) -> None:
        """Use the file at *location*, which is created where missing."""
        if not location:
            raise ValueError("the sqlite state store needs a location: the path of its file")
        self._location = location
        self._writes = ThreadPoolExecutor(1, "statesync-write")
        self._reads = ThreadPoolExecutor(1, "statesync-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._queue: list[_Item] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.commits = 0
        """Transactions so far; operations over this is how well commits are shared."""

    async def open(self) -> None:
        """Open the file; raises `ServiceUnavailable` if it cannot."""
        loop = asyncio.get_running_loop()
        try:
            Path(self._location).parent.mkdir(parents=True, exist_ok=True)
            await loop.run_in_executor(self._writes, self._open_writer)
            self._reader = await loop.run_in_executor(self._reads, self._connect)
        except (OSError, sqlite3.Error) as error:
            raise ServiceUnavailable(f"cannot open {self._location}: {error}") from error
        self._task = asyncio.create_task(self._run(), name="state-store-writer")

    async def close(self) -> None:
        """Finish every write that was given and close the file."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        loop = asyncio.get_running_loop()
        if self._reader is not None:
            await loop.run_in_executor(self._reads, self._reader.close)
        await loop.run_in_executor(self._writes, self._close_writer)
        self._writes.shutdown()
        self._reads.shutdown()

    async def create(self, document: Document, content: JsonValue | bytes) -> bool:
        """Keep a new document."""

        def write(db: sqlite3.Connection) -> bool:
            done = db.execute(
                "INSERT INTO documents (id, state, type, created_by, owner, public, version,"
                " revision, last_token, body) VALUES (?,?,?,?,?,?,?,?,0,?) ON CONFLICT DO NOTHING",
                (
                    document.id,
                    document.state.value,
                    document.type.value,
                    document.created_by,
                    document.permissions.owner,
                    document.permissions.public,
                    document.version,
                    document.revision,
                    document_to_text(document),
                ),
            )
            if done.rowcount == 0:
                return False
            _write_members(db, document)
            db.execute("INSERT INTO snapshots VALUES (?,?,?,?)", (document.id, 0, *columns))
            return True

        columns = content_columns(content)
        return await self._submit(write)

    async def load(self, doc_id: str) -> Loaded | None:
        """Return a document to be opened."""
        return await self._read(lambda db: read_load(db, doc_id))

    async def document(self, doc_id: str) -> Document | None:
        """Return a document's settings."""
        return await self._read(lambda db: read_document(db, doc_id))

    async def update(self, document: Document, expected_revision: int) -> bool:
        """Replace a document's settings if they stand at *expected_revision*."""

        def write(db: sqlite3.Connection) -> bool:
            done = db.execute(
                "UPDATE documents SET state = ?, owner = ?, public = ?, revision = ?, body = ?"
                " WHERE id = ? AND revision = ?",
                (
                    document.state.value,
                    document.permissions.owner,
                    document.permissions.public,
                    document.revision,
                    document_to_text(document),
                    document.id,
                    expected_revision,
                ),
            )
            if done.rowcount == 0:
                return False
            db.execute("DELETE FROM members WHERE doc_id = ?", (document.id,))
            _write_members(db, document)
            return True

        return await self._submit(write)

    async def documents(
        self, where: DocumentFilter, reader: str | None, after: str, limit: int
    ) -> tuple[list[Document], int]:
        """Return one page and the total."""
        return await self._read(lambda db: read_documents(db, where, reader, after, limit))

    def append(self, entry: Append) -> "asyncio.Future[None] | None":
        """Add an operation to the next transaction."""
        return self._enqueue(entry)

    async def operations(self, doc_id: str, after: int, limit: int) -> list[Operation]:
        """Return operations after a version."""
        return await self._read(lambda db: read_operations(db, doc_id, after, limit))

    async def operation(self, doc_id: str, client_id: str, client_seq: int) -> Operation | None:
        """Return the operation that a client sent under a sequence."""
        return await self._read(lambda db: read_operation(db, doc_id, client_id, client_seq))

    async def mark(self, doc_id: str, client_id: str) -> ClientMark | None:
        """Return how far a client has come."""
        return await self._read(lambda db: read_mark(db, doc_id, client_id))

    async def save_snapshot(self, doc_id: str, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot, the first, and a few recent ones."""

        def write(db: sqlite3.Connection) -> None:
            # Of a log that was refused meanwhile there must be no snapshot either.
            db.execute(
                "INSERT INTO snapshots SELECT id, ?, ?, ? FROM documents"
                " WHERE id = ? AND version >= ? ON CONFLICT DO NOTHING",
                (snapshot.version, *columns, doc_id, snapshot.version),
            )
            db.execute(
                "DELETE FROM snapshots WHERE doc_id = ?1 AND version > 0 AND version NOT IN"
                " (SELECT version FROM snapshots WHERE doc_id = ?1 ORDER BY version DESC LIMIT ?2)",
                (doc_id, _RECENT_SNAPSHOTS),
            )

        columns = content_columns(snapshot.content)
        await self._submit(write)

    async def snapshot_at(self, doc_id: str, version: int) -> StoredSnapshot | None:
        """Return the newest snapshot that is not after a version."""
        return await self._read(lambda db: read_snapshot(db, doc_id, version))

    async def conflicts(self, doc_id: str, pending_only: bool, limit: int) -> list[Conflict]:
        """Return conflicts, newest first."""
        return await self._read(lambda db: read_conflicts(db, doc_id, pending_only, limit))

    async def conflict(self, doc_id: str, conflict_id: str) -> Conflict | None:
        """Return one conflict."""
        return await self._read(lambda db: read_conflict(db, doc_id, conflict_id))

    async def conflict_of(self, doc_id: str, operation_id: str) -> Conflict | None:
        """Return the conflict that an operation met."""
        return await self._read(lambda db: read_conflict_of(db, doc_id, operation_id))

    async def save_lock(self, lock: Lock) -> None:
        """Keep or renew a lock."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO locks VALUES (?,?,?) ON CONFLICT DO UPDATE SET body = excluded.body",
                (lock.doc_id, lock.fencing_token, lock_to_text(lock)),
            )
            db.execute(
                "UPDATE documents SET last_token = max(last_token, ?) WHERE id = ?",
                (lock.fencing_token, lock.doc_id),
            )

        await self._submit(write)

    async def drop_locks(self, doc_id: str, tokens: Sequence[int]) -> None:
        """Forget locks."""
        rows = [(doc_id, token) for token in tokens]
        await self._submit(
            lambda db: db.executemany("DELETE FROM locks WHERE doc_id = ? AND token = ?", rows)
        )

    async def totals(self) -> Totals:
        """Return counts."""
        return await self._read(read_totals)

    # Below: the writer.

    async def _submit(self, write: Callable[[sqlite3.Connection], T]) -> T:
        # Shielded: a caller that gives up must not cancel what others share.
        result: T = await asyncio.shield(self._enqueue(write))
        return result

    def _enqueue(self, item: "Append | _Write") -> "asyncio.Future[Any]":
        if self._closing or self._task is None:
            raise ServiceUnavailable("the state store is closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._wake.set()
        return future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue[:_MAX_BATCH], self._queue[_MAX_BATCH:]
                outcomes = await loop.run_in_executor(self._writes, self._commit, batch)
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if future.done():
                        continue
                    if isinstance(outcome, Exception):
                        future.set_exception(outcome)
                        future.exception()  # heard: the caller may have gone
                    else:
                        future.set_result(outcome)
            if self._closing:
                return

    def _commit(self, batch: list[_Item]) -> list[Any]:
        """Write a batch in one transaction; runs in the writer's thread."""
        outcomes: list[Any] = [None] * len(batch)
        try:
            if self._writer is None:
                self._open_writer()
            db = self._writer
            assert db is not None
            db.execute("BEGIN IMMEDIATE")
            self._write_batch(db, batch, outcomes)
            db.execute("COMMIT")
            self.commits += 1
        except sqlite3.Error as error:
            self._close_writer()
            refused = ServiceUnavailable(f"nothing was saved: {error}")
            return [refused] * len(batch)
        return outcomes

    def _write_batch(self, db: sqlite3.Connection, batch: list[_Item], outcomes: list[Any]) -> None:
        at = 0
        while at < len(batch):
            item = batch[at][0]
            if not isinstance(item, Append):
                outcomes[at] = item(db)
                at += 1
                continue
            end = at
            logs: dict[str, list[int]] = {}
            while end < len(batch):
                entry = batch[end][0]
                if not isinstance(entry, Append):
                    break
                logs.setdefault(entry.operation.doc_id, []).append(end)
                end += 1
            for doc_id, places in logs.items():
                entries = [batch[place][0] for place in places]
                error = _append(db, doc_id, [e for e in entries if isinstance(e, Append)])
                if error is not None:
                    for place in places:
                        outcomes[place] = error
            at = end

    def _open_writer(self) -> None:
        db = self._connect()
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found not in (0, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(
                    f"the file has schema {found}, this program reads {SCHEMA_VERSION}"
                )
            db.executescript(SCHEMA)
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except sqlite3.Error:
            db.close()
            raise
        self._writer = db

    def _close_writer(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._location, isolation_level=None, timeout=5.0)
        db.execute("PRAGMA busy_timeout=5000")
        return db

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None or self._closing:
            raise ServiceUnavailable("the state store is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reads, query, self._reader)
        except sqlite3.Error as error:
            raise ServiceUnavailable(f"cannot read {self._location}: {error}") from error


def _append(
    db: sqlite3.Connection, doc_id: str, entries: list[Append]
) -> ServiceUnavailable | None:
    """Add operations of one log, all or none of them."""
    first, last = entries[0].operation, entries[-1].operation
    db.execute("SAVEPOINT log")
    reason = ""
    done = db.execute(
        "UPDATE documents SET version = ? WHERE id = ? AND version = ?",
        (last.version, doc_id, first.version - 1),
    )
    if done.rowcount != 1:
        reason = "its log moved on"
    else:
        for entry in entries:
            token = entry.operation.fencing_token
            if (
                token
                and not db.execute(
                    "SELECT 1 FROM locks WHERE doc_id = ? AND token = ?", (doc_id, token)
                ).fetchone()
            ):
                reason = f"the lock {token} is gone"
    if not reason:
        try:
            _insert(db, doc_id, entries)
        except sqlite3.IntegrityError as error:
            reason = str(error)
    if reason:
        db.execute("ROLLBACK TO log")
        db.execute("RELEASE log")
        return ServiceUnavailable(f"document {doc_id} was not written: {reason}; open it again")
    db.execute("RELEASE log")
    return None


def _insert(db: sqlite3.Connection, doc_id: str, entries: list[Append]) -> None:
    db.executemany(
        "INSERT INTO operations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [operation_row(entry.operation) for entry in entries],
    )
    # One mark for each client, however many operations it sent.
    marks = {e.operation.client_id: e.operation for e in entries}
    db.executemany(
        "INSERT INTO clients VALUES (?,?,?,?)"
        " ON CONFLICT DO UPDATE SET client_seq = excluded.client_seq",
        [(doc_id, o.client_id, o.user_id, o.client_seq) for o in marks.values()],
    )
    db.executemany(
        "INSERT INTO conflicts VALUES (?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET pending = excluded.pending, body = excluded.body",
        [
            (doc_id, c.id, c.incoming.version, c.incoming.id, c.is_pending, conflict_to_text(c))
            for c in (entry.conflict for entry in entries)
            if c is not None
        ],
    )


def _write_members(db: sqlite3.Connection, document: Document) -> None:
    if document.state is DocumentState.DELETED:
        return
    users = document.permissions.editors | document.permissions.viewers
    db.executemany("INSERT INTO members VALUES (?,?)", [(document.id, user) for user in users])
