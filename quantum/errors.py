"""Every error of the transport: one tree, each with a code, a reason and who caused it.

A code below is the transport's own (docs/protocol.md section 6.4) unless `is_application` says
otherwise.
"""


class QuantumError(Exception):
    """Root of all errors of this package.

    `code` is a number of docs/protocol.md section 6.4 or of the application, `reason` a sentence,
    `remote` whether the peer caused it.
    """

    def __init__(self, reason: str, *, code: int = 0, remote: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.remote = remote


class ConfigurationError(QuantumError, ValueError):
    """A value that a caller gave is not usable; the reason says what would be."""


class AddressError(ConfigurationError, OSError):
    """An address that cannot be listened on; the reason says which and why."""


class ConnectionFailed(QuantumError, ConnectionError):
    """The connection is over, or was never there."""


class HandshakeError(ConnectionFailed):
    """No connection came about within the handshake time-out."""


class ConnectionClosed(ConnectionFailed):
    """One side closed the connection in order.

    `is_application` tells whether `code` is the application's.
    """

    def __init__(
        self, reason: str, *, code: int = 0, remote: bool = False, is_application: bool = True
    ) -> None:
        super().__init__(reason, code=code, remote=remote)
        self.is_application = is_application


class TransportFailure(ConnectionFailed):
    """One side broke a rule of the protocol, or the socket broke; `remote` tells whether the peer
    is to blame."""


class IdleTimeout(ConnectionFailed, TimeoutError):
    """Nothing came from the peer for as long as the idle time-out."""


class StatelessReset(ConnectionFailed):
    """The server does not know the connection any more: it was restarted, most likely."""


class StreamError(QuantumError):
    """A stream ended before its data did; `stream_id` names it."""

    def __init__(self, reason: str, *, stream_id: int, code: int = 0, remote: bool = False) -> None:
        super().__init__(reason, code=code, remote=remote)
        self.stream_id = stream_id


class StreamReset(StreamError):
    """The sending side gave the stream up."""


class StreamStopped(StreamError):
    """The receiving side wants no more of the stream."""


class StreamFinished(StreamError):
    """Data was written after the stream's own end."""
