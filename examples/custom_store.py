"""A state store of one's own: it keeps documents as another does, and writes an audit trail.

A store is a class with the methods of `statesync.store.StateStore`. To use it in a gateway, install
it under an entry point of the group ``quantum.state_stores``, or build the service as here.
"""

import asyncio
import json
import sys
import tempfile
from asyncio import Future
from pathlib import Path

from uuid_utils.compat import uuid7

from statesync.api import Actor, DocumentType, NewDocument, Operation, OperationType
from statesync.service import LocalStateSyncService
from statesync.store import Append
from statesync.stores.sqlite import SqliteStore
from statesync.strategies import STRATEGIES
from svckit.clock import SystemClock


class AuditedStore(SqliteStore):
    """SQLite, and a line of JSON for every operation that was given to it."""

    def __init__(self, location: str = "") -> None:
        super().__init__(location)
        self._trail = Path(f"{location}.audit.jsonl")

    def append(self, entry: Append) -> "Future[None] | None":
        """Write the line first: better a line too many than an operation nobody can explain."""
        operation = entry.operation
        line = {
            "document": operation.doc_id,
            "version": operation.version,
            "user": operation.user_id,
            "type": operation.type.value,
        }
        with self._trail.open("a") as trail:
            trail.write(json.dumps(line) + "\n")
        return super().append(entry)


async def main(location: Path) -> None:
    """Edit a document."""
    service = LocalStateSyncService(AuditedStore(str(location)), SystemClock(), uuid7, STRATEGIES)
    await service.start()
    actor = Actor("ann")
    document = await service.create_document(
        actor, NewDocument("plan", DocumentType.WHITEBOARD, {})
    )
    for number in range(1, 4):
        operation = Operation(
            doc_id=document.id,
            client_id="ann-laptop",
            client_seq=number,
            type=OperationType.UPDATE,
            target=("step",),
            payload=number,
            base_version=number - 1,
        )
        acknowledgement = await service.apply(actor, operation)
        print(f"version {acknowledgement.version} is kept ({acknowledgement.durability})")
    await service.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "documents.sqlite"
        asyncio.run(main(file))
        sys.stdout.write(Path(f"{file}.audit.jsonl").read_text())
