"""Records in memory with their indexes by id, connection and user. Pure; shared by the stores."""

import heapq
from collections.abc import Iterable, Iterator

from session.api import SessionFilter
from session.store import Record


class SessionIndex:
    """Finds records three ways, each in constant time."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._by_connection: dict[str, str] = {}
        self._by_user: dict[str, set[str]] = {}
        self._live = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    @property
    def live(self) -> int:
        """How many records are not final."""
        return self._live

    def insert(self, record: Record) -> bool:
        """Add a record; False if its id is taken, or its connection by a live session."""
        session = record.session
        if session.id in self._records or session.connection_id in self._by_connection:
            return False
        self._records[session.id] = record
        self._link(record)
        return True

    def get(self, session_id: str) -> Record | None:
        """Return the record with this id."""
        return self._records.get(session_id)

    def by_connection(self, connection_id: str) -> Record | None:
        """Return the live record attached to a connection."""
        session_id = self._by_connection.get(connection_id)
        return None if session_id is None else self._records[session_id]

    def of_user(self, user_id: str) -> list[Record]:
        """Return the live records of a user."""
        return [self._records[key] for key in self._by_user.get(user_id, ())]

    def put(self, record: Record, expected_version: int) -> bool:
        """Replace a record if it stands at *expected_version*."""
        before = self._records.get(record.session.id)
        if before is None or before.session.version != expected_version:
            return False
        self._unlink(before)
        self._records[record.session.id] = record
        self._link(record)
        return True

    def remove(self, session_id: str) -> Record | None:
        """Remove and return a record."""
        record = self._records.pop(session_id, None)
        if record is not None:
            self._unlink(record)
        return record

    def page(self, where: SessionFilter, after: str, limit: int) -> tuple[list[Record], int]:
        """Return matching records in order of id from *after*, and how many match in all."""
        matching = [r for r in self._candidates(where) if _matches(r, where)]
        rest = (r for r in matching if r.session.id > after)
        return heapq.nsmallest(limit, rest, key=lambda r: r.session.id), len(matching)

    def _candidates(self, where: SessionFilter) -> Iterable[Record]:
        live_only = where.state is None or not where.state.is_final
        if where.user_id is not None and live_only:
            return self.of_user(where.user_id)
        return self._records.values()

    def _link(self, record: Record) -> None:
        session = record.session
        if session.state.is_final:
            return
        self._live += 1
        if session.connection_id:
            self._by_connection[session.connection_id] = session.id
        self._by_user.setdefault(session.user_id, set()).add(session.id)

    def _unlink(self, record: Record) -> None:
        session = record.session
        if session.state.is_final:
            return
        self._live -= 1
        if self._by_connection.get(session.connection_id) == session.id:
            del self._by_connection[session.connection_id]
        of_user = self._by_user[session.user_id]
        of_user.discard(session.id)
        if not of_user:
            del self._by_user[session.user_id]


def _matches(record: Record, where: SessionFilter) -> bool:
    session = record.session
    if where.user_id is not None and session.user_id != where.user_id:
        return False
    if where.state is None:
        return not session.state.is_final
    return session.state is where.state
