"""The frame of the HTTP API: reading a request, believing its token, answering in one shape.

Every answer is ``{"code", "message", "data", "request_id"}`` with a true status code. What a client
sent is refused with one sentence; what nobody foresaw is logged and answered with 500.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.codec import DecodeError
from gateway.errors import Code, GatewayError
from gateway.identity import Identity
from gateway.json_value import parse_json
from gateway.middleware.rate_limit import AddressLimiter
from gateway.service_errors import to_gateway_error
from gateway.tokens import TokenIssuer
from gateway.users import UserStore
from svckit.logs import logger

_log = logger("gateway.rest")
_MAX_REQUEST_ID = 128
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read and checked as far as every request is."""

    request: Request
    request_id: str
    body: Mapping[str, Any]
    _identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who asks; only for routes that need a token."""
        assert self._identity is not None
        return self._identity

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string of the body; without *default* it must be there."""
        return self._field(name, str, "a string", default)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer of the body, 0 or above."""
        value = self._field(name, int, "an integer", default)
        if isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise GatewayError(Code.INVALID, f"{name!r} must be an integer from 0 to 2**63 - 1")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number of the body, 0 or above."""
        value = self.body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise GatewayError(Code.INVALID, f"{name!r} must be a number that is not negative")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return a boolean of the body, False where there is none."""
        return self._field(name, bool, "true or false", False)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings of the body, empty where there is none."""
        found: list[Any] = self._field(name, list, "a list of strings", [])
        if not all(isinstance(item, str) for item in found):
            raise GatewayError(Code.INVALID, f"{name!r} must be a list of strings")
        return tuple(found)

    def mapping(self, name: str) -> dict[str, str]:
        """Return an object of strings of the body, empty where there is none."""
        found: dict[str, Any] = self._field(name, dict, "an object of strings", {})
        if not all(isinstance(item, str) for item in found.values()):
            raise GatewayError(Code.INVALID, f"{name!r} must be an object of strings")
        return found

    def query(self, name: str, default: str | None = None) -> str:
        """Return a parameter of the URL. Without *default* it must be there."""
        found = self.request.query_params.get(name, default)
        if not found and default is None:
            raise GatewayError(Code.INVALID, f"the URL needs the parameter {name!r}")
        return found or ""

    def query_integer(self, name: str, default: int, most: int) -> int:
        """Return an integer of the URL, from 0 to *most*."""
        found = self.request.query_params.get(name)
        if found is None or found == "":
            return default
        if not (found.isascii() and found.isdigit()) or int(found[:20]) > most:
            raise GatewayError(Code.INVALID, f"{name!r} must be an integer from 0 to {most}")
        return int(found)

    def _field(self, name: str, kind: type[T], expected: str, default: T | None) -> T:
        found = self.body.get(name)
        if found is None or found == "":
            if default is None:
                raise GatewayError(Code.INVALID, f"the body needs the field {name!r}")
            return default
        if not isinstance(found, kind):
            raise GatewayError(Code.INVALID, f"{name!r} must be {expected}")
        return found


Endpoint = Callable[[Call], Awaitable[Any]]


class Api:
    """Makes routes of endpoints."""

    def __init__(
        self,
        tokens: TokenIssuer,
        users: UserStore,
        limiter: AddressLimiter,
        ids: Callable[[], str],
        *,
        max_body_bytes: int,
    ) -> None:
        self._tokens = tokens
        self._users = users
        self._limiter = limiter
        self._ids = ids
        self._max_body_bytes = max_body_bytes
        self.answers: dict[int, int] = {}

    def route(self, path: str, methods: Mapping[str, Endpoint], *, is_open: bool = False) -> Route:
        """Return the route at *path*; unless *is_open*, it needs an access token."""

        async def handle(request: Request) -> Response:
            request_id = request.headers.get("x-request-id", "")
            if not 0 < len(request_id) <= _MAX_REQUEST_ID or not request_id.isprintable():
                request_id = self._ids()
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                response = await self._answer(request, request_id, methods, is_open)
            response.headers["X-Request-ID"] = request_id
            self.answers[response.status_code] = self.answers.get(response.status_code, 0) + 1
            return response

        # Starlette's own 405 is not in our shape, so every method comes here.
        every = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return Route(path, handle, methods=every)

    async def _answer(
        self, request: Request, request_id: str, methods: Mapping[str, Endpoint], is_open: bool
    ) -> Response:
        try:
            endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
            if endpoint is None:
                known = ", ".join(sorted(methods))
                raise GatewayError(
                    Code.METHOD_NOT_ALLOWED,
                    f"{request.url.path} takes {known}, not {request.method}",
                )
            host = request.client.host if request.client else ""
            self._limiter.check(host, "requests")
            identity = None if is_open else self._believe(request)
            body = await self._body(request) if request.method in ("POST", "PUT", "PATCH") else {}
            if request.method == "DELETE" and request.headers.get("content-length", "0") != "0":
                body = await self._body(request)
            data = await endpoint(Call(request, request_id, body, identity))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return self._refuse(error, request, request_id)
        if isinstance(data, Response):
            return data
        answer = {"code": 0, "message": "success", "data": data, "request_id": request_id}
        return JSONResponse(answer)

    def _refuse(self, error: Exception, request: Request, request_id: str) -> Response:
        known = to_gateway_error(error)
        if known is None:
            _log.error("request failed", path=request.url.path, exc_info=error)
            known = GatewayError(Code.INTERNAL, "the gateway failed; its log says why")
        answer: dict[str, Any] = {
            "code": known.status,
            "message": known.reason,
            "data": None,
            "error": known.code.value,
            "request_id": request_id,
        }
        if known.detail:
            answer["detail"] = known.detail
        headers = {}
        if known.retry_after_ms:
            headers["Retry-After"] = str(-(-known.retry_after_ms // 1000))
        if known.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(answer, known.status, headers)

    def _believe(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise GatewayError(
                Code.UNAUTHENTICATED, "send the access token as 'Authorization: Bearer <token>'"
            )
        claimed = self._tokens.check(token.strip())
        known = self._users.find(claimed.user_id)
        if known is None:
            raise GatewayError(Code.FORBIDDEN, "this account is disabled or gone")
        return Identity(
            known.user_id, known.username, known.email, known.roles, family=claimed.family
        )

    async def _body(self, request: Request) -> Mapping[str, Any]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise GatewayError(Code.INVALID, f"the body must be application/json, not {kind[:64]}")
        declared = request.headers.get("content-length", "0")
        data = bytearray()
        if not declared.isdigit() or int(declared[:20]) > self._max_body_bytes:
            raise self._too_large()
        async for chunk in request.stream():
            data += chunk
            if len(data) > self._max_body_bytes:
                raise self._too_large()
        if not data:
            return {}
        body = parse_json(bytes(data), "the body")
        if not isinstance(body, dict):
            raise DecodeError(Code.INVALID, "the body must be a JSON object")
        return cast(Mapping[str, Any], body)

    def _too_large(self) -> GatewayError:
        return GatewayError(
            Code.TOO_LARGE, f"the body is above the limit of {self._max_body_bytes} bytes"
        )
