"""TCP of the kernel, in the clear, through asyncio streams as a careful programmer uses them."""

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.command import main
from bench.peers.line import READ_BYTES, Handler, Line, Offer, Options, Stats, StreamLine

_BACKLOG = 1024
# struct tcp_info: eight bytes, then u32s and, from 104, u64s (linux/tcp.h).
_INFO_BYTES = 256
_INFO_U32 = {
    "rtt_smoothed_us": 68,
    "window_packets": 80,
    "packets_sent": 156,
    "packets_lost": 100,  # sent again, whether they were lost or not
    "packets_spurious": 216,  # of those, the receiver had so many already
}
_INFO_U64 = {"pacing_rate": 104, "bytes_sent": 200, "bytes_retransmitted": 208}


class Tcp:
    """Plain TCP."""

    @asynccontextmanager
    async def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AsyncIterator[Offer]:
        """Listen; see `Transport`."""
        async with listen(handler, host, port, options, None) as got:
            yield {"port": got}

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Connect; see `Transport`."""
        async with open_line(host, port, options, None) as line:
            yield line

    @asynccontextmanager
    async def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[None]:
        """Connect and keep quiet; see `Transport`."""
        async with open_line(host, port, options, None):
            yield


@asynccontextmanager
async def listen(
    handler: Handler, host: str, port: int, options: Options, context: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """Listen and yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(StreamLine(reader, writer))
        finally:
            writer.transport.abort()

    listening = _socket(options)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    server = await asyncio.start_server(
        serve, sock=listening, ssl=context, limit=2 * READ_BYTES, backlog=_BACKLOG
    )
    try:
        yield listening.getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def open_line(
    host: str, port: int, options: Options, context: ssl.SSLContext | None
) -> AsyncIterator[Line]:
    """Connect and yield the line."""
    connecting = _socket(options)
    connecting.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connecting, (host, port))
    reader, writer = await asyncio.open_connection(
        sock=connecting,
        ssl=context,
        limit=2 * READ_BYTES,
        server_hostname="127.0.0.1" if context else None,
    )
    try:
        yield StreamLine(reader, writer, stats=lambda: _info(writer))
    finally:
        writer.transport.abort()


def _socket(options: Options) -> socket.socket:
    # Named in full, or asyncio would not know it for TCP and leave Nagle's algorithm on.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if options.congestion:
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, options.congestion.encode())
        except OSError as error:
            made.close()
            raise ValueError(
                f"the kernel has no congestion control {options.congestion}: {error}"
            ) from None
    return made


def _info(writer: asyncio.StreamWriter) -> Stats:
    """Return what the kernel counted; fields that it does not have yet are left out."""
    plain = writer.get_extra_info("socket")
    info = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    stats: Stats = {}
    for kind, fields in (("<I", _INFO_U32), ("<Q", _INFO_U64)):
        for name, at in fields.items():
            if at + struct.calcsize(kind) <= len(info):
                stats[name] = struct.unpack_from(kind, info, at)[0]
    return stats


if __name__ == "__main__":
    sys.exit(main(Tcp()))
