"""`serve`: a listener that runs a handler for each connection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from quantum.config import TransportConfig
from quantum.connection import Connection
from quantum.endpoint import UdpEndpoint
from quantum.errors import ConnectionFailed
from quantum.identity import Identity

Handler = Callable[[Connection], Awaitable[None]]
_log = logging.getLogger("quantum.server")

# Application codes that a listener itself closes with; handlers choose their own.
HANDLER_FAILED = 0x01
SHUTTING_DOWN = 0x02


class Listener:
    """A server's socket, its connections, and one task per connection."""

    def __init__(
        self, handler: Handler, host: str, port: int, identity: Identity, config: TransportConfig
    ) -> None:
        self.identity = identity
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
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
        except ConnectionFailed:
            # The peer went away; the handler need not know how to say so.
            pass
        except Exception:
            _log.exception("the handler of %r failed", connection)
            connection.abort(HANDLER_FAILED, "the handler failed")
            return
        if not connection.is_closed:
            await connection.close()

    @property
    def connections(self) -> list[Connection]:
        """The connections that are not over."""
        return self._endpoint.connections()

    def stats(self) -> dict[str, int]:
        """Return counters of the socket and why datagrams were dropped, by name."""
        return self._endpoint.stats()

    async def close(self, timeout: float = 5.0) -> None:
        """Accept no more, close every connection in order within *timeout* s, then the socket."""
        self._endpoint.refuse_new()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(
                    *(
                        c.close(SHUTTING_DOWN, "the server is shutting down")
                        for c in self.connections
                    )
                )
        except TimeoutError:
            pass
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._endpoint.close()

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


async def serve(
    handler: Handler,
    host: str = "0.0.0.0",
    port: int = 4433,
    *,
    identity: Identity,
    config: TransportConfig | None = None,
) -> Listener:
    """Listen on UDP *host*:*port* (0 for a free one) and run ``await handler(connection)`` per
    connection.

    A connection closes when its handler returns. Raises ConfigurationError when the port cannot
    be had.
    """
    return Listener(handler, host, port, identity, config or TransportConfig())
