"""A process that edits documents in a SQLite file and prints each acknowledgement.

Run as ``python -m tests.support.acknowledging_child FILE ROUND``; the test kills it at any moment.
Each line is ``doc_id client_id client_seq version``, written only after the acknowledgement.
"""

import asyncio
import sys

from uuid_utils.compat import uuid7

from statesync.api import Actor, DocumentType, NewDocument, Operation, OperationType
from statesync.config import StateSyncConfig
from statesync.service import LocalStateSyncService
from statesync.stores import STORES
from statesync.strategies import STRATEGIES
from svckit.clock import SystemClock

ACTOR = Actor("writer")


async def edit(service: LocalStateSyncService, doc_id: str, client_id: str) -> None:
    """Edit for ever."""
    for seq in range(1, 1_000_000):
        operation = Operation(
            doc_id=doc_id,
            client_id=client_id,
            client_seq=seq,
            type=OperationType.UPDATE,
            target=(client_id, str(seq % 7)),
            payload=seq,
        )
        answer = await service.apply(ACTOR, operation)
        sys.stdout.write(f"{doc_id} {client_id} {seq} {answer.version}\n")
        sys.stdout.flush()


async def main(path: str, turn: str) -> None:
    """Edit three documents with three clients each."""
    store = STORES.load("sqlite")(path)
    config = StateSyncConfig(snapshot_every=20)
    service = LocalStateSyncService(store, SystemClock(), uuid7, STRATEGIES, config)
    await service.start()
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            new = NewDocument(f"d{number}", DocumentType.SHEET)
            doc_id = (await service.create_document(ACTOR, new)).id
            for client in range(3):
                tasks.create_task(edit(service, doc_id, f"{turn}-c{client}"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
