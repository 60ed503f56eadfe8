"""QUIC through aioquic: protocol in Python, packet protection in C."""

import asyncio
import socket
import ssl
import sys
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from aioquic.tls import CipherSuite
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.peers.command import main
from bench.peers.line import Options, Stats
from bench.peers.quic import ALPN, DATAGRAM_BYTES, IDLE_S, WINDOW_BYTES, Quic


class Aioquic:
    """What is aioquic's own; see `Library`."""

    def configuration(self, options: Options, *, is_client: bool) -> QuicConfiguration:
        """Return a configuration; see `Library`."""
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            cipher_suites=[CipherSuite.AES_256_GCM_SHA384],
            congestion_control_algorithm=options.congestion or "cubic",
            idle_timeout=IDLE_S,
            max_data=2 * WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            max_datagram_size=DATAGRAM_BYTES,
        )

    def trust(self, configuration: QuicConfiguration, certificate: str, key: str | None) -> None:
        """Set the certificate; see `Library`."""
        if key is None:
            configuration.verify_mode = ssl.CERT_REQUIRED
            configuration.load_verify_locations(cadata=certificate.encode())
        else:
            configuration.certificate = x509.load_pem_x509_certificate(certificate.encode())
            configuration.private_key = load_pem_private_key(key.encode(), password=None)

    def server(self, configuration: QuicConfiguration, protocol: Any) -> QuicServer:
        """Return a server; see `Library`."""
        return QuicServer(configuration=configuration, create_protocol=protocol)

    async def dial(
        self, sock: socket.socket, configuration: QuicConfiguration, protocol: Any
    ) -> asyncio.DatagramProtocol:
        """Return a client; see `Library`."""
        made: asyncio.DatagramProtocol
        _, made = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: protocol(QuicConnection(configuration=configuration)), sock=sock
        )
        return made

    def queued(self, connection: Any, stream: int) -> int:
        """Return what the stream holds; see `Library`."""
        sender = connection._streams[stream].sender
        return int(sender._buffer_stop - sender._buffer_start)

    def stats(self, connection: Any) -> Stats:
        """Return the counters of recovery; see `Library`."""
        return {"congestion_window": int(connection._loss._cc.congestion_window)}


if __name__ == "__main__":
    quic = Quic(Aioquic(), QuicConnectionProtocol, ConnectionTerminated, StreamDataReceived)
    sys.exit(main(quic, (ConnectionError,)))
