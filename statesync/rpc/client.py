"""The state service over gRPC, behind the same Protocol as the one in process."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import grpc.aio

from quantum_pb.statesync.v1 import statesync_pb2 as pb
from quantum_pb.statesync.v1 import statesync_pb2_grpc as pb_grpc
from statesync.api import (
    Acknowledgement,
    Actor,
    Conflict,
    Document,
    DocumentChange,
    DocumentFilter,
    DocumentPage,
    Event,
    InvalidArgument,
    Lock,
    NewDocument,
    Operation,
    OperationPage,
    Path,
    Resolution,
    ServiceUnavailable,
    Snapshot,
    StateSyncError,
    Statistics,
)
from statesync.rpc import convert
from statesync.rpc.convert import ERROR_MAPPING, actor_to_wire, number_of, path_to_wire, request
from svckit.grpc import call


class GrpcSubscription:
    """A stream of events over gRPC; see `statesync.api.Subscription`."""

    def __init__(self, stream: Any, subscription_id: str, version: int) -> None:
        self.id = subscription_id
        self.version = version
        self._stream = stream
        self._is_closed = False

    def __aiter__(self) -> "GrpcSubscription":
        return self

    async def __anext__(self) -> Event:
        """Return the next event."""
        if self._is_closed:
            raise StopAsyncIteration
        message = await _next(self._stream, lambda: self._is_closed)
        if message is None:
            raise StopAsyncIteration
        return convert.event_from_wire(message.event)

    async def __aenter__(self) -> "GrpcSubscription":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop; a waiting iteration ends."""
        self._is_closed = True
        self._stream.cancel()


class GrpcStateSyncClient:
    """A `statesync.api.StateSyncService` at the other end of a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, deadline_s: float = 10.0) -> None:
        """Use *channel*, which stays the caller's to close; each call has *deadline_s*."""
        self._stub: Any = pb_grpc.StateSyncServiceStub(channel)
        self._deadline_s = deadline_s

    async def create_document(self, actor: Actor, new: NewDocument) -> Document:
        """Create a document."""
        message = request(
            pb.CreateDocumentRequest,
            actor=actor_to_wire(actor),
            name=new.name,
            type=number_of(new.type),
            content=request(convert.value_to_wire, new.content),
            strategy=new.strategy,
            permissions=request(convert.permissions_to_wire, new.permissions),
            description=new.description,
            tags=new.tags,
            properties=new.properties,
            document_id=new.document_id,
        )
        answer = await self._call(self._stub.CreateDocument, message)
        return convert.document_from_wire(answer.document)

    async def get_document(
        self, actor: Actor, doc_id: str, *, at_version: int | None = None
    ) -> Snapshot:
        """Return a document with its content."""
        message = request(
            pb.GetDocumentRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            at_version=at_version,
        )
        answer = await self._call(self._stub.GetDocument, message)
        return convert.snapshot_from_wire(answer.snapshot)

    async def update_document(
        self,
        actor: Actor,
        doc_id: str,
        change: DocumentChange,
        *,
        expected_revision: int | None = None,
    ) -> Document:
        """Change a document's settings."""
        permissions = change.permissions
        message = request(
            pb.UpdateDocumentRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            name=change.name,
            state=None if change.state is None else number_of(change.state),
            permissions=None
            if permissions is None
            else request(convert.permissions_to_wire, permissions),
            description=change.description,
            tags=None if change.tags is None else request(pb.Tags, tags=change.tags),
            properties=None
            if change.properties is None
            else request(pb.Properties, entries=change.properties),
            expected_revision=expected_revision,
        )
        answer = await self._call(self._stub.UpdateDocument, message)
        return convert.document_from_wire(answer.document)

    async def delete_document(self, actor: Actor, doc_id: str) -> Document:
        """Put a document in state DELETED."""
        message = request(pb.DeleteDocumentRequest, actor=actor_to_wire(actor), doc_id=doc_id)
        answer = await self._call(self._stub.DeleteDocument, message)
        return convert.document_from_wire(answer.document)

    async def list_documents(
        self,
        actor: Actor,
        where: DocumentFilter | None = None,
        *,
        after: str = "",
        limit: int = 100,
    ) -> DocumentPage:
        """Return one page of documents that *actor* may read."""
        where = where or DocumentFilter()
        message = request(
            pb.ListDocumentsRequest,
            actor=actor_to_wire(actor),
            type=None if where.type is None else number_of(where.type),
            state=None if where.state is None else number_of(where.state),
            created_by=where.created_by,
            after=after,
            limit=_limit(limit),
        )
        answer = await self._call(self._stub.ListDocuments, message)
        return DocumentPage(
            tuple(convert.document_from_wire(d) for d in answer.documents),
            answer.total,
            answer.next_after,
        )

    async def apply(self, actor: Actor, operation: Operation) -> Acknowledgement:
        """Apply one operation."""
        message = request(
            pb.ApplyOperationRequest,
            actor=actor_to_wire(actor),
            operation=request(convert.operation_to_wire, operation),
        )
        answer = await self._call(self._stub.ApplyOperation, message)
        return convert.acknowledgement_from_wire(answer.acknowledgement)

    async def apply_many(
        self, actor: Actor, operations: Sequence[Operation]
    ) -> tuple[Acknowledgement | StateSyncError, ...]:
        """Apply operations in order, committed together."""
        message = request(
            pb.ApplyOperationsRequest,
            actor=actor_to_wire(actor),
            operations=[request(convert.operation_to_wire, o) for o in operations],
        )
        answer = await self._call(self._stub.ApplyOperations, message)
        return tuple(
            convert.acknowledgement_from_wire(outcome.acknowledgement)
            if outcome.HasField("acknowledgement")
            else convert.error_from_wire(outcome.error)
            for outcome in answer.outcomes
        )

    async def operations_since(
        self, actor: Actor, doc_id: str, version: int, *, limit: int = 1000
    ) -> OperationPage:
        """Return operations after *version*, oldest first."""
        message = request(
            pb.GetOperationHistoryRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            since_version=version,
            limit=_limit(limit),
        )
        answer = await self._call(self._stub.GetOperationHistory, message)
        return OperationPage(
            tuple(convert.operation_from_wire(o) for o in answer.operations),
            answer.version,
            answer.epoch,
        )

    async def conflicts(
        self, actor: Actor, doc_id: str, *, pending_only: bool = False, limit: int = 100
    ) -> tuple[Conflict, ...]:
        """Return a document's conflicts, newest first."""
        message = request(
            pb.ListConflictsRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            pending_only=pending_only,
            limit=_limit(limit),
        )
        answer = await self._call(self._stub.ListConflicts, message)
        return tuple(convert.conflict_from_wire(c) for c in answer.conflicts)

    async def resolve_conflict(
        self, actor: Actor, doc_id: str, conflict_id: str, resolution: Resolution
    ) -> Conflict:
        """Decide a waiting conflict."""
        message = request(
            pb.ResolveConflictRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            conflict_id=conflict_id,
            keep=number_of(resolution.keep),
            value=request(convert.value_to_wire, resolution.value),
        )
        answer = await self._call(self._stub.ResolveConflict, message)
        return convert.conflict_from_wire(answer.conflict)

    async def subscribe(
        self, actor: Actor, doc_id: str, *, from_version: int | None = None
    ) -> GrpcSubscription:
        """Watch a document from now, or from just after *from_version*."""
        message = request(
            pb.SubscribeDocumentRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            from_version=from_version,
        )
        stream = self._stub.SubscribeDocument(message)
        first = await _next(stream, lambda: False)
        if first is None:
            raise ServiceUnavailable("the service ended the stream at once", remote=True)
        return GrpcSubscription(stream, first.started.subscription_id, first.started.version)

    async def acquire_lock(
        self, actor: Actor, doc_id: str, *, target: Path = (), ttl_s: float = 0.0
    ) -> Lock:
        """Lock a part of a document, or renew one's own lock."""
        message = request(
            pb.AcquireLockRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            target=request(path_to_wire, target),
            ttl_s=ttl_s,
        )
        answer = await self._call(self._stub.AcquireLock, message)
        return convert.lock_from_wire(answer.lock)

    async def release_lock(self, actor: Actor, doc_id: str, fencing_token: int) -> None:
        """Release one's own lock."""
        message = request(
            pb.ReleaseLockRequest,
            actor=actor_to_wire(actor),
            doc_id=doc_id,
            fencing_token=fencing_token,
        )
        await self._call(self._stub.ReleaseLock, message)

    async def locks(self, actor: Actor, doc_id: str) -> tuple[Lock, ...]:
        """Return the locks now held."""
        message = request(pb.IsLockedRequest, actor=actor_to_wire(actor), doc_id=doc_id)
        answer = await self._call(self._stub.IsLocked, message)
        return tuple(convert.lock_from_wire(lock) for lock in answer.locks)

    async def statistics(self) -> Statistics:
        """Return totals."""
        answer = await self._call(self._stub.GetStats, pb.GetStatsRequest())
        return Statistics(
            total_documents=answer.total_documents,
            active_documents=answer.active_documents,
            archived_documents=answer.archived_documents,
            total_operations=answer.total_operations,
            total_conflicts=answer.total_conflicts,
            resolved_conflicts=answer.resolved_conflicts,
            active_subscribers=answer.active_subscribers,
            active_locks=answer.active_locks,
        )

    async def _call(self, method: Any, message: Any) -> Any:
        rpc: Awaitable[Any] = method(message, timeout=self._deadline_s)
        return await call(rpc, ERROR_MAPPING)


async def _next(stream: Any, is_closed: Any) -> Any:
    """Return the next message of a stream, None at its end."""
    try:
        message = await stream.read()
    except grpc.aio.AioRpcError as error:
        raise ERROR_MAPPING.to_local(error) from None
    except asyncio.CancelledError:
        if is_closed():  # cancelled by us, not our caller
            return None
        raise
    return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]


def _limit(limit: int) -> int:
    if limit < 1:  # 0 on the wire would take the default
        raise InvalidArgument(f"limit must be at least 1, not {limit}")
    return limit
