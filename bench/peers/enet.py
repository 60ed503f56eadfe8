"""ENet through pyenet: reliable packets in channels, nothing encrypted.

Its host is driven by the event loop: when packets came, and every few milliseconds for its timers.
A reliable packet waits for those before it in its channel, so the profile ``realtime``, where
messages need no order, deals them to all channels in turn; others use one.
"""

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import enet

from bench.peers.command import main
from bench.peers.line import Handler, Line, Offer, Options, Stats

CHANNELS = 255
# The most that the library takes, and what it sends in one packet to its own limit of 1,400.
PEERS = 4095
PACKET_BYTES = 16 * 1024
SOCKET_BYTES = 4 * 1024 * 1024
# What was sent and not acknowledged; the library itself keeps at most 64 KiB of it under way.
QUEUE_BYTES = 1024 * 1024
TICK_S = 0.005
CONNECT_S = 10.0
# Packets of one flush share datagrams.
FLUSH_EVERY = 32


class EnetLine:
    """A `Line` on channel 0, and messages on the others."""

    def __init__(self, end: "End", peer: Any, apart: bool) -> None:
        self._end = end
        self._peer = peer
        self._last_channel = CHANNELS - 1 if apart else 1
        self._channel = 0
        self._came = asyncio.Event()
        self._free = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._messages: list[bytes] = []
        self._is_over = False
        self._queued = 0
        self._unflushed = 0

    def take(self, channel: int, data: bytes) -> None:
        """Take a packet that came."""
        if channel == 0:
            self._pieces.append(data)
        else:
            self._messages.append(data)
        self._came.set()

    def end(self) -> None:
        """Take note that the connection is over."""
        self._is_over = True
        self._came.set()
        self._free.set()

    async def write(self, data: bytes) -> None:
        """Send in packets, and wait while much is queued; see `Line`."""
        for at in range(0, len(data), PACKET_BYTES):
            self._send(0, data[at : at + PACKET_BYTES])
        await self.flush()
        await self._room()

    async def read(self) -> bytes:
        """Return the next packet's content; see `Line`."""
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
        """Send a message as a packet; see `Line`."""
        self._channel = self._channel % self._last_channel + 1
        self._send(self._channel, message)
        self._unflushed += 1
        if self._unflushed == FLUSH_EVERY:
            await self.flush()
            await asyncio.sleep(0)
            await self._room()
        else:
            self._end.flush_soon()

    async def receive(self) -> Sequence[bytes]:
        """Return the messages that have come; see `Line`."""
        while not self._messages:
            if self._is_over:
                raise EOFError("the connection ended where a message was due")
            self._came.clear()
            await self._came.wait()
        messages, self._messages = self._messages, []
        return messages

    async def flush(self) -> None:
        """Send what is queued; see `Line`."""
        self._unflushed = 0
        self._end.flush()

    def stats(self) -> Stats:
        """Return the peer's counters; see `Line`."""
        return {"packets_sent": self._peer.packetsSent, "packets_lost": self._peer.packetsLost}

    def _send(self, channel: int, data: bytes) -> None:
        packet = enet.Packet(data, enet.PACKET_FLAG_RELIABLE)
        packet.set_free_callback(partial(self._freed, len(data)))
        self._queued += len(data)
        if self._peer.send(channel, packet) < 0:
            raise ConnectionError("ENet does not take a packet: the connection is gone")

    def _freed(self, size: int) -> None:
        self._queued -= size
        self._free.set()

    async def _room(self) -> None:
        while self._queued > QUEUE_BYTES and not self._is_over:
            self._free.clear()
            await self._free.wait()


class End:
    """A host of the library, of either side, driven by the running loop."""

    def __init__(
        self, address: Any, peers: int, apart: bool, opened: Callable[[EnetLine], None]
    ) -> None:
        self._host = enet.Host(address, peers, CHANNELS, 0, 0)
        self._apart = apart
        self._opened = opened
        self._lines: dict[int, EnetLine] = {}
        self._loop = asyncio.get_running_loop()
        self._file = self._host.socket.fileno()
        self._is_flushing = False
        with socket.socket(fileno=os.dup(self._file)) as same:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                same.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
            self.port = int(same.getsockname()[1])
        self._loop.add_reader(self._file, self._serve)
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def dial(self, host: str, port: int) -> Any:
        """Begin to connect, and return the peer."""
        return self._host.connect(enet.Address(host.encode(), port), CHANNELS)

    def flush(self) -> None:
        """Send what is queued now."""
        self._host.flush()

    def flush_soon(self) -> None:
        """Send what is queued when this turn of the loop is over."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Say good-bye to all, without waiting."""
        self._loop.remove_reader(self._file)
        self._timer.cancel()
        for peer in self._host.peers:
            if peer.state == enet.PEER_STATE_CONNECTED:
                peer.disconnect_now(0)

    def _flush(self) -> None:
        self._is_flushing = False
        self._host.flush()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._serve()

    def _serve(self) -> None:
        event = self._host.service(0)
        while event.type != enet.EVENT_TYPE_NONE:
            number = event.peer.incomingPeerID
            if event.type == enet.EVENT_TYPE_CONNECT:
                line = self._lines[number] = EnetLine(self, event.peer, self._apart)
                self._opened(line)
            elif event.type == enet.EVENT_TYPE_RECEIVE and number in self._lines:
                self._lines[number].take(event.channelID, event.packet.data)
            elif event.type == enet.EVENT_TYPE_DISCONNECT and number in self._lines:
                self._lines.pop(number).end()
            event = self._host.service(0)


class Enet:
    """The library as a `Transport` of the bench."""

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

        address = enet.Address(host.encode(), port)
        end = End(address, PEERS, options.profile == "realtime", opened)
        try:
            yield {"port": end.port}
        finally:
            end.close()

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Connect; see `Transport`."""
        made = asyncio.get_running_loop().create_future()
        end = End(None, 1, options.profile == "realtime", made.set_result)
        try:
            end.dial(host, port)
            async with asyncio.timeout(CONNECT_S):
                line = await made
            yield line
        finally:
            end.close()

    @asynccontextmanager
    async def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[None]:
        """Connect and keep quiet; see `Transport`."""
        async with self.connect(host, port, offer, options):
            yield


async def _run(handler: Handler, line: Line) -> None:
    await handler(line)


if __name__ == "__main__":
    sys.exit(main(Enet()))
