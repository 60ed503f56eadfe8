"""Builds the services as the contract suites need them: in process, or behind real gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from session.api import SessionService
from session.config import SessionConfig
from session.rpc.client import GrpcSessionClient
from session.rpc.server import serve_sessions
from session.service import LocalSessionService
from session.stores import STORES as SESSION_STORES
from statesync.api import (
    Actor,
    Document,
    DocumentType,
    JsonValue,
    NewDocument,
    Operation,
    OperationType,
    Permissions,
    Stamp,
    StateSyncService,
)
from statesync.api import (
    Path as TreePath,
)
from statesync.config import StateSyncConfig
from statesync.rpc.client import GrpcStateSyncClient
from statesync.rpc.server import serve_documents
from statesync.service import LocalStateSyncService
from statesync.stores import STORES as STATE_STORES
from statesync.strategies import STRATEGIES
from svckit.grpc import channel
from tests.support.clocks import START_WALL_NS, CountingIds, ManualClock

ANNA = Actor("anna", "s-anna")
BEN = Actor("ben", "s-ben")
EVE = Actor("eve", "s-eve")
ADMIN = Actor("root", is_admin=True)
NOW_MS = START_WALL_NS // 1_000_000


@dataclass
class Sessions:
    """A session service with what it runs on."""

    service: SessionService
    local: LocalSessionService
    clock: ManualClock


@dataclass
class Documents:
    """A state service with what it runs on."""

    service: StateSyncService
    local: LocalStateSyncService
    clock: ManualClock

    async def create(
        self,
        content: JsonValue | bytes = None,
        *,
        kind: DocumentType = DocumentType.WHITEBOARD,
        strategy: str = "",
        editors: tuple[str, ...] = ("ben",),
        viewers: tuple[str, ...] = (),
        public: bool = False,
    ) -> Document:
        """Create a document of Anna's that Ben may edit."""
        permissions = Permissions(
            editors=frozenset(editors), viewers=frozenset(viewers), public=public
        )
        return await self.service.create_document(
            ANNA,
            NewDocument("board", kind, content, strategy=strategy, permissions=permissions),
        )


@asynccontextmanager
async def sessions(form: str, folder: Path, config: SessionConfig) -> AsyncIterator[Sessions]:
    """Run a session service; *form* is like ``local-memory`` or ``grpc-sqlite``."""
    door, _, store = form.partition("-")
    clock = ManualClock()
    local = LocalSessionService(
        SESSION_STORES.load(store)(str(folder / "sessions.db")), clock, CountingIds(), config
    )
    await local.start()
    try:
        if door == "local":
            yield Sessions(local, local, clock)
            return
        server = await serve_sessions(local)
        async with channel(f"127.0.0.1:{server.port}") as opened:
            yield Sessions(GrpcSessionClient(opened), local, clock)
        await server.close(0)
    finally:
        await local.close()


@asynccontextmanager
async def documents(form: str, folder: Path, config: StateSyncConfig) -> AsyncIterator[Documents]:
    """Run a state service; *form* is like ``local-memory`` or ``grpc-sqlite``."""
    door, _, store = form.partition("-")
    clock = ManualClock()
    local = LocalStateSyncService(
        STATE_STORES.load(store)(str(folder / "documents.db")),
        clock,
        CountingIds(),
        STRATEGIES,
        config,
    )
    await local.start()
    try:
        if door == "local":
            yield Documents(local, local, clock)
            return
        server = await serve_documents(local)
        async with channel(f"127.0.0.1:{server.port}") as opened:
            yield Documents(GrpcStateSyncClient(opened), local, clock)
        await server.close(0)
    finally:
        await local.close()


class Editor:
    """Makes one client's operations on one document, in order."""

    def __init__(self, document: Document, client_id: str) -> None:
        self.doc_id = document.id
        self.client_id = client_id
        self.seq = 0

    def edit(
        self,
        kind: OperationType,
        target: TreePath = (),
        payload: JsonValue | bytes = None,
        *,
        base: int = 0,
        at_ms: int = 0,
        token: int = 0,
    ) -> Operation:
        """Return the next operation, stamped *at_ms* after the test's beginning."""
        self.seq += 1
        return Operation(
            doc_id=self.doc_id,
            client_id=self.client_id,
            client_seq=self.seq,
            type=kind,
            target=target,
            payload=payload,
            base_version=base,
            stamp=Stamp(NOW_MS + at_ms, 0, self.client_id),
            fencing_token=token,
        )

    def put(
        self, *target: str, value: JsonValue, base: int = 0, at_ms: int = 0, token: int = 0
    ) -> Operation:
        """Return an update of the value at *target*."""
        return self.edit(OperationType.UPDATE, target, value, base=base, at_ms=at_ms, token=token)
