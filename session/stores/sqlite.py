"""Sessions in a SQLite file, read from memory and written by group commit.

One process owns the file. Reads are answered by the index; a write is in the index at once and in
the file before `insert`, `put` and `remove` return (except heartbeats, see `SessionStore.put`).
Many writes that come together are one transaction, and of several to one session the last is
written. After a failed commit nothing is acknowledged, and the same rows are tried again with the
next write.
"""

import asyncio
import contextlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from session.api import ServiceUnavailable, Session, SessionFilter, SessionState, SessionStats
from session.index import SessionIndex
from session.store import Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    token_hash BLOB NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID
"""
_SCHEMA_VERSION = 1


class SqliteStore:
    """A store in the file at *location*."""

    def __init__(self, location: str) -> None:
        """Use the file at *location*, which is created where missing."""
        if not location:
            raise ValueError("the sqlite session store needs a location: the path of its file")
        self._location = location
        self._index = SessionIndex()
        self._thread = ThreadPoolExecutor(1, "session-store")
        self._database: sqlite3.Connection | None = None
        self._pending: dict[str, Record | None] = {}
        self._committed: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Open the file and read every record; raises `ServiceUnavailable` if it cannot."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, self._open)
        except (OSError, sqlite3.Error) as error:
            raise ServiceUnavailable(f"cannot open {self._location}: {error}") from error
        for token_hash, body in found:
            self._index.insert(Record(_decode(body), token_hash))
        self._writer = asyncio.create_task(self._write(), name="session-store-writer")

    async def close(self) -> None:
        """Commit what is pending and close the file."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            with contextlib.suppress(ServiceUnavailable):
                await self._writer
        if self._database is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def insert(self, record: Record) -> bool:
        """Keep a new record; returns after it is committed."""
        if not self._index.insert(record):
            return False
        await self._commit(record.session.id, record)
        return True

    async def get(self, session_id: str) -> Record | None:
        """Return the record with this id."""
        return self._index.get(session_id)

    async def get_by_connection(self, connection_id: str) -> Record | None:
        """Return the live record attached to a connection."""
        return self._index.by_connection(connection_id)

    async def of_user(self, user_id: str) -> list[Record]:
        """Return the live records of a user."""
        return self._index.of_user(user_id)

    async def put(self, record: Record, *, expected_version: int, durable: bool = True) -> bool:
        """Replace a record if it stands at *expected_version*; returns after the commit."""
        if not self._index.put(record, expected_version):
            return False
        if durable:
            await self._commit(record.session.id, record)
        else:
            self._submit(record.session.id, record)
        return True

    async def remove(self, session_id: str) -> None:
        """Forget a record; returns after the commit."""
        if self._index.remove(session_id) is not None:
            await self._commit(session_id, None)

    async def page(self, where: SessionFilter, after: str, limit: int) -> tuple[list[Record], int]:
        """Return one page and the total."""
        return self._index.page(where, after, limit)

    async def all(self) -> list[Record]:
        """Return every record."""
        return list(self._index)

    async def live_count(self) -> int:
        """Return how many sessions are not final."""
        return self._index.live

    async def _commit(self, session_id: str, record: Record | None) -> None:
        # Shielded: a caller that gives up must not cancel the commit of the others.
        await asyncio.shield(self._submit(session_id, record))

    def _submit(self, session_id: str, record: Record | None) -> "asyncio.Future[None]":
        if self._closing:
            raise ServiceUnavailable("the session store is closed")
        self._pending[session_id] = record
        if self._committed is None:
            self._committed = asyncio.get_running_loop().create_future()
            # A heartbeat's commit has no waiter; its failure must not be reported as unheard.
            self._committed.add_done_callback(lambda done: done.exception())
        self._wake.set()
        return self._committed

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._pending:
                batch, self._pending = self._pending, {}
                committed, self._committed = self._committed, None
                error = await self._write_batch(batch)
                if error is not None:
                    self._pending = {**batch, **self._pending}
                if committed is not None:
                    if error is None:
                        committed.set_result(None)
                    else:
                        committed.set_exception(error)
            if self._closing and not self._committed:
                return

    async def _write_batch(self, batch: dict[str, Record | None]) -> ServiceUnavailable | None:
        rows = [(k, r.token_hash, _encode(r.session)) for k, r in batch.items() if r is not None]
        gone = [(k,) for k, r in batch.items() if r is None]
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._commit_rows, rows, gone)
        except sqlite3.Error as error:
            return ServiceUnavailable(f"the session was not saved: {error}")
        return None

    # In the thread.

    def _open(self) -> list[tuple[bytes, str]]:
        Path(self._location).parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._location, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found not in (0, _SCHEMA_VERSION):
                raise sqlite3.DatabaseError(
                    f"it has sessions of schema {found}, this program reads {_SCHEMA_VERSION}: use "
                    "the program that wrote it, or another file"
                )
            database.execute(_SCHEMA)
            database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            rows = database.execute("SELECT token_hash, body FROM sessions").fetchall()
        except sqlite3.Error:
            database.close()
            raise
        self._database = database
        return rows

    def _commit_rows(self, rows: list[tuple[str, bytes, str]], gone: list[tuple[str]]) -> None:
        database = self._database
        assert database is not None
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (id) "
                "DO UPDATE SET token_hash = excluded.token_hash, body = excluded.body",
                rows,
            )
            database.executemany("DELETE FROM sessions WHERE id = ?", gone)
            database.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise


def _encode(session: Session) -> str:
    return json.dumps(asdict(session), separators=(",", ":"))


def _decode(body: str) -> Session:
    fields = json.loads(body)
    fields["state"] = SessionState(fields["state"])
    fields["stats"] = SessionStats(**fields["stats"])
    return Session(**fields)
