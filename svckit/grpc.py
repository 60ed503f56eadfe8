"""gRPC bootstrap: servers and channels with our limits, deadlines, and errors that survive.

An error of a package has a code, a reason and details. On the server `serve` turns it into a
status with that reason as its message and the whole error as binary metadata; on the client
`Stub` turns the status back into the same class. How an error is written belongs to the package's
adapters, which give an `ErrorMapping`: this module knows no message.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import grpc
import grpc.aio

from svckit.logs import logger

ERROR_KEY = "quantum-error-bin"
MAX_MESSAGE_BYTES = 4 << 20

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    _Interceptor: TypeAlias = grpc.aio.ServerInterceptor[Any, Any]
else:  # the stubs are generic, the classes are not
    Context = grpc.aio.ServicerContext
    _Interceptor = grpc.aio.ServerInterceptor

_log = logger("grpc")
T = TypeVar("T")


class CodedError(Protocol):
    """What every error tree of ours offers."""

    reason: str


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """How one package's errors cross the wire.

    ``root`` is the base class; ``status`` gives each class its gRPC status; ``encode`` and
    ``decode`` write an error to bytes and back; ``unavailable`` and ``refused`` make the errors for
    a peer that cannot be reached and for a status that carries no error of ours.
    """

    root: type[Exception]
    status: Mapping[type[Any], grpc.StatusCode]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Exception]
    unavailable: Callable[[str], Exception]
    refused: Callable[[str], Exception]

    def to_local(self, error: grpc.aio.AioRpcError) -> Exception:
        """Return the error that a failed call stands for."""
        trailing: Any = error.trailing_metadata() or ()
        for key, value in trailing:
            if key == ERROR_KEY and isinstance(value, bytes):
                return self.decode(value)
        code, details = error.code(), error.details() or "no details"
        if code in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.UNIMPLEMENTED,
        ):
            return self.refused(details)
        return self.unavailable(f"the service did not answer ({code.name}): {details}")


class Server:
    """A started gRPC server."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new calls, give running ones *grace_s* seconds, then cancel them."""
        await self._server.stop(grace_s)


async def serve(
    register: Sequence[Callable[[grpc.aio.Server], None]],
    mapping: ErrorMapping,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    max_concurrent_calls: int = 10_000,
) -> Server:
    """Start a server with every servicer of *register*; port 0 takes a free one (`Server.port`).

    Raises OSError when the address cannot be bound.
    """
    server = grpc.aio.server(
        interceptors=[_Errors(mapping)],
        options=[*_size_options(max_message_bytes), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=max_concurrent_calls,
    )
    for add in register:
        add(server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error}") from None
    await server.start()
    return Server(server, bound)


def channel(target: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> grpc.aio.Channel:
    """Return a channel to ``host:port``; it connects by itself and reconnects with back-off."""
    return grpc.aio.insecure_channel(
        target,
        options=[
            *_size_options(max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 5_000),
        ],
    )


def _size_options(limit: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
    ]


async def call(rpc: Awaitable[T], mapping: ErrorMapping) -> T:
    """Await a unary call; raise its error as the package's own."""
    try:
        return await rpc
    except grpc.aio.AioRpcError as error:
        raise mapping.to_local(error) from None


class _Malformed:
    """Stands for a request whose bytes are not the message they should be."""


class _Errors(_Interceptor):
    """Turns what a handler raises into a status; a handler's bug is logged, never shown."""

    def __init__(self, mapping: ErrorMapping) -> None:
        self._mapping = mapping

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that *continuation* finds; None is an unknown method."""
        handler = await continuation(details)
        if handler is None:
            return None
        method = str(details.method)
        decode = handler.request_deserializer

        def deserialize(data: bytes) -> Any:
            try:
                return decode(data)
            except Exception:
                return _Malformed()

        if handler.request_streaming:
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, method), deserialize, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method), deserialize, handler.response_serializer
        )

    def _unary(self, inner: Any, method: str) -> Any:
        async def handle(request: Any, context: Context) -> Any:
            if isinstance(request, _Malformed):
                await self._refuse_malformed(context, method)
            try:
                return await inner(request, context)
            except Exception as error:
                return await self._abort(context, error, method)

        return handle

    def _stream(self, inner: Any, method: str) -> Any:
        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            if isinstance(request, _Malformed):
                await self._refuse_malformed(context, method)
            try:
                async for answer in inner(request, context):
                    yield answer
            except Exception as error:
                await self._abort(context, error, method)

        return handle

    async def _refuse_malformed(self, context: Context, method: str) -> None:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, f"the request is not a message of {method}"
        )

    async def _abort(self, context: Context, error: Exception, method: str) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, self._mapping.root):
            status = self._mapping.status[type(error)]
            metadata = ((ERROR_KEY, self._mapping.encode(error)),)
            await context.abort(status, str(error), metadata)
        _log.error("handler failed", method=method, exc_info=error)
        await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")
