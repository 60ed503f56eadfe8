"""The HTTP API's routes: login, sessions, documents, operations, conflicts, locks, statistics.

Names and shapes follow the reference gateway, with true status codes. The rules are the services';
this module reads parameters and writes answers.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from starlette.routing import Route

from gateway import convert
from gateway import messages as m
from gateway.codec import Shape, plan
from gateway.errors import Code, GatewayError
from gateway.hub import Hub
from gateway.middleware.circuit_breaker import Breakers
from gateway.middleware.rate_limit import AddressLimiter
from gateway.rest import Api, Call
from gateway.tokens import TokenIssuer
from gateway.users import UserStore
from session.api import NewSession, Session, SessionFilter, SessionService
from statesync import api

_MAX_PAGE = 1000
_MAX_VERSION = (1 << 63) - 1


class RestRoutes:
    """The endpoints of the HTTP API."""

    def __init__(
        self,
        rest: Api,
        sessions: SessionService,
        statesync: api.StateSyncService,
        users: UserStore,
        tokens: TokenIssuer,
        hub: Hub,
        breakers: Breakers,
        logins: AddressLimiter,
    ) -> None:
        self._rest = rest
        self._sessions = sessions
        self._statesync = statesync
        self._users = users
        self._tokens = tokens
        self._hub = hub
        self._breakers = breakers
        self._logins = logins

    def routes(self) -> list[Route]:
        """Return every route."""
        route = self._rest.route
        documents, sessions = self._guarded("statesync"), self._guarded("session")
        return [
            route("/api/v1/auth/login", {"POST": self.login}, is_open=True),
            route("/api/v1/auth/refresh", {"POST": self.refresh}, is_open=True),
            route("/api/v1/auth/me", {"GET": self.me}),
            route("/api/v1/auth/logout", {"POST": self.logout}),
            route(
                "/api/v1/session",
                {
                    "POST": sessions(self.create_session),
                    "GET": sessions(self.session),
                    "DELETE": sessions(self.delete_session),
                },
            ),
            route("/api/v1/sessions", {"GET": sessions(self.list_sessions)}),
            route("/api/v1/session/heartbeat", {"POST": sessions(self.heartbeat)}),
            route(
                "/api/v1/document",
                {
                    "POST": documents(self.create_document),
                    "GET": documents(self.document),
                    "PATCH": documents(self.update_document),
                    "DELETE": documents(self.delete_document),
                },
            ),
            route("/api/v1/documents", {"GET": documents(self.list_documents)}),
            route("/api/v1/document/operation", {"POST": documents(self.operate)}),
            route("/api/v1/document/operations", {"GET": documents(self.operations)}),
            route(
                "/api/v1/document/conflicts",
                {"GET": documents(self.conflicts), "POST": documents(self.resolve)},
            ),
            route(
                "/api/v1/document/lock",
                {
                    "POST": documents(self.lock),
                    "DELETE": documents(self.unlock),
                    "GET": documents(self.locks),
                },
            ),
            route("/api/v1/stats", {"GET": documents(self.statistics)}),
            route("/ws/stats", {"GET": self.socket_statistics}),
            route("/breaker/stats", {"GET": self.breaker_statistics}),
            route("/breaker/reset", {"POST": self.reset_breaker}),
        ]

    # Identity

    async def login(self, call: Call) -> Any:
        """Trade a username and password for tokens."""
        self._logins.check(_host(call), "logins")
        user = await self._users.check(call.text("username"), call.text("password"))
        pair = await self._tokens.issue(user.identity)
        return {
            "token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "expires_in": pair.expires_s,
            "user_id": user.id,
            "username": user.username,
        }

    async def refresh(self, call: Call) -> Any:
        """Trade a refresh token for the next pair."""
        self._logins.check(_host(call), "logins")
        pair = await self._tokens.refresh(call.text("refresh_token"), self._users.find)
        return {
            "token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "expires_in": pair.expires_s,
        }

    async def me(self, call: Call) -> Any:
        """Say who asks."""
        identity = call.identity
        return {
            "user_id": identity.user_id,
            "session_id": identity.family,
            "username": identity.username,
            "email": identity.email,
            "roles": sorted(identity.roles),
        }

    async def logout(self, call: Call) -> Any:
        """Revoke the login that the token descends from."""
        await self._tokens.revoke(call.identity)
        return {"success": True}

    # Sessions

    async def create_session(self, call: Call) -> Any:
        """Create a session for the user that asks."""
        created = await self._sessions.create(
            NewSession(
                user_id=call.identity.user_id,
                client_ip=call.text("client_ip", _host(call)),
                client_port=call.integer("client_port", 0),
                metadata=call.mapping("metadata"),
                timeout_s=call.number("timeout_seconds", 0.0),
            )
        )
        return {"session": _session(created.session), "token": created.token}

    async def session(self, call: Call) -> Any:
        """Return one session of the user that asks."""
        return _session(await self._own_session(call, call.query("session_id")))

    async def delete_session(self, call: Call) -> Any:
        """End a session; its connection is closed."""
        session = await self._own_session(call, call.query("session_id"))
        await self._sessions.delete(session.id, "user logout")
        return {"success": True}

    async def list_sessions(self, call: Call) -> Any:
        """Return the user's sessions, or everybody's for an admin."""
        user_id = call.query("user_id", "") or None
        where = SessionFilter(user_id=user_id if call.identity.is_admin else call.identity.user_id)
        limit = call.query_integer("page_size", 100, _MAX_PAGE) or 100
        page = await self._sessions.list(where, after=call.query("after", ""), limit=limit)
        return {
            "sessions": [_session(session) for session in page.sessions],
            "total": page.total,
            "page_size": limit,
            "next_after": page.next_after,
        }

    async def heartbeat(self, call: Call) -> Any:
        """Extend a session."""
        session = await self._own_session(call, call.text("session_id"))
        beat = await self._sessions.heartbeat(session.id)
        return {
            "success": True,
            "server_timestamp": beat.server_time_ns // 1_000_000,
            "remaining_seconds": round(beat.remaining_s, 3),
        }

    # Documents

    async def create_document(self, call: Call) -> Any:
        """Create a document; text content is a base64 Yjs state, or a string in 'value'."""
        new = api.NewDocument(
            name=call.text("name"),
            type=convert.named(api.DocumentType, call.text("type"), "document type"),
            content=_bytes(call, "content") or call.body.get("value"),
            strategy=call.text("strategy", ""),
            permissions=convert.permissions(
                "", call.texts("editors"), call.texts("viewers"), call.flag("public")
            ),
            description=call.text("description", ""),
            tags=call.texts("tags"),
            properties=call.mapping("metadata"),
            document_id=call.text("doc_id", ""),
        )
        created = await self._statesync.create_document(_actor(call), new)
        return plain(convert.document_info(created))

    async def document(self, call: Call) -> Any:
        """Return a document with its content, now or at ``version``."""
        asked = call.query("version", "")
        at = call.query_integer("version", 0, _MAX_VERSION) if asked else None
        found = await self._statesync.get_document(
            _actor(call), call.query("doc_id"), at_version=at
        )
        answer = plain(convert.document_info(found.document))
        answer["content"] = plain(convert.snapshot(found))
        if found.text is not None:
            answer["text"] = found.text
        return answer

    async def update_document(self, call: Call) -> Any:
        """Change a document's description or permissions."""
        revision = call.integer("expected_revision", 0)
        changed = await self._statesync.update_document(
            _actor(call),
            call.text("doc_id"),
            convert.document_change(call.body.get("change")),
            expected_revision=revision or None,
        )
        return plain(convert.document_info(changed))

    async def delete_document(self, call: Call) -> Any:
        """Mark a document deleted."""
        deleted = await self._statesync.delete_document(_actor(call), call.query("doc_id"))
        return plain(convert.document_info(deleted))

    async def list_documents(self, call: Call) -> Any:
        """Return the documents that the user may read."""
        kind, state = call.query("type", ""), call.query("state", "")
        where = api.DocumentFilter(
            type=convert.named(api.DocumentType, kind, "document type") if kind else None,
            state=convert.named(api.DocumentState, state, "document state") if state else None,
            created_by=call.query("created_by", "") or None,
        )
        limit = call.query_integer("limit", 100, _MAX_PAGE) or 100
        page = await self._statesync.list_documents(
            _actor(call), where, after=call.query("after", ""), limit=limit
        )
        return {
            "documents": [plain(convert.document_info(found)) for found in page.documents],
            "total": page.total,
            "next_after": page.next_after,
        }

    async def operate(self, call: Call) -> Any:
        """Apply an operation; its client and sequence name it, so that a repeat is harmless."""
        if not call.body.get("client_id") or not call.body.get("client_seq"):
            raise GatewayError(
                Code.INVALID,
                "the body needs 'client_id' and 'client_seq' (from 1, without gaps): they name the "
                "operation, so that sending it again does not apply it again",
            )
        operation = api.Operation(
            doc_id=call.text("doc_id"),
            client_id=call.text("client_id"),
            client_seq=call.integer("client_seq"),
            type=convert.named(api.OperationType, call.text("type"), "operation type"),
            target=call.texts("target"),
            payload=_bytes(call, "data") or call.body.get("value"),
            base_version=call.integer("base_version", 0),
            fencing_token=call.integer("fence", 0),
        )
        done = await self._statesync.apply(_actor(call), operation)
        return plain(convert.acknowledgement(done))

    async def operations(self, call: Call) -> Any:
        """Return operations after ``since``."""
        page = await self._statesync.operations_since(
            _actor(call),
            call.query("doc_id"),
            call.query_integer("since", 0, _MAX_VERSION),
            limit=call.query_integer("limit", 100, _MAX_PAGE) or 100,
        )
        return {
            "operations": [plain(convert.operation(done)) for done in page.operations],
            "version": page.version,
            "epoch": page.epoch,
        }

    async def conflicts(self, call: Call) -> Any:
        """Return a document's conflicts."""
        found = await self._statesync.conflicts(
            _actor(call),
            call.query("doc_id"),
            pending_only=call.query("pending", "") in ("1", "true"),
            limit=call.query_integer("limit", 100, _MAX_PAGE) or 100,
        )
        return {"conflicts": [plain(convert.conflict(item)) for item in found]}

    async def resolve(self, call: Call) -> Any:
        """Decide a waiting conflict."""
        keep = convert.named(api.Keep, call.text("keep"), "choice")
        settled = await self._statesync.resolve_conflict(
            _actor(call),
            call.text("doc_id"),
            call.text("conflict_id"),
            api.Resolution(keep, call.body.get("value")),
        )
        return plain(convert.conflict(settled))

    async def lock(self, call: Call) -> Any:
        """Lock a part of a document."""
        granted = await self._statesync.acquire_lock(
            _actor(call, call.text("session_id", "")),
            call.text("doc_id"),
            target=call.texts("target"),
            ttl_s=call.number("ttl_seconds", 0.0),
        )
        return {"lock": plain(convert.lock(granted))}

    async def unlock(self, call: Call) -> Any:
        """Release a lock."""
        who = _actor(call, call.text("session_id", ""))
        await self._statesync.release_lock(who, call.text("doc_id"), call.integer("fence"))
        return {"success": True}

    async def locks(self, call: Call) -> Any:
        """Return the locks of a document."""
        found = await self._statesync.locks(_actor(call), call.query("doc_id"))
        return {"locks": [plain(convert.lock(item)) for item in found]}

    # Statistics

    async def statistics(self, call: Call) -> Any:
        """Return the state service's totals."""
        found = await self._statesync.statistics()
        return {name: getattr(found, name) for name in api.Statistics.__slots__}

    async def socket_statistics(self, call: Call) -> Any:
        """Return who is connected."""
        return {
            "total_connections": len(self._hub),
            "authenticated_users": self._hub.users,
            "total_channels": self._hub.channels,
        }

    async def breaker_statistics(self, call: Call) -> Any:
        """Return every circuit breaker."""
        return {
            name: {
                "name": name,
                "state": breaker.state.value,
                "requests": breaker.requests,
                "total_successes": breaker.successes,
                "total_failures": breaker.failures,
                "consecutive_successes": breaker.consecutive_successes,
                "consecutive_failures": breaker.consecutive_failures,
                "error_rate": breaker.error_rate,
                "trips": breaker.trips,
            }
            for name, breaker in self._breakers.by_name.items()
        }

    async def reset_breaker(self, call: Call) -> Any:
        """Close one circuit breaker, or all."""
        if not call.identity.is_admin:
            raise GatewayError(Code.FORBIDDEN, "only an admin may reset a breaker")
        name = call.query("name", "")
        if name and name not in self._breakers.by_name:
            known = ", ".join(self._breakers.by_name)
            raise GatewayError(Code.NOT_FOUND, f"there is no breaker {name[:64]!r}; known: {known}")
        for breaker in self._breakers.by_name.values():
            if name in ("", breaker.name):
                breaker.reset()
        return None

    def _guarded(self, backend: str) -> Callable[[Any], Any]:
        breaker = self._breakers.by_name[backend]

        def wrap(endpoint: Any) -> Any:
            async def guarded(call: Call) -> Any:
                with breaker.guard():
                    return await endpoint(call)

            return guarded

        return wrap

    async def _own_session(self, call: Call, session_id: str) -> Session:
        session = await self._sessions.get(session_id)
        if session.user_id != call.identity.user_id and not call.identity.is_admin:
            raise GatewayError(Code.FORBIDDEN, "this session is another user's")
        return session


def plain(part: Any) -> dict[str, Any]:
    """Return a part of an envelope as JSON says it, every field present; bytes are base64."""
    answer: dict[str, Any] = {}
    for item in plan(type(part)):
        value = getattr(part, item.name)
        if item.shape is Shape.BYTES:
            value = b64encode(value).decode()
        elif item.shape is Shape.ONE:
            value = plain(value) if value is not None else None
        elif item.shape is Shape.MANY:
            value = [plain(inner) for inner in value]
        elif item.shape in (Shape.STRS, Shape.INTS):
            value = list(value)
        answer[item.name] = value
    if isinstance(part, m.DocumentInfo):
        answer["doc_id"] = part.document
    return answer


def _session(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "user_id": session.user_id,
        "connection_id": session.connection_id,
        "client_ip": session.client_ip,
        "client_port": session.client_port,
        "server_addr": session.server_addr,
        "state": session.state.value,
        "created_ms": session.created_at_ns // 1_000_000,
        "last_active_ms": session.last_active_at_ns // 1_000_000,
        "expires_ms": session.expires_at_ns // 1_000_000,
        "metadata": dict(session.metadata),
    }


def _actor(call: Call, session_id: str = "") -> api.Actor:
    identity = call.identity
    return api.Actor(identity.user_id, session_id or identity.family, identity.is_admin)


def _bytes(call: Call, name: str) -> bytes:
    try:
        return b64decode(call.text(name, ""), validate=True)
    except ValueError:
        raise GatewayError(Code.INVALID, f"{name!r} must be base64") from None


def _host(call: Call) -> str:
    return call.request.client.host if call.request.client else ""
