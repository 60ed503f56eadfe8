"""What a session store must do: keep records, find them three ways, and write only if unchanged.

A store knows no rule of sessions; it compares versions and keeps indexes. It is opened once, used
from one event loop, and closed.
"""

from dataclasses import dataclass
from typing import Protocol

from session.api import Session, SessionFilter


@dataclass(frozen=True, slots=True)
class Record:
    """A session as it is kept: with the hash of its token."""

    session: Session
    token_hash: bytes


class SessionStore(Protocol):
    """Keeps records; raises `session.api.ServiceUnavailable` when it cannot."""

    def __init__(self, location: str = "") -> None:
        """Take where the records are: a file, an address, or nothing. Raises ValueError."""
        ...

    async def open(self) -> None:
        """Make ready; called once before anything else."""
        ...

    async def close(self) -> None:
        """Write what is outstanding and release everything."""
        ...

    async def insert(self, record: Record) -> bool:
        """Keep a new record; False, and nothing changes, if its id or connection is taken."""
        ...

    async def get(self, session_id: str) -> Record | None:
        """Return the record with this id."""
        ...

    async def get_by_connection(self, connection_id: str) -> Record | None:
        """Return the record of the session, not final, that is attached to this connection."""
        ...

    async def of_user(self, user_id: str) -> list[Record]:
        """Return the records of a user's sessions that are not final."""
        ...

    async def put(self, record: Record, *, expected_version: int, durable: bool = True) -> bool:
        """Replace a record if it stands at *expected_version*, else return False.

        A connection moves to the record that names it last. *durable* False may be written later:
        it is for heartbeats, which a crash may take back.
        """
        ...

    async def remove(self, session_id: str) -> None:
        """Forget a record; an unknown one is no error."""
        ...

    async def page(self, where: SessionFilter, after: str, limit: int) -> tuple[list[Record], int]:
        """Return records in order of id from *after*, and how many match in all."""
        ...

    async def all(self) -> list[Record]:
        """Return every record, for the start of a service."""
        ...

    async def live_count(self) -> int:
        """Return how many sessions are not final."""
        ...
