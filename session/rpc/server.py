"""A gRPC servicer over any `SessionService`."""

from typing import Any

from quantum_pb.session.v1 import session_pb2 as pb
from quantum_pb.session.v1 import session_pb2_grpc as pb_grpc
from session.api import (
    InvalidArgument,
    NewSession,
    SessionChange,
    SessionFilter,
    SessionService,
)
from session.rpc.convert import (
    ERROR_MAPPING,
    session_to_wire,
    state_from_wire,
    stats_from_wire,
)
from svckit.grpc import MAX_MESSAGE_BYTES, Server, serve

_DEFAULT_PAGE = 100


class SessionServicer(pb_grpc.SessionServiceServicer):
    """Answers the RPCs; errors are turned into statuses by `svckit.grpc`."""

    def __init__(self, service: SessionService) -> None:
        self._service = service

    async def CreateSession(  # noqa: N802
        self, request: pb.CreateSessionRequest, context: Any
    ) -> pb.CreateSessionResponse:
        """Create a session."""
        created = await self._service.create(
            NewSession(
                user_id=request.user_id,
                connection_id=request.connection_id,
                client_ip=request.client_ip,
                client_port=request.client_port,
                server_addr=request.server_addr,
                metadata=dict(request.metadata),
                timeout_s=request.timeout_s,
            )
        )
        return pb.CreateSessionResponse(
            session=session_to_wire(created.session), token=created.token
        )

    async def GetSession(  # noqa: N802
        self, request: pb.GetSessionRequest, context: Any
    ) -> pb.GetSessionResponse:
        """Find a session by its id or connection."""
        by = request.WhichOneof("by")
        if by is None:
            raise InvalidArgument("session_id or connection_id is missing")
        if by == "session_id":
            session = await self._service.get(request.session_id)
        else:
            session = await self._service.get_by_connection(request.connection_id)
        return pb.GetSessionResponse(session=session_to_wire(session))

    async def VerifySession(  # noqa: N802
        self, request: pb.VerifySessionRequest, context: Any
    ) -> pb.VerifySessionResponse:
        """Check a token."""
        session = await self._service.verify(request.session_id, request.token)
        return pb.VerifySessionResponse(session=session_to_wire(session))

    async def UpdateSession(  # noqa: N802
        self, request: pb.UpdateSessionRequest, context: Any
    ) -> pb.UpdateSessionResponse:
        """Change a session."""
        has = request.HasField
        change = SessionChange(
            state=state_from_wire(request.state) if has("state") else None,
            connection_id=request.connection_id if has("connection_id") else None,
            client_ip=request.client_ip if has("client_ip") else None,
            client_port=request.client_port if has("client_port") else None,
            server_addr=request.server_addr if has("server_addr") else None,
            metadata=dict(request.metadata.entries) if has("metadata") else None,
            stats=stats_from_wire(request.stats) if has("stats") else None,
        )
        expected = request.expected_version if has("expected_version") else None
        session = await self._service.update(request.session_id, change, expected_version=expected)
        return pb.UpdateSessionResponse(session=session_to_wire(session))

    async def DeleteSession(  # noqa: N802
        self, request: pb.DeleteSessionRequest, context: Any
    ) -> pb.DeleteSessionResponse:
        """Close a session."""
        session = await self._service.delete(request.session_id, request.reason)
        return pb.DeleteSessionResponse(session=session_to_wire(session))

    async def ListSessions(  # noqa: N802
        self, request: pb.ListSessionsRequest, context: Any
    ) -> pb.ListSessionsResponse:
        """List sessions."""
        where = SessionFilter(
            user_id=request.user_id if request.HasField("user_id") else None,
            state=state_from_wire(request.state) if request.HasField("state") else None,
        )
        page = await self._service.list(
            where, after=request.after, limit=request.limit or _DEFAULT_PAGE
        )
        return pb.ListSessionsResponse(
            sessions=[session_to_wire(s) for s in page.sessions],
            total=page.total,
            next_after=page.next_after,
        )

    async def Heartbeat(  # noqa: N802
        self, request: pb.HeartbeatRequest, context: Any
    ) -> pb.HeartbeatResponse:
        """Extend a session."""
        beat = await self._service.heartbeat(request.session_id)
        return pb.HeartbeatResponse(
            server_time_ns=beat.server_time_ns, remaining_s=beat.remaining_s
        )


async def serve_sessions(
    service: SessionService,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Server:
    """Serve *service* by gRPC; returns the started server, whose ``port`` is then known."""
    servicer = SessionServicer(service)
    return await serve(
        [lambda server: pb_grpc.add_SessionServiceServicer_to_server(servicer, server)],
        ERROR_MAPPING,
        host=host,
        port=port,
        max_message_bytes=max_message_bytes,
    )
