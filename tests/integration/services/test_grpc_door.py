"""What a foreign client sees at the gRPC door: a proper status and one sentence."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import session.errors
import statesync.errors
from quantum_pb.common.v1 import errors_pb2
from quantum_pb.session.v1 import session_pb2, session_pb2_grpc
from quantum_pb.statesync.v1 import statesync_pb2, statesync_pb2_grpc
from session.api import NewSession
from session.api import ServiceUnavailable as SessionsUnavailable
from session.config import SessionConfig
from session.rpc.client import GrpcSessionClient
from session.rpc.convert import STATUS as SESSION_STATUS
from session.rpc.server import serve_sessions
from statesync.api import DocumentType, InvalidArgument, NewDocument, ServiceUnavailable
from statesync.config import StateSyncConfig
from statesync.rpc.client import GrpcStateSyncClient
from statesync.rpc.convert import STATUS as STATE_STATUS
from statesync.rpc.server import serve_documents
from svckit.grpc import channel
from tests.support.services import ANNA, documents, sessions

pytestmark = pytest.mark.integration
CODE = grpc.StatusCode
UNKNOWN = "01890000-0000-7000-8000-000000000000"
STATE = "/quantum.statesync.v1.StateSyncService/"
SESSION = "/quantum.session.v1.SessionService/"


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a state service."""
    async with documents("local-memory", tmp_path, StateSyncConfig()) as door:
        server = await serve_documents(door.local, max_message_bytes=100_000)
        async with channel(f"127.0.0.1:{server.port}", max_message_bytes=1 << 20) as found:
            yield found
        await server.close(0)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = error.value.details()
    assert details
    assert "\n" not in details
    assert "Traceback" not in details
    return error.value


def test_every_error_has_a_status() -> None:
    assert set(SESSION_STATUS) == set(session.errors.ERRORS.values())
    assert set(STATE_STATUS) == set(statesync.errors.ERRORS.values())
    for package in (session.errors, statesync.errors):
        assert {code.value for code in package.ErrorCode} == set(package.ERRORS)


async def test_an_error_carries_its_code_and_details(opened: grpc.aio.Channel) -> None:
    stub: Any = statesync_pb2_grpc.StateSyncServiceStub(opened)
    request = statesync_pb2.GetDocumentRequest(doc_id=UNKNOWN)
    request.actor.user_id = "anna"
    error = await refused(stub.GetDocument(request))
    assert error.code() is CODE.NOT_FOUND
    trailing = dict(error.trailing_metadata())
    message = errors_pb2.Error.FromString(trailing["quantum-error-bin"])
    assert (message.code, message.retry) == ("not_found", False)
    assert message.reason == error.details()


async def test_wrong_requests_are_refused_with_their_status(opened: grpc.aio.Channel) -> None:
    stub: Any = statesync_pb2_grpc.StateSyncServiceStub(opened)
    pb = statesync_pb2
    create = pb.CreateDocumentRequest(name="a", type=pb.DOCUMENT_TYPE_SHEET)
    cases = [
        (stub.GetDocument, pb.GetDocumentRequest(doc_id="x"), CODE.INVALID_ARGUMENT, "UUID"),
        (stub.CreateDocument, create, CODE.INVALID_ARGUMENT, "user_id is missing"),
        (
            stub.CreateDocument,
            pb.CreateDocumentRequest(name="a", type=99),  # type: ignore[arg-type]
            CODE.INVALID_ARGUMENT,
            "type is 99; use 1 to 4",
        ),
        (
            stub.CreateDocument,
            pb.CreateDocumentRequest(name="a"),
            CODE.INVALID_ARGUMENT,
            "type is 0; use 1 to 4",
        ),
        (
            stub.CreateDocument,
            pb.CreateDocumentRequest(name="a", type=3, content=pb.Value(json="{")),  # type: ignore[arg-type]
            CODE.INVALID_ARGUMENT,
            "content is not JSON",
        ),
        (
            stub.CreateDocument,
            pb.CreateDocumentRequest(name="a", type=3, content=pb.Value(json="NaN")),  # type: ignore[arg-type]
            CODE.INVALID_ARGUMENT,
            "no JSON number",
        ),
        (
            stub.CreateDocument,
            pb.CreateDocumentRequest(name="a", type=3, content=pb.Value(json="[" * 50_000)),  # type: ignore[arg-type]
            CODE.INVALID_ARGUMENT,
            "content is not JSON",
        ),
        (stub.ApplyOperation, pb.ApplyOperationRequest(), CODE.INVALID_ARGUMENT, "missing"),
        (
            stub.ApplyOperation,
            pb.ApplyOperationRequest(operation=pb.Operation(doc_id=UNKNOWN)),
            CODE.INVALID_ARGUMENT,
            "operation.type is 0",
        ),
        (
            stub.ListDocuments,
            pb.ListDocumentsRequest(limit=100_000),
            CODE.INVALID_ARGUMENT,
            "limit must be",
        ),
        (
            stub.ResolveConflict,
            pb.ResolveConflictRequest(doc_id=UNKNOWN, conflict_id=UNKNOWN),
            CODE.INVALID_ARGUMENT,
            "keep is 0",
        ),
        (
            stub.AcquireLock,
            pb.AcquireLockRequest(doc_id=UNKNOWN, ttl_s=float("nan")),
            CODE.INVALID_ARGUMENT,
            "user_id is missing",
        ),
    ]
    for method, request, status, says in cases:
        error = await refused(method(request))
        assert (error.code(), says in (error.details() or "")) == (status, True), error.details()


async def test_bytes_that_are_no_message_are_invalid(opened: grpc.aio.Channel) -> None:
    for method in ("GetDocument", "ApplyOperation"):
        call = opened.unary_unary(STATE + method)
        error = await refused(call(b"\xff\xff\xff\xff"))
        assert error.code() is CODE.INVALID_ARGUMENT
        assert method in (error.details() or "")
    stream = opened.unary_stream(STATE + "SubscribeDocument")(b"\xff\xff\xff\xff")
    error = await refused(stream.read())
    assert error.code() is CODE.INVALID_ARGUMENT
    error = await refused(opened.unary_unary(STATE + "Nothing")(b""))
    assert error.code() is CODE.UNIMPLEMENTED


async def test_a_message_above_the_limit_is_refused_and_the_door_stays_open(
    opened: grpc.aio.Channel,
) -> None:
    client = GrpcStateSyncClient(opened)
    huge = NewDocument("a", DocumentType.SHEET, {"k": "v" * 200_000})
    with pytest.raises(InvalidArgument, match="larger than max"):
        await client.create_document(ANNA, huge)
    await client.create_document(ANNA, NewDocument("a", DocumentType.SHEET))


async def test_a_subscription_can_be_ended_by_its_id(opened: grpc.aio.Channel) -> None:
    client = GrpcStateSyncClient(opened)
    made = await client.create_document(ANNA, NewDocument("a", DocumentType.SHEET))
    stream = await client.subscribe(ANNA, made.id)
    stub: Any = statesync_pb2_grpc.StateSyncServiceStub(opened)
    request = statesync_pb2.UnsubscribeDocumentRequest(subscription_id=stream.id)
    request.actor.user_id = "eve"
    assert (await refused(stub.UnsubscribeDocument(request))).code() is CODE.PERMISSION_DENIED
    request.actor.user_id = "anna"
    await stub.UnsubscribeDocument(request)
    assert await anext(stream, None) is None
    await stub.UnsubscribeDocument(request)


async def test_wrong_session_requests_are_refused(tmp_path: Path) -> None:
    async with sessions("local-memory", tmp_path, SessionConfig()) as door:
        server = await serve_sessions(door.local)
        async with channel(f"127.0.0.1:{server.port}") as found:
            stub: Any = session_pb2_grpc.SessionServiceStub(found)
            pb = session_pb2
            created = await stub.CreateSession(pb.CreateSessionRequest(user_id="anna"))
            session_id = created.session.session_id
            cases = [
                (stub.GetSession, pb.GetSessionRequest(), CODE.INVALID_ARGUMENT),
                (stub.GetSession, pb.GetSessionRequest(session_id="x"), CODE.INVALID_ARGUMENT),
                (stub.GetSession, pb.GetSessionRequest(session_id=UNKNOWN), CODE.NOT_FOUND),
                (
                    stub.UpdateSession,
                    pb.UpdateSessionRequest(session_id=session_id, state=77),  # type: ignore[arg-type]
                    CODE.INVALID_ARGUMENT,
                ),
                (
                    stub.VerifySession,
                    pb.VerifySessionRequest(session_id=session_id, token="no"),
                    CODE.UNAUTHENTICATED,
                ),
                (stub.ListSessions, pb.ListSessionsRequest(after="x"), CODE.INVALID_ARGUMENT),
                (stub.Heartbeat, pb.HeartbeatRequest(session_id=UNKNOWN), CODE.NOT_FOUND),
            ]
            for method, request, status in cases:
                error = await refused(method(request))
                assert error.code() is status, error.details()
            error = await refused(found.unary_unary(SESSION + "GetSession")(b"\x0a\xff"))
            assert error.code() is CODE.INVALID_ARGUMENT
        await server.close(0)


async def test_a_service_that_is_away_is_unavailable(tmp_path: Path) -> None:
    async with documents("local-memory", tmp_path, StateSyncConfig()) as door:
        server = await serve_documents(door.local)
        port = server.port
        await server.close(0)
    async with channel(f"127.0.0.1:{port}") as found:
        with pytest.raises(ServiceUnavailable):
            await GrpcStateSyncClient(found, deadline_s=2).get_document(ANNA, UNKNOWN)
        with pytest.raises(SessionsUnavailable):
            await GrpcSessionClient(found, deadline_s=2).create(NewSession("anna"))


async def test_a_handlers_bug_is_hidden_from_the_caller(tmp_path: Path) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("a secret")

    server = await serve_documents(Broken())  # type: ignore[arg-type]
    async with channel(f"127.0.0.1:{server.port}") as found:
        stub: Any = statesync_pb2_grpc.StateSyncServiceStub(found)
        error = await refused(stub.GetStats(statesync_pb2.GetStatsRequest()))
        assert error.code() is CODE.INTERNAL
        assert "secret" not in (error.details() or "")
    await server.close(0)
