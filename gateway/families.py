"""Refresh-token families in SQLite, so that a restart logs nobody out and revives nobody."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from gateway.tokens import Family

_SCHEMA = """
CREATE TABLE IF NOT EXISTS families (
    family TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    username TEXT NOT NULL,
    current_hash TEXT NOT NULL,
    expires_at_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS families_of_user ON families (user_id);
CREATE INDEX IF NOT EXISTS families_by_end ON families (expires_at_ns);
"""


class SqliteFamilies:
    """A `gateway.tokens.FamilyStore` in a file of its own; None keeps it in memory."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the file. Raises sqlite3.Error when it is not a database."""
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._db = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._lock = asyncio.Lock()

    async def get(self, family: str) -> Family | None:
        """Return a family."""
        rows = await self._run(
            "SELECT family, user_id, username, current_hash, expires_at_ns FROM families"
            " WHERE family = ?",
            (family,),
        )
        return Family(*rows[0]) if rows else None

    async def put(self, family: Family) -> None:
        """Add or replace a family."""
        await self._run(
            "INSERT OR REPLACE INTO families VALUES (?, ?, ?, ?, ?)",
            (
                family.family,
                family.user_id,
                family.username,
                family.current_hash,
                family.expires_at_ns,
            ),
        )

    async def swap(self, family: Family, expected_hash: str) -> bool:
        """Replace a family if its current hash is *expected_hash*; say whether it was."""
        rows = await self._run(
            "UPDATE families SET username = ?, current_hash = ?, expires_at_ns = ?"
            " WHERE family = ? AND current_hash = ? RETURNING family",
            (
                family.username,
                family.current_hash,
                family.expires_at_ns,
                family.family,
                expected_hash,
            ),
        )
        return bool(rows)

    async def delete(self, family: str) -> None:
        """Revoke a family; twice is no error."""
        await self._run("DELETE FROM families WHERE family = ?", (family,))

    async def delete_user(self, user_id: str) -> None:
        """Revoke every family of a user."""
        await self._run("DELETE FROM families WHERE user_id = ?", (user_id,))

    async def delete_expired(self, now_ns: int) -> None:
        """Forget what has expired."""
        await self._run("DELETE FROM families WHERE expires_at_ns <= ?", (now_ns,))

    async def close(self) -> None:
        """Close the file."""
        async with self._lock:
            self._db.close()

    async def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        # One statement at a time, off the loop: a commit waits for the disk.
        async with self._lock:
            return await asyncio.to_thread(self._execute, statement, values)

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values).fetchall()
