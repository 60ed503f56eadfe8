"""KCP through the package kcp, which wraps its author's C code; nothing is encrypted.

The package's own client sleeps and its server sends ten times a second, so this drives the protocol
itself from the event loop, in the fastest mode that KCP documents: no delay, 10 ms, resend after
two, no congestion control. It has neither a handshake nor messages without order.
"""

import asyncio
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kcp.exceptions import KCPException
from kcp.extension import KCP

from bench.peers.command import main
from bench.peers.line import MESSAGE_BYTES, Handler, Line, Offer, Options, Stats

# A full Ethernet packet over IPv4, and what KCP leaves of it.
MTU = 1472
SEGMENT_BYTES = MTU - 24
INTERVAL_MS = 10
SOCKET_BYTES = 7 * 1024 * 1024
READS_AT_ONCE = 64
DATAGRAM_BYTES = 2048
CONVERSATION_BYTES = 4
# It says no good-bye.
SILENCE_S = 30.0
# Segments of one flush share datagrams.
FLUSH_EVERY = 32
# Packets in flight at most. Without congestion control this is what keeps KCP from drowning a path,
# so its users fit it to theirs.
WINDOWS = {"": 768, "loopback": 512, "wan": 768, "realtime": 256}


class KcpLine:
    """A `Line` on one conversation; a message is a segment."""

    def __init__(
        self, number: int, window: int, has_own_control: bool, send: Callable[[bytes], None]
    ) -> None:
        self._kcp = KCP(
            number,
            max_transmission=MTU,
            no_delay=True,
            update_interval=INTERVAL_MS,
            resend_count=2,
            no_congestion_control=not has_own_control,
            send_window_size=window,
            receive_window_size=4 * window,
        )
        self._kcp.include_outbound_handler(lambda _, data: send(data))
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._room_made = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._is_over = False
        self._is_flushing = False
        self._unflushed = 0
        self.last_heard = time.monotonic()
        self._kcp.update()

    def take(self, datagram: bytes) -> None:
        """Take a datagram of this conversation."""
        self.last_heard = time.monotonic()
        try:
            self._kcp.receive(datagram)
        except KCPException:
            return  # Another conversation's, or nobody's.
        pieces = [bytes(piece) for piece in self._kcp.get_all_received()]
        if pieces:
            self._pieces.extend(pieces)
            self._came.set()
        if self._kcp.get_outbound_packets() < 2 * self._window:
            self._room_made.set()
        self.flush_soon()

    def tick(self) -> None:
        """Let the protocol's timers run."""
        self._kcp.update()

    def end(self) -> None:
        """Take note that nobody is there any more."""
        self._is_over = True
        self._came.set()
        self._room_made.set()

    def flush_soon(self) -> None:
        """Send what is due, acknowledgements too, when this turn of the loop is over."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    async def write(self, data: bytes) -> None:
        """Write in segments, and wait while much is queued; see `Line`."""
        for at in range(0, len(data), SEGMENT_BYTES):
            self._kcp.enqueue(data[at : at + SEGMENT_BYTES])
        self._flush()
        await self._room()

    async def read(self) -> bytes:
        """Return what has come; see `Line`."""
        while not self._pieces:
            if self._is_over:
                return b""
            self._came.clear()
            await self._came.wait()
        return self._pieces.popleft()

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly *count* bytes; see `Line`."""
        found = bytearray()
        while len(found) < count:
            piece = await self.read()
            if not piece:
                raise EOFError(f"the stream ended {count - len(found)} bytes too early")
            found += piece
        if len(found) > count:
            self._pieces.appendleft(bytes(found[count:]))
        return bytes(found[:count])

    async def send(self, message: bytes) -> None:
        """Send a message as a segment; see `Line`."""
        self._kcp.enqueue(message)
        self._unflushed += 1
        if self._unflushed == FLUSH_EVERY:
            await self.flush()
            await asyncio.sleep(0)
            await self._room()
        else:
            self.flush_soon()

    async def receive(self) -> Sequence[bytes]:
        """Return the messages that have come; see `Line`."""
        messages = [await self.read_exactly(MESSAGE_BYTES)]
        while self._pieces and len(self._pieces[0]) == MESSAGE_BYTES:
            messages.append(self._pieces.popleft())
        return messages

    async def flush(self) -> None:
        """Send what is queued; see `Line`."""
        self._unflushed = 0
        self._flush()

    def stats(self) -> Stats:
        """Return nothing: the package has no counters; see `Line`."""
        return {}

    def _flush(self) -> None:
        self._is_flushing = False
        if self._is_over:
            return
        # The first brings its clock up to date, the second sends what the first may have kept.
        self._kcp.update()
        self._kcp.flush()

    async def _room(self) -> None:
        while self._kcp.get_outbound_packets() > 2 * self._window and not self._is_over:
            self._room_made.clear()
            await self._room_made.wait()


class End:
    """A socket with its conversations, of either side."""

    def __init__(self, host: str, port: int, options: Options) -> None:
        if options.profile not in WINDOWS:
            raise ValueError(f"KCP has no profile called {options.profile}")
        if options.congestion not in {"", "none", "kcp"}:
            raise ValueError(f"KCP has the congestion controls none and kcp: {options.congestion}")
        self._window = WINDOWS[options.profile]
        self._has_own_control = options.congestion == "kcp"
        self._lines: dict[tuple[str, int], KcpLine] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        self._socket.bind((host, port))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self.opened: Callable[[Line], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)
        self._timer = self._loop.call_later(INTERVAL_MS / 1e3, self._tick)

    def line(self, address: tuple[str, int], number: int) -> KcpLine:
        """Return a new conversation with *address*."""

        def send(data: bytes) -> None:
            try:
                self._socket.sendto(data, address)
            except (BlockingIOError, ConnectionRefusedError):
                pass  # Lost, which the protocol mends.

        found = KcpLine(number, self._window, self._has_own_control, send)
        self._lines[address] = found
        return found

    def close(self) -> None:
        """Stop at once."""
        self._loop.remove_reader(self._socket)
        self._timer.cancel()
        for line in self._lines.values():
            line.end()
        self._socket.close()

    def _read(self) -> None:
        for _ in range(READS_AT_ONCE):
            try:
                datagram, address = self._socket.recvfrom(DATAGRAM_BYTES)
            except (BlockingIOError, ConnectionRefusedError):
                return
            line = self._lines.get(address)
            if line is None:
                if self.opened is None or len(datagram) < CONVERSATION_BYTES:
                    continue
                number = int.from_bytes(datagram[:CONVERSATION_BYTES], "little")
                line = self.line(address, number)
                self.opened(line)
            line.take(datagram)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(INTERVAL_MS / 1e3, self._tick)
        silent = time.monotonic() - SILENCE_S
        for address, line in list(self._lines.items()):
            line.tick()
            if line.last_heard < silent:
                self._lines.pop(address).end()


class Kcp:
    """The protocol as a `Transport` of the bench."""

    @asynccontextmanager
    async def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AsyncIterator[Offer]:
        """Listen; see `Transport`."""
        tasks: set[asyncio.Task[None]] = set()

        def opened(line: Line) -> None:
            task = asyncio.ensure_future(_run(handler, line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        end = End(host, port, options)
        end.opened = opened
        try:
            yield {"port": end.port}
        finally:
            end.close()

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Begin to talk, since there is no connecting; see `Transport`."""
        end = End("0.0.0.0", 0, options)
        try:
            yield end.line((host, port), secrets.randbelow(1 << 31))
        finally:
            end.close()

    def hold(self, host: str, port: int, offer: Offer, options: Options) -> Any:
        """Refuse: a conversation that says nothing does not exist."""
        raise ValueError("KCP has no connections to hold")


async def _run(handler: Handler, line: Line) -> None:
    await handler(line)


if __name__ == "__main__":
    sys.exit(main(Kcp(), (KCPException,)))
