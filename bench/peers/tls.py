"""TLS 1.3 of the ssl module over the kernel's TCP, through asyncio streams."""

import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers.command import main
from bench.peers.line import Handler, Line, Offer, Options
from bench.peers.tcp import listen, open_line
from quantum.perf.certificate import make_certificate


class Tls:
    """TLS 1.3 with the suite that OpenSSL prefers, AES-256-GCM."""

    @asynccontextmanager
    async def serve(
        self, handler: Handler, host: str, port: int, options: Options
    ) -> AsyncIterator[Offer]:
        """Listen; see `Transport`."""
        certificate, key = make_certificate()
        context = _server_context(certificate, key)
        async with listen(handler, host, port, options, context) as got:
            yield {"port": got, "certificate": certificate}

    @asynccontextmanager
    async def connect(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[Line]:
        """Connect; see `Transport`."""
        async with open_line(host, port, options, _context(offer)) as line:
            yield line

    @asynccontextmanager
    async def hold(
        self, host: str, port: int, offer: Offer, options: Options
    ) -> AsyncIterator[None]:
        """Connect and keep quiet; see `Transport`."""
        async with open_line(host, port, options, _context(offer)):
            yield


def _server_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The ssl module reads keys from files only; the folder is ours alone and gone at once.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.write_text(key + certificate)
        context.load_cert_chain(path)
    return context


def _context(offer: Offer) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=str(offer["certificate"]))


if __name__ == "__main__":
    sys.exit(main(Tls(), (ssl.SSLError,)))
