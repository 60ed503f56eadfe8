"""QUIC through aioquic and its asyncio streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quantum.perf.certificate import make_certificate
from quantum.perf.peer import Handler, Line, Offer
from quantum.perf.stream_line import StreamLine

ALPN = "perf"
WINDOW_BYTES = 16 * 1024 * 1024


class Quic:
    """QUIC version 1 in pure Python and C, as installed."""

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[Offer]:
        """Listen; see `Peer`."""
        certificate, key = make_certificate()
        configuration = _configuration(is_client=False)
        configuration.certificate = x509.load_pem_x509_certificate(certificate.encode())
        configuration.private_key = load_pem_private_key(key.encode(), password=None)
        tasks: set[asyncio.Task[None]] = set()

        def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_run(handler, _line(reader, writer)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        # What aioquic's serve() does, except that it does not tell which port it got.
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicServer(configuration=configuration, stream_handler=on_stream),
            local_addr=("127.0.0.1", 0),
        )
        try:
            yield {"port": transport.get_extra_info("sockname")[1], "certificate": certificate}
        finally:
            server.close()

    @asynccontextmanager
    async def connect(self, offer: Offer) -> AsyncIterator[Line]:
        """Connect; see `Peer`."""
        configuration = _configuration(is_client=True)
        configuration.load_verify_locations(cadata=str(offer["certificate"]).encode())
        configuration.server_name = "127.0.0.1"
        async with connect(
            "127.0.0.1", int(offer["port"]), configuration=configuration
        ) as connection:
            assert isinstance(connection, QuicConnectionProtocol)
            yield _line(*await connection.create_stream())


def _configuration(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        max_data=WINDOW_BYTES,
        max_stream_data=WINDOW_BYTES,
    )


def _line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Line:
    # aioquic's streams accept everything at once and their drain() does not wait, so the sender has
    # to let the loop turn by itself.
    return StreamLine(reader, writer, _turn)


async def _turn() -> None:
    await asyncio.sleep(0)


async def _run(handler: Handler, line: Line) -> None:
    await handler(line)
