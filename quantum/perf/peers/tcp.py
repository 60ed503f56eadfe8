"""TCP and TLS through asyncio streams, as a careful programmer would use them."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quantum.perf.certificate import make_certificate
from quantum.perf.peer import Handler, Line, Offer
from quantum.perf.stream_line import READ_BYTES, StreamLine


class Tcp:
    """Plain TCP."""

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[Offer]:
        """Listen; see `Peer`."""
        async with _listen(handler, None) as port:
            yield {"port": port}

    @asynccontextmanager
    async def connect(self, offer: Offer) -> AsyncIterator[Line]:
        """Connect; see `Peer`."""
        async with _connect(offer, None) as line:
            yield line


class Tls:
    """TLS 1.3 of the ssl module over TCP."""

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[Offer]:
        """Listen; see `Peer`."""
        certificate, key = make_certificate()
        async with _listen(handler, _server_context(certificate, key)) as port:
            yield {"port": port, "certificate": certificate}

    @asynccontextmanager
    async def connect(self, offer: Offer) -> AsyncIterator[Line]:
        """Connect; see `Peer`."""
        context = ssl.create_default_context(cadata=str(offer["certificate"]))
        async with _connect(offer, context) as line:
            yield line


def _server_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The ssl module reads keys from files only; the folder is ours alone and gone at once.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.write_text(key + certificate)
        context.load_cert_chain(path)
    return context


@asynccontextmanager
async def _listen(handler: Handler, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(StreamLine(reader, writer, writer.drain))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=2 * READ_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def _connect(offer: Offer, context: ssl.SSLContext | None) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(offer["port"]), ssl=context, limit=2 * READ_BYTES
    )
    try:
        yield StreamLine(reader, writer, writer.drain)
    finally:
        writer.close()
