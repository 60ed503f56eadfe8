"""A gRPC servicer over any `StateSyncService`."""

from collections.abc import AsyncIterator
from typing import Any

from quantum_pb.statesync.v1 import statesync_pb2 as pb
from quantum_pb.statesync.v1 import statesync_pb2_grpc as pb_grpc
from statesync.api import (
    Acknowledgement,
    DocumentChange,
    DocumentFilter,
    DocumentState,
    DocumentType,
    InvalidArgument,
    Keep,
    NewDocument,
    PermissionDenied,
    Resolution,
    StateSyncService,
    Subscription,
)
from statesync.rpc import convert
from statesync.rpc.convert import (
    ERROR_MAPPING,
    actor_from_wire,
    member_of,
    path_from_wire,
    permissions_from_wire,
    value_from_wire,
)
from svckit.grpc import MAX_MESSAGE_BYTES, Server, serve

_DEFAULT_PAGE = 100
_DEFAULT_LOG_PAGE = 1000


class StateSyncServicer(pb_grpc.StateSyncServiceServicer):
    """Answers the RPCs; errors are turned into statuses by `svckit.grpc`."""

    def __init__(self, service: StateSyncService) -> None:
        self._service = service
        self._streams: dict[str, tuple[str, Subscription]] = {}

    async def CreateDocument(  # noqa: N802
        self, request: pb.CreateDocumentRequest, context: Any
    ) -> pb.CreateDocumentResponse:
        """Create a document."""
        document = await self._service.create_document(
            actor_from_wire(request.actor),
            NewDocument(
                name=request.name,
                type=member_of(DocumentType, request.type, "type"),
                content=value_from_wire(request.content, "content"),
                strategy=request.strategy,
                permissions=permissions_from_wire(request.permissions),
                description=request.description,
                tags=tuple(request.tags),
                properties=dict(request.properties),
                document_id=request.document_id,
            ),
        )
        return pb.CreateDocumentResponse(document=convert.document_to_wire(document))

    async def GetDocument(  # noqa: N802
        self, request: pb.GetDocumentRequest, context: Any
    ) -> pb.GetDocumentResponse:
        """Read a document."""
        at_version = request.at_version if request.HasField("at_version") else None
        snapshot = await self._service.get_document(
            actor_from_wire(request.actor), request.doc_id, at_version=at_version
        )
        return pb.GetDocumentResponse(snapshot=convert.snapshot_to_wire(snapshot))

    async def UpdateDocument(  # noqa: N802
        self, request: pb.UpdateDocumentRequest, context: Any
    ) -> pb.UpdateDocumentResponse:
        """Change a document's settings."""
        has = request.HasField
        change = DocumentChange(
            name=request.name if has("name") else None,
            state=member_of(DocumentState, request.state, "state") if has("state") else None,
            permissions=permissions_from_wire(request.permissions) if has("permissions") else None,
            description=request.description if has("description") else None,
            tags=tuple(request.tags.tags) if has("tags") else None,
            properties=dict(request.properties.entries) if has("properties") else None,
        )
        document = await self._service.update_document(
            actor_from_wire(request.actor),
            request.doc_id,
            change,
            expected_revision=request.expected_revision if has("expected_revision") else None,
        )
        return pb.UpdateDocumentResponse(document=convert.document_to_wire(document))

    async def DeleteDocument(  # noqa: N802
        self, request: pb.DeleteDocumentRequest, context: Any
    ) -> pb.DeleteDocumentResponse:
        """Delete a document."""
        document = await self._service.delete_document(
            actor_from_wire(request.actor), request.doc_id
        )
        return pb.DeleteDocumentResponse(document=convert.document_to_wire(document))

    async def ListDocuments(  # noqa: N802
        self, request: pb.ListDocumentsRequest, context: Any
    ) -> pb.ListDocumentsResponse:
        """List documents."""
        has = request.HasField
        where = DocumentFilter(
            type=member_of(DocumentType, request.type, "type") if has("type") else None,
            state=member_of(DocumentState, request.state, "state") if has("state") else None,
            created_by=request.created_by if has("created_by") else None,
        )
        page = await self._service.list_documents(
            actor_from_wire(request.actor),
            where,
            after=request.after,
            limit=request.limit or _DEFAULT_PAGE,
        )
        return pb.ListDocumentsResponse(
            documents=[convert.document_to_wire(d) for d in page.documents],
            total=page.total,
            next_after=page.next_after,
        )

    async def ApplyOperation(  # noqa: N802
        self, request: pb.ApplyOperationRequest, context: Any
    ) -> pb.ApplyOperationResponse:
        """Apply an operation."""
        if not request.HasField("operation"):
            raise InvalidArgument("operation is missing")
        answer = await self._service.apply(
            actor_from_wire(request.actor), convert.operation_from_wire(request.operation)
        )
        return pb.ApplyOperationResponse(acknowledgement=convert.acknowledgement_to_wire(answer))

    async def ApplyOperations(  # noqa: N802
        self, request: pb.ApplyOperationsRequest, context: Any
    ) -> pb.ApplyOperationsResponse:
        """Apply several operations."""
        operations = [convert.operation_from_wire(o) for o in request.operations]
        answers = await self._service.apply_many(actor_from_wire(request.actor), operations)
        outcome = pb.ApplyOperationsResponse.Outcome
        return pb.ApplyOperationsResponse(
            outcomes=[
                outcome(acknowledgement=convert.acknowledgement_to_wire(answer))
                if isinstance(answer, Acknowledgement)
                else outcome(error=convert.error_to_wire(answer))
                for answer in answers
            ]
        )

    async def GetOperationHistory(  # noqa: N802
        self, request: pb.GetOperationHistoryRequest, context: Any
    ) -> pb.GetOperationHistoryResponse:
        """Read the log."""
        page = await self._service.operations_since(
            actor_from_wire(request.actor),
            request.doc_id,
            request.since_version,
            limit=request.limit or _DEFAULT_LOG_PAGE,
        )
        return pb.GetOperationHistoryResponse(
            operations=[convert.operation_to_wire(o) for o in page.operations],
            version=page.version,
            epoch=page.epoch,
        )

    async def ListConflicts(  # noqa: N802
        self, request: pb.ListConflictsRequest, context: Any
    ) -> pb.ListConflictsResponse:
        """List conflicts."""
        found = await self._service.conflicts(
            actor_from_wire(request.actor),
            request.doc_id,
            pending_only=request.pending_only,
            limit=request.limit or _DEFAULT_PAGE,
        )
        return pb.ListConflictsResponse(conflicts=[convert.conflict_to_wire(c) for c in found])

    async def ResolveConflict(  # noqa: N802
        self, request: pb.ResolveConflictRequest, context: Any
    ) -> pb.ResolveConflictResponse:
        """Decide a conflict."""
        conflict = await self._service.resolve_conflict(
            actor_from_wire(request.actor),
            request.doc_id,
            request.conflict_id,
            Resolution(
                member_of(Keep, request.keep, "keep"), value_from_wire(request.value, "value")
            ),
        )
        return pb.ResolveConflictResponse(conflict=convert.conflict_to_wire(conflict))

    async def SubscribeDocument(  # noqa: N802
        self, request: pb.SubscribeDocumentRequest, context: Any
    ) -> AsyncIterator[pb.SubscribeDocumentResponse]:
        """Stream a document's events until the caller goes or unsubscribes."""
        from_version = request.from_version if request.HasField("from_version") else None
        actor = actor_from_wire(request.actor)
        stream = await self._service.subscribe(actor, request.doc_id, from_version=from_version)
        self._streams[stream.id] = (actor.user_id, stream)
        try:
            started = pb.SubscribeDocumentResponse.Started(
                subscription_id=stream.id, version=stream.version
            )
            yield pb.SubscribeDocumentResponse(started=started)
            async for event in stream:
                yield pb.SubscribeDocumentResponse(event=convert.event_to_wire(event))
        finally:
            del self._streams[stream.id]
            await stream.aclose()

    async def UnsubscribeDocument(  # noqa: N802
        self, request: pb.UnsubscribeDocumentRequest, context: Any
    ) -> pb.UnsubscribeDocumentResponse:
        """End a stream of one's own; one that is unknown has ended."""
        actor = actor_from_wire(request.actor)
        found = self._streams.get(request.subscription_id)
        if found is not None:
            user_id, stream = found
            if user_id != actor.user_id and not actor.is_admin:
                raise PermissionDenied("the subscription is another user's")
            await stream.aclose()
        return pb.UnsubscribeDocumentResponse()

    async def AcquireLock(  # noqa: N802
        self, request: pb.AcquireLockRequest, context: Any
    ) -> pb.AcquireLockResponse:
        """Lock a part of a document."""
        lock = await self._service.acquire_lock(
            actor_from_wire(request.actor),
            request.doc_id,
            target=path_from_wire(request.target),
            ttl_s=request.ttl_s,
        )
        return pb.AcquireLockResponse(lock=convert.lock_to_wire(lock))

    async def ReleaseLock(  # noqa: N802
        self, request: pb.ReleaseLockRequest, context: Any
    ) -> pb.ReleaseLockResponse:
        """Release a lock."""
        await self._service.release_lock(
            actor_from_wire(request.actor), request.doc_id, request.fencing_token
        )
        return pb.ReleaseLockResponse()

    async def IsLocked(  # noqa: N802
        self, request: pb.IsLockedRequest, context: Any
    ) -> pb.IsLockedResponse:
        """Return the locks now held."""
        locks = await self._service.locks(actor_from_wire(request.actor), request.doc_id)
        return pb.IsLockedResponse(locks=[convert.lock_to_wire(lock) for lock in locks])

    async def GetStats(  # noqa: N802
        self, request: pb.GetStatsRequest, context: Any
    ) -> pb.GetStatsResponse:
        """Return totals."""
        found = await self._service.statistics()
        return pb.GetStatsResponse(
            total_documents=found.total_documents,
            active_documents=found.active_documents,
            archived_documents=found.archived_documents,
            total_operations=found.total_operations,
            total_conflicts=found.total_conflicts,
            resolved_conflicts=found.resolved_conflicts,
            active_subscribers=found.active_subscribers,
            active_locks=found.active_locks,
        )


async def serve_documents(
    service: StateSyncService,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Server:
    """Serve *service* by gRPC; returns the started server, whose ``port`` is then known."""
    servicer = StateSyncServicer(service)
    return await serve(
        [lambda server: pb_grpc.add_StateSyncServiceServicer_to_server(servicer, server)],
        ERROR_MAPPING,
        host=host,
        port=port,
        max_message_bytes=max_message_bytes,
    )
