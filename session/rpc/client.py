"""The session service over gRPC, behind the same Protocol as the one in process."""

from collections.abc import Awaitable
from typing import Any

import grpc.aio

from quantum_pb.session.v1 import session_pb2 as pb
from quantum_pb.session.v1 import session_pb2_grpc as pb_grpc
from session.api import (
    CreatedSession,
    Heartbeat,
    InvalidArgument,
    NewSession,
    Session,
    SessionChange,
    SessionFilter,
    SessionPage,
)
from session.rpc.convert import (
    ERROR_MAPPING,
    request,
    session_from_wire,
    state_to_wire,
    stats_to_wire,
)
from svckit.grpc import call


class GrpcSessionClient:
    """A `session.api.SessionService` at the other end of a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, deadline_s: float = 5.0) -> None:
        """Use *channel*, which stays the caller's to close; each call has *deadline_s*."""
        self._stub: Any = pb_grpc.SessionServiceStub(channel)
        self._deadline_s = deadline_s

    async def create(self, new: NewSession) -> CreatedSession:
        """Create a session."""
        message = request(
            pb.CreateSessionRequest,
            user_id=new.user_id,
            client_ip=new.client_ip,
            client_port=new.client_port,
            metadata=new.metadata,
            timeout_s=new.timeout_s,
            connection_id=new.connection_id,
            server_addr=new.server_addr,
        )
        answer = await _call(self._stub.CreateSession(message, timeout=self._deadline_s))
        return CreatedSession(session_from_wire(answer.session), answer.token)

    async def get(self, session_id: str) -> Session:
        """Return a live session."""
        message = request(pb.GetSessionRequest, session_id=session_id)
        answer = await _call(self._stub.GetSession(message, timeout=self._deadline_s))
        return session_from_wire(answer.session)

    async def get_by_connection(self, connection_id: str) -> Session:
        """Return the live session attached to a connection."""
        message = request(pb.GetSessionRequest, connection_id=connection_id)
        answer = await _call(self._stub.GetSession(message, timeout=self._deadline_s))
        return session_from_wire(answer.session)

    async def verify(self, session_id: str, token: str) -> Session:
        """Return the live session if *token* is its token."""
        message = request(pb.VerifySessionRequest, session_id=session_id, token=token)
        answer = await _call(self._stub.VerifySession(message, timeout=self._deadline_s))
        return session_from_wire(answer.session)

    async def update(
        self, session_id: str, change: SessionChange, *, expected_version: int | None = None
    ) -> Session:
        """Change a live session."""
        message = request(
            pb.UpdateSessionRequest,
            session_id=session_id,
            state=None if change.state is None else state_to_wire(change.state),
            metadata=None
            if change.metadata is None
            else request(pb.Metadata, entries=change.metadata),
            stats=None if change.stats is None else request(stats_to_wire, change.stats),
            connection_id=change.connection_id,
            client_ip=change.client_ip,
            client_port=change.client_port,
            server_addr=change.server_addr,
            expected_version=expected_version,
        )
        answer = await _call(self._stub.UpdateSession(message, timeout=self._deadline_s))
        return session_from_wire(answer.session)

    async def delete(self, session_id: str, reason: str = "") -> Session:
        """Close a session for good."""
        message = request(pb.DeleteSessionRequest, session_id=session_id, reason=reason)
        answer = await _call(self._stub.DeleteSession(message, timeout=self._deadline_s))
        return session_from_wire(answer.session)

    async def list(
        self, where: SessionFilter | None = None, *, after: str = "", limit: int = 100
    ) -> SessionPage:
        """Return one page of sessions."""
        where = where or SessionFilter()
        if limit < 1:  # 0 on the wire would take the default
            raise InvalidArgument(f"limit must be at least 1, not {limit}")
        message = request(
            pb.ListSessionsRequest,
            user_id=where.user_id,
            state=None if where.state is None else state_to_wire(where.state),
            after=after,
            limit=limit,
        )
        answer = await _call(self._stub.ListSessions(message, timeout=self._deadline_s))
        return SessionPage(
            tuple(session_from_wire(s) for s in answer.sessions), answer.total, answer.next_after
        )

    async def heartbeat(self, session_id: str) -> Heartbeat:
        """Extend a session by its time-out."""
        message = request(pb.HeartbeatRequest, session_id=session_id)
        answer = await _call(self._stub.Heartbeat(message, timeout=self._deadline_s))
        return Heartbeat(answer.server_time_ns, answer.remaining_s)


async def _call(rpc: Awaitable[Any]) -> Any:
    return await call(rpc, ERROR_MAPPING)
