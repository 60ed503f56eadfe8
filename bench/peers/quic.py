"""QUIC through aioquic and through qh3, its fork, whose asyncio classes are the same to a user.

Neither tells a sender to wait, so a line looks at how much is queued. Messages without order go as
unidirectional streams of one message each, which is how QUIC has them when they must arrive; that
is what the profile ``realtime`` chooses, and others put messages on the one stream.
"""

import asyncio
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from bench.peers.line import MESSAGE_BYTES, Handler, Line, Offer, Options, Stats

ALPN = "bench"
WINDOW_BYTES = 32 * 1024 * 1024
# A full Ethernet packet over IPv4.
DATAGRAM_BYTES = 1472 - 20
IDLE_S = 600.0
# As much as the machine allows, up to here.
SOCKET_BYTES = 7 * 1024 * 1024
# More than the path of any scenario holds, queue included.
QUEUE_BYTES = 4 * 1024 * 1024
# Waiting for the loop after every message would cost more than the message.
TURN_EVERY = 32


class Library(Protocol):
    """What differs between the two libraries."""

    def configuration(self, options: Options, *, is_client: bool) -> Any:
        """Return a `QuicConfiguration`; ValueError when the congestion control is unknown."""

    def trust(self, configuration: Any, certificate: str, key: str | None) -> None:
        """Give a server its certificate, and a client the one to trust."""

    def server(self, configuration: Any, protocol: Any) -> Any:
        """Return the asyncio protocol of a server."""

    async def dial(self, sock: socket.socket, configuration: Any, protocol: Any) -> Any:
        """Return the asyncio protocol of a client on *sock*, which has yet to connect."""

    def queued(self, connection: Any, stream: int) -> int:
        """Return how many bytes of a stream wait for being sent or acknowledged."""

    def stats(self, connection: Any) -> Stats:
        """Return the counters that there are."""


class QuicLine:
    """A `Line` on one bidirectional stream.

    Args:
        library: which of the two it is.
        protocol: the connection's asyncio protocol.
        stream: the number of the stream.
        apart: whether every message gets a stream of its own.
    """

    def __init__(self, library: Library, protocol: Any, stream: int, apart: bool) -> None:
        self._library = library
        self._protocol = protocol
        self._quic = protocol._quic
        self._stream = stream
        self._apart = apart
        self._came = asyncio.Event()
        self._moved = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._messages: list[bytes] = []
        self._begun: dict[int, bytes] = {}
        self._ended = False
        self._unturned = 0

    # ---- what the protocol says ----

    def take(self, stream: int, data: bytes, ended: bool) -> None:
        """Take what came on one of the streams."""
        if stream == self._stream:
            if data:
                self._pieces.append(data)
            self._ended = self._ended or ended
        else:
            data = self._begun.pop(stream, b"") + data
            if ended:
                self._messages.append(data)
            else:
                self._begun[stream] = data
        self._came.set()

    def end(self) -> None:
        """Take note that the connection is over."""
        self._ended = True
        self._came.set()
        self._moved.set()

    def move(self) -> None:
        """Take note that packets were sent, so that there may be room."""
        self._moved.set()

    # ---- Line ----

    async def write(self, data: bytes) -> None:
        """Write, and wait while much is queued; see `Line`."""
        self._quic.send_stream_data(self._stream, data)
        self._protocol.transmit()
        await self._room()

    async def read(self) -> bytes:
        """Return what has come; see `Line`."""
        while not self._pieces:
            if self._ended:
                return b""
            await self._wait()
        return self._pieces.popleft()

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes; see `Line`."""
        found = bytearray()
        while len(found) < count:
            piece = await self.read()
            if not piece:
                raise EOFError(f"the stream ended {count - len(found)} bytes too early")
            found += piece
        self._put_back(bytes(found[count:]))
        return bytes(found[:count])

    async def send(self, message: bytes) -> None:
        """Send a message, apart or on the stream; see `Line`."""
        if self._apart:
            number = self._quic.get_next_available_stream_id(is_unidirectional=True)
            self._quic.send_stream_data(number, message, end_stream=True)
            self._protocol.transmit()
            return
        self._quic.send_stream_data(self._stream, message)
        # The libraries' own stream writers send so too: once for all that a turn of the loop wrote.
        self._protocol._transmit_soon()
        self._unturned += 1
        if self._unturned == TURN_EVERY:
            self._unturned = 0
            await asyncio.sleep(0)
            await self._room()

    async def receive(self) -> Sequence[bytes]:
        """Return the messages that have come; see `Line`."""
        if self._apart:
            while not self._messages:
                self._check_open()
                await self._wait()
            messages, self._messages = self._messages, []
            return messages
        data = b""
        while True:
            data += await self.read()
            self._check_open(data)
            while self._pieces:
                data += self._pieces.popleft()
            whole = len(data) - len(data) % MESSAGE_BYTES
            if whole:
                self._put_back(data[whole:])
                return [data[at : at + MESSAGE_BYTES] for at in range(0, whole, MESSAGE_BYTES)]

    async def flush(self) -> None:
        """Send what is queued, as far as it may be; see `Line`."""
        self._protocol.transmit()

    def stats(self) -> Stats:
        """Return the connection's counters; see `Line`."""
        return self._library.stats(self._quic)

    def _put_back(self, rest: bytes) -> None:
        if rest:
            self._pieces.appendleft(rest)

    def _check_open(self, data: bytes = b"") -> None:
        if self._ended and not data and not self._pieces:
            raise EOFError("the stream ended where a message was due")

    async def _wait(self) -> None:
        self._came.clear()
        await self._came.wait()

    async def _room(self) -> None:
        while not self._ended and self._library.queued(self._quic, self._stream) > QUEUE_BYTES:
            self._moved.clear()
            await self._moved.wait()


class Quic:
    """A library as a `Transport` of the bench."""

    def __init__(self, library: Library, protocol: type, terminated: Any, received: Any) -> None:
        self._library = library
        self._base = protocol
        self._terminated = terminated
        self._received = received

    @asynccontextmanager
    async def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AsyncIterator[Offer]:
        """Listen; see `Transport`."""
        from quantum.perf.certificate import make_certificate

        certificate, key = make_certificate()
        configuration = self._library.configuration(options, is_client=False)
        self._library.trust(configuration, certificate, key)
        tasks: set[asyncio.Task[None]] = set()

        def opened(line: Line) -> None:
            task = asyncio.ensure_future(_run(handler, line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        protocol = self._protocol(options, opened)
        # What their own serve() does, except that it does not tell which port it got.
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self._library.server(configuration, protocol), sock=_socket(host, port)
        )
        try:
            got = transport.get_extra_info("sockname")[1]
            yield {"port": got, "certificate": certificate}
        finally:
            server.close()

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Connect; see `Transport`."""
        async with self._connection(host, port, offer, options) as protocol:
            yield protocol.open_line()

    @asynccontextmanager
    async def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[None]:
        """Connect and keep quiet; see `Transport`."""
        async with self._connection(host, port, offer, options):
            yield

    @asynccontextmanager
    async def _connection(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Any]:
        configuration = self._library.configuration(options, is_client=True)
        self._library.trust(configuration, str(offer["certificate"]), None)
        # What the certificate says, wherever the server is.
        configuration.server_name = "127.0.0.1"
        protocol = await self._library.dial(
            _socket("0.0.0.0", 0), configuration, self._protocol(options, lambda line: None)
        )
        try:
            protocol.connect((host, port))
            await protocol.wait_connected()
            yield protocol
        finally:
            # Their own connect() waits here until the last packets must have died out.
            protocol.close()
            protocol._transport.close()
            if protocol._timer is not None:
                protocol._timer.cancel()

    def _protocol(self, options: Options, opened: Callable[[Line], None]) -> type:
        library, terminated, received = self._library, self._terminated, self._received
        base: Any = self._base
        apart = options.profile == "realtime"

        class LineProtocol(base):  # type: ignore[misc]  # one of two classes, known at run time
            """A connection with one line, which gets all that comes."""

            line: QuicLine | None = None

            def open_line(self) -> QuicLine:
                """Return a line on a new stream."""
                number = self._quic.get_next_available_stream_id()
                self.line = QuicLine(library, self, number, apart)
                return self.line

            def transmit(self) -> None:
                """Send, as after all that comes and every timer."""
                super().transmit()
                if self.line is not None:
                    self.line.move()

            def quic_event_received(self, event: Any) -> None:
                """Hand on what came."""
                if isinstance(event, received):
                    if self.line is None:
                        # The header is on the first stream, and first.
                        self.line = QuicLine(library, self, 0, apart)
                        opened(self.line)
                    self.line.take(event.stream_id, event.data, event.end_stream)
                elif isinstance(event, terminated):
                    if self.line is not None:
                        self.line.end()
                    elif event.error_code:
                        sys.stderr.write(f"no connection: {event.reason_phrase}\n")

        return LineProtocol


def _socket(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        found.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
    found.bind((host, port))
    found.setblocking(False)
    return found


async def _run(handler: Handler, line: Line) -> None:
    await handler(line)
