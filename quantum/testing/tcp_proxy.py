"""A TCP proxy on real sockets: delay, and a stall wherever a segment would have been lost.

It uses `StreamLink` and knows nothing of what passes through. It outlives its upstream: while that
is away new connections are reset at once, and when it is back they go through again.
"""

import asyncio
import socket
import struct
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

from quantum.testing.network import Impairment
from quantum.testing.stream_link import StreamLink

PERFECT = Impairment()
# Bytes one direction of a connection may hold before its sender has to wait.
HELD_BYTES = 1024 * 1024


class TcpCounts(NamedTuple):
    """What a `TcpProxy` did so far, both directions together."""

    forwarded_bytes: int
    stalls: int
    connections: int
    """Connections open now."""
    accepted: int
    refused: int
    """Connections closed at once because upstream could not be reached."""
    broken: int
    """Connections that ended with an error of one side, or by `TcpProxy.reset`."""


class TcpProxy:
    """Relays TCP connections to one upstream with delay, and stalls where segments would be lost.

    ``async with TcpProxy(("127.0.0.1", 8080), Impairment(loss=0.05)) as proxy: ... proxy.port``

    Args:
        upstream: (host, port); may be reassigned, for connections that come later.
        forward: what happens from client to upstream; see `StreamLink` for what applies.
        back: from upstream to client; *forward* if not given.
        seed: decides every random choice, in the order in which connections appear.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        forward: Impairment = PERFECT,
        back: Impairment | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.upstream = upstream
        self._forward = forward
        self._back = back or forward
        self._seed = seed
        self._relays: dict[asyncio.Task[None], _Relay] = {}
        self._accepted = 0
        self._refused = 0
        self._broken = 0
        self._past_bytes = 0
        self._past_stalls = 0
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listen on *host*; port 0 lets the system choose.

        Raises:
            OSError: the address cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._server = await asyncio.start_server(self._accept, host, port)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        self.port = self.address[1]
        return self

    async def close(self) -> None:
        """Stop listening and break every connection; a second call does nothing."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        await self.reset()
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        return self if self._server is not None else await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    def impair(self, forward: Impairment, back: Impairment | None = None) -> None:
        """Change what happens from now on; what is under way stays under way."""
        self._forward, self._back = forward, back or forward
        for relay in self._relays.values():
            relay.impair(self._forward, self._back)

    def cut(self) -> None:
        """Cut the network: nothing moves and nobody is told, as when a cable is pulled."""
        self._whole.clear()

    def restore(self) -> None:
        """Mend the network: what was written meanwhile arrives, as TCP sends it again."""
        self._whole.set()

    async def reset(self) -> None:
        """Break every connection that is open, with a reset to both sides."""
        tasks = list(self._relays)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def counts(self) -> TcpCounts:
        """A snapshot of the counters."""
        return TcpCounts(
            forwarded_bytes=self._past_bytes + sum(r.moved for r in self._relays.values()),
            stalls=self._past_stalls + sum(r.stalls for r in self._relays.values()),
            connections=len(self._relays),
            accepted=self._accepted,
            refused=self._refused,
            broken=self._broken,
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        relay = _Relay(self._forward, self._back, f"{self._seed}/{self._accepted}")
        task = self._loop.create_task(self._serve(relay, reader, writer))
        self._relays[task] = relay
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        relay = self._relays.pop(task)
        self._past_bytes += relay.moved
        self._past_stalls += relay.stalls

    async def _serve(
        self, relay: "_Relay", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._whole.wait()
            try:
                up_reader, up_writer = await asyncio.open_connection(*self.upstream)
            except OSError:
                self._refused += 1
                return
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._relay(relay.forward, reader, up_writer))
                    group.create_task(self._relay(relay.back, up_reader, writer))
                for end in (up_writer, writer):
                    end.close()
                    await end.wait_closed()
            except ExceptionGroup as failure:
                if failure.split(OSError)[1] is not None:
                    raise
                self._broken += 1
            except OSError:
                self._broken += 1
            except asyncio.CancelledError:
                self._broken += 1
                raise
            finally:
                _abort(up_writer)
        finally:
            _abort(writer)

    async def _relay(
        self, way: "_Way", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Move one direction to its end; then pass the end on."""
        feeding = self._loop.create_task(self._feed(way, reader))
        try:
            while True:
                await self._whole.wait()
                now = int((self._loop.time() - self._started) * 1e9)
                data = way.link.poll_data(now)
                if data:
                    way.moved += len(data)
                    writer.write(data)
                    await writer.drain()
                if way.link.held_bytes < HELD_BYTES:
                    way.has_room.set()
                if feeding.done() and not way.link.held_bytes:
                    break
                due = way.link.next_timeout()
                way.changed.clear()
                if due is not None:
                    handle = self._loop.call_at(self._started + due / 1e9, way.changed.set)
                    await way.changed.wait()
                    handle.cancel()
                elif not feeding.done():
                    await way.changed.wait()
            feeding.result()
            if writer.can_write_eof():
                writer.write_eof()
        finally:
            feeding.cancel()

    async def _feed(self, way: "_Way", reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(65536):
                way.link.write(data)
                way.changed.set()
                if way.link.held_bytes >= HELD_BYTES:
                    way.has_room.clear()
                    await way.has_room.wait()
        finally:
            way.changed.set()


class _Way:
    """One direction of one connection."""

    def __init__(self, link: StreamLink) -> None:
        self.link = link
        self.moved = 0
        self.changed = asyncio.Event()
        self.has_room = asyncio.Event()


class _Relay:
    """Both directions of one connection."""

    def __init__(self, forward: Impairment, back: Impairment, seed: str) -> None:
        self.forward = _Way(StreamLink(forward, 0, Random(f"{seed}/forward")))
        self.back = _Way(StreamLink(back, 0, Random(f"{seed}/back")))
        self.impair(forward, back)

    def impair(self, forward: Impairment, back: Impairment) -> None:
        round_trip = forward.delay_ns + back.delay_ns
        for way, impairment in ((self.forward, forward), (self.back, back)):
            way.link.impairment = impairment
            way.link.round_trip_ns = round_trip
            way.changed.set()

    @property
    def moved(self) -> int:
        return self.forward.moved + self.back.moved

    @property
    def stalls(self) -> int:
        return self.forward.link.stalls + self.back.link.stalls


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, unless it is closing in order already."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
