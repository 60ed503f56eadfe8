"""Sessions in memory; they end with the process."""

from session.api import SessionFilter
from session.index import SessionIndex
from session.store import Record


class MemoryStore:
    """A store that is its index."""

    def __init__(self, location: str = "") -> None:
        """Ignore *location*, which every store is given."""
        self._index = SessionIndex()

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing: the records live as long as this object."""

    async def insert(self, record: Record) -> bool:
        """Keep a new record."""
        return self._index.insert(record)

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
        """Replace a record if it stands at *expected_version*."""
        return self._index.put(record, expected_version)

    async def remove(self, session_id: str) -> None:
        """Forget a record."""
        self._index.remove(session_id)

    async def page(self, where: SessionFilter, after: str, limit: int) -> tuple[list[Record], int]:
        """Return one page and the total."""
        return self._index.page(where, after, limit)

    async def all(self) -> list[Record]:
        """Return every record."""
        return list(self._index)

    async def live_count(self) -> int:
        """Return how many sessions are not final."""
        return self._index.live
