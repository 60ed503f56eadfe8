"""`serve`: a listener that runs a handler for each connection."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any

from quantum.config import TransportConfig
from quantum.connection import APPLICATION_FAILED, Connection
from quantum.endpoint import UdpEndpoint
from quantum.errors import AddressError, ConfigurationError
from quantum.identity import Identity
from quantum.opening import Opening

Handler = Callable[[Connection], Awaitable[None]]
_log = logging.getLogger("quantum.server")

# Application codes that a listener itself closes with; handlers choose their own.
HANDLER_FAILED = APPLICATION_FAILED
SHUTTING_DOWN = 0x02
SHUTTING_DOWN_REASON = "the server is shutting down"


class Listener:
    """A server's socket, its connections, and one task per connection; made by `serve`."""

    def __init__(
        self, handler: Handler, host: str, port: int, identity: Identity, config: TransportConfig
    ) -> None:
        self.identity = identity
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._closer: asyncio.Task[Any] | None = None
        self._endpoint = UdpEndpoint(
            host, port, config, seed=identity.seed, on_connection=self._accept
        )
        self.host, self.port = self._endpoint.address

    def __repr__(self) -> str:
        return f"<Listener {self.host}:{self.port}>"

    def _accept(self, connection: Connection) -> None:
        task = asyncio.create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: Connection) -> None:
        try:
            await self._handler(connection)
        except Exception as error:
            if error is connection.error:
                # The peer went away; the handler need not know how to say so.
                return
            _log.exception("the handler of %r failed", connection)
            connection.abort(HANDLER_FAILED, "the handler failed")
        except BaseException:
            connection.abort(HANDLER_FAILED, "the handler was cancelled")
            raise
        else:
            await connection.close()

    @property
    def connections(self) -> list[Connection]:
        """The connections that are not over."""
        return [c for c in self._endpoint.connections() if not c.is_closed]

    def stats(self) -> dict[str, int]:
        """Return counters of the socket and why datagrams were dropped, by name."""
        return self._endpoint.stats()

    async def close(self, timeout: float = 5.0) -> None:
        """Accept no more, close every connection in order, let the handlers end, close the socket.

        All of it takes at most *timeout* s, and as long as the last CLOSE may have to be repeated;
        then what is left is cut and cancelled. A handler that closes its own listener is neither
        waited for nor cancelled.
        """
        self._closer = asyncio.current_task()
        self._endpoint.refuse_new()
        closing = asyncio.create_task(self._close_in_order())
        try:
            await asyncio.wait([closing], timeout=timeout)
        finally:
            for connection in self.connections:
                connection.abort(SHUTTING_DOWN, SHUTTING_DOWN_REASON)
            self._endpoint.close()
            left = [closing, *self._others()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _close_in_order(self) -> None:
        await asyncio.gather(
            *(c.close(SHUTTING_DOWN, SHUTTING_DOWN_REASON) for c in self.connections)
        )
        # They have just heard of it.
        if handlers := self._others():
            await asyncio.wait(handlers)
        await self._endpoint.wait_idle()

    def _others(self) -> list[asyncio.Task[None]]:
        return [task for task in self._tasks if task is not self._closer and not task.done()]

    async def wait_closed(self) -> None:
        """Wait until every connection of now is over."""
        await asyncio.gather(*(c.wait_closed() for c in self.connections))

    async def __aenter__(self) -> "Listener":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def serve(
    handler: Handler,
    host: str = "0.0.0.0",
    port: int = 4433,
    *,
    identity: Identity,
    config: TransportConfig | None = None,
) -> Opening[Listener]:
    """Listen on UDP *host*:*port* (0 for a free one) and run ``await handler(connection)`` per
    connection.

    Use as ``listener = await serve(...)`` or ``async with serve(...) as listener``. A connection
    closes in order when its handler returns; when the handler raises, it ends with code 1 and the
    traceback is logged. Raises AddressError, which is also an OSError, when the address cannot be
    had, ConfigurationError for a port that is none.
    """
    if not 0 <= port < 65536:
        raise ConfigurationError(f"a port is 0 to 65535, not {port}")
    return Opening(partial(_serve, handler, host, port, identity, config or TransportConfig()))


async def _serve(
    handler: Handler, host: str, port: int, identity: Identity, config: TransportConfig
) -> Listener:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"UDP {host}:{port} cannot be opened: {error}") from None
    # As written where it is numeric: it may name a scope.
    numeric = host if ":" in host else str(found[0][4][0])
    return Listener(handler, numeric, port, identity, config)
