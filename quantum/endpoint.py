"""A UDP socket, the loop's readers for it, and the connections behind it.

The only file that meets the socket. The datapath is `cython_ext.driver.Pump`: one call per wake-up.
"""

import asyncio
import logging
import os
from collections.abc import Callable

from cython_ext.core import Connection as Core
from cython_ext.core import ConnectionState
from cython_ext.core import Endpoint as CoreEndpoint
from cython_ext.driver import Pump
from cython_ext.udp import RecvBatch, SendBatch, open_socket
from quantum.config import TransportConfig
from quantum.connection import FLUSH_BYTES, Connection
from quantum.errors import AddressError, TransportFailure

_log = logging.getLogger("quantum.endpoint")


class UdpEndpoint:
    """Connections that share one socket and one event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        config: TransportConfig,
        *,
        seed: bytes | None = None,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> None:
        self.config = config
        self._on_connection = on_connection
        self._loop = asyncio.get_running_loop()
        try:
            self.socket, self.abilities = open_socket(host, port)
        except OSError as error:
            raise AddressError(
                f"UDP {host}:{port} cannot be opened: {error.strerror or error}"
            ) from error
        self.core = CoreEndpoint(config.params(), os.urandom, seed)
        # Remembered, since a socket that someone closed does not tell it any more.
        self._fd = self.socket.fileno()
        sender = SendBatch(family=self.socket.family, gso=self.abilities.gso)
        try:
            self.pump = Pump(self._fd, self.core, RecvBatch(), sender)
        except OSError as error:
            self.socket.close()
            raise AddressError(f"UDP {host}:{port} cannot be opened: {error}") from error
        self._connections: dict[int, Connection] = {}
        self._flush_handle: asyncio.Handle | None = None
        # One for all connections.
        self._flush = self.flush_soon
        self._unflushed = 0
        self._is_writing = False
        self._is_prompt = False
        self._ended = self._loop.create_future()
        self._is_owned = False
        self.is_closed = False
        self._loop.add_reader(self._fd, self._on_readable)
        self._loop.add_reader(self.pump.timer_fd, self._on_timer)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the socket is bound to."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    def connect(self, address: tuple[str, int], pin: bytes, server_name: str) -> Connection:
        """Begin the one connection of a client's socket, which then owns it; `wait_connected`
        tells how it went."""
        core = self.core.connect(address, pin, Pump.now_ns(), server_name)
        connection = self._adopt(core, owned=self)
        self._is_owned = True
        self._turn()
        return connection

    def _adopt(self, core: Core, owned: "UdpEndpoint | None" = None) -> Connection:
        connection = Connection(core, self.config, self._flush, Pump.now_ns, owned)
        self._connections[core.serial] = connection
        return connection

    # turns

    def flush_soon(self, count: int, is_whole: bool = False) -> None:
        """Send what is queued: at the end of this turn of the loop, or now when much has
        gathered, or when *count* bytes that need nothing behind them are the first since something
        came.

        The answer to what came should not wait for another turn of the loop; what follows it may,
        and shares packets.
        """
        self._unflushed += count
        if self._unflushed >= FLUSH_BYTES or (is_whole and self._is_prompt):
            self._is_prompt = False
            self._turn()
        elif self._flush_handle is None and not self.is_closed:
            self._flush_handle = self._loop.call_soon(self._on_flush)

    def _on_flush(self) -> None:
        self._turn()

    def _on_readable(self) -> None:
        self._is_prompt = True
        self._turn(readable=True)

    def _on_timer(self) -> None:
        self._turn()

    def _on_writable(self) -> None:
        self._turn()

    def _turn(self, readable: bool = False) -> None:
        if self.is_closed:
            return
        self._unflushed = 0
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        try:
            has_events = self.pump.turn(readable)
        except OSError as error:
            self._fail(error)
            return
        if self.pump.wants_write != self._is_writing:
            self._is_writing = self.pump.wants_write
            if self._is_writing:
                self._loop.add_writer(self._fd, self._on_writable)
            else:
                self._loop.remove_writer(self._fd)
        if self.pump.wants_turn:
            self._flush_handle = self._loop.call_soon(self._on_flush)
        if has_events:
            self._dispatch()

    def _dispatch(self) -> None:
        for core in self.core.poll_connections():
            connection = self._connections.get(core.serial)
            if connection is None:
                # A hello that never got further has no application to tell. One that is already
                # over has: what came before its end is to be read.
                if core.secrets is None:
                    continue
                connection = self._adopt(core)
                connection.handle_events()
                if self._on_connection is not None:
                    self._on_connection(connection)
            else:
                connection.handle_events()
            if core.is_over:
                self._connections.pop(core.serial, None)
                self._wake_waiting()
        if self._is_owned and not self._connections:
            # The only connection is over, its CLOSE repeated long enough.
            self._close()

    def _wake_waiting(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # life

    def connections(self) -> list[Connection]:
        """Return the connections, among them those whose CLOSE may still be repeated."""
        return list(self._connections.values())

    def refuse_new(self) -> None:
        """Accept no further connections."""
        self.core.refuse_new()

    async def wait_idle(self) -> None:
        """Wait until no connection may have to repeat its CLOSE any more."""
        while any(c.core.state == ConnectionState.CLOSING for c in self._connections.values()):
            if self._ended.done():
                self._ended = self._loop.create_future()
            # Shielded: several may wait.
            await asyncio.shield(self._ended)

    def close(self) -> None:
        """Close the socket now; each connection that is still open sends one CLOSE, not repeated.

        A second call does nothing.
        """
        for connection in self.connections():
            if self.is_closed:
                # A client's socket closes itself with its connection.
                return
            connection.abort()
        self._close()

    def _fail(self, error: OSError) -> None:
        """End everything: the socket is unusable."""
        _log.error("the UDP socket with descriptor %d is unusable: %s", self._fd, error)
        failure = TransportFailure(f"the UDP socket is unusable: {error.strerror or error}")
        for connection in self.connections():
            connection.fail(failure)
        self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_reader(self.pump.timer_fd)
        if self._is_writing:
            self._loop.remove_writer(self._fd)
        self.pump.close()
        self.socket.close()
        self._connections.clear()
        self._wake_waiting()

    def stats(self) -> dict[str, int]:
        """Return counters of the socket and of the endpoint by name."""
        return {**self.pump.counters(), **self.core.stats()}
