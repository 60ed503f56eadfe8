"""QUIC through qh3: aioquic's interface over a core in Rust, with GSO and GRO."""

import asyncio
import hashlib
import socket
import ssl
import sys
from typing import Any

from qh3.asyncio._transport import create_optimized_datagram_transport
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import QuicServer
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import ConnectionTerminated, StreamDataReceived
from qh3.tls import CipherSuite

from bench.peers.command import main
from bench.peers.line import Options, Stats
from bench.peers.quic import ALPN, DATAGRAM_BYTES, IDLE_S, WINDOW_BYTES, Quic


class Qh3:
    """What is qh3's own; see `Library`."""

    def configuration(self, options: Options, *, is_client: bool) -> QuicConfiguration:
        """Return a configuration; see `Library`."""
        if options.congestion:
            raise ValueError("qh3 lets nobody choose a congestion control")
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            cipher_suites=[CipherSuite.AES_256_GCM_SHA384],
            idle_timeout=IDLE_S,
            max_data=2 * WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            max_datagram_size=DATAGRAM_BYTES,
        )

    def trust(self, configuration: QuicConfiguration, certificate: str, key: str | None) -> None:
        """Set the certificate; see `Library`."""
        if key is None:
            # It takes no certificate that is its own issuer, but one by its fingerprint.
            der = ssl.PEM_cert_to_DER_cert(certificate)
            configuration.verify_mode = ssl.CERT_NONE
            configuration.assert_fingerprint = hashlib.sha256(der).hexdigest()
        else:
            configuration.load_cert_chain(certificate.encode(), key.encode())

    def server(self, configuration: QuicConfiguration, protocol: Any) -> QuicServer:
        """Return a server; see `Library`."""
        return QuicServer(configuration=configuration, create_protocol=protocol)

    async def dial(
        self, sock: socket.socket, configuration: QuicConfiguration, protocol: Any
    ) -> asyncio.DatagramProtocol:
        """Return a client; see `Library`."""
        made: asyncio.DatagramProtocol
        _, made = await create_optimized_datagram_transport(
            asyncio.get_running_loop(),
            lambda: protocol(QuicConnection(configuration=configuration)),
            sock=sock,
        )
        return made

    def queued(self, connection: Any, stream: int) -> int:
        """Return what the core holds for the stream; see `Library`."""
        return int(connection.get_send_buffer_size(stream))

    def stats(self, connection: Any) -> Stats:
        """Return the counters of the core; see `Library`."""
        core = connection._core
        return {"packets_lost": core.loss_total, "congestion_window": core.congestion_window}


if __name__ == "__main__":
    quic = Quic(Qh3(), QuicConnectionProtocol, ConnectionTerminated, StreamDataReceived)
    sys.exit(main(quic, (ConnectionError,)))
