"""What a connection tells its application, in the order in which it happened."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HandshakeDone:
    """The connection is ESTABLISHED."""


@dataclass(frozen=True)
class StreamData:
    """The next bytes of a stream; *fin* is true with the last ones."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(frozen=True)
class StreamReset:
    """The peer reset its sending half."""

    stream_id: int
    code: int


@dataclass(frozen=True)
class StreamStopped:
    """The peer asked to stop; this endpoint reset its sending half."""

    stream_id: int
    code: int


@dataclass(frozen=True)
class MessageReceived:
    """A whole message."""

    message_id: int
    data: bytes


@dataclass(frozen=True)
class DatagramReceived:
    """An unreliable datagram."""

    data: bytes


@dataclass(frozen=True)
class Closed:
    """No more data comes; *remote* tells who began."""

    code: int
    reason: str
    application: bool
    remote: bool


Event = (
    HandshakeDone
    | StreamData
    | StreamReset
    | StreamStopped
    | MessageReceived
    | DatagramReceived
    | Closed
)
