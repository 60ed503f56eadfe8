"""The bounds of doors and of clients: plain values, with what each costs when it is wrong."""

from dataclasses import dataclass

from gateway.messages import MAX_MESSAGE_BYTES
from gateway.outbox import Policy


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of every door. Too low refuses honest clients; too high lets one starve others."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    """Bytes of one message, default 1 MiB."""
    max_header_bytes: int = 16 << 10
    """Bytes of an HTTP request's head, default 16 KiB."""
    header_timeout_s: float = 10.0
    """Seconds from connecting, or from a request's first byte, to the end of its head."""
    body_timeout_s: float = 30.0
    """Seconds for a request's body to arrive."""
    keep_alive_s: float = 60.0
    """Seconds an HTTP connection may rest between requests."""
    max_connections: int = 10_000
    """Connections of one door."""
    max_connections_per_ip: int = 64
    """Connections of one door from one address (an IPv6 /64 counts as one)."""
    ping_interval_s: float = 25.0
    """Seconds between a WebSocket's pings; a peer that misses one for as long is gone."""
    close_linger_s: float = 2.0
    """Seconds for a close to reach a client that does not read, before the connection is cut."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The bounds of one client."""

    login_timeout_s: float = 10.0
    """Seconds from connecting to a login or resume."""
    idle_timeout_s: float = 90.0
    """Seconds of silence after which a client is taken for gone."""
    stall_timeout_s: float = 20.0
    """Seconds for which a client may read nothing while something waits for it."""
    request_timeout_s: float = 15.0
    """Seconds a request may take."""
    outbox_messages: int = 1024
    outbox_bytes: int = 4 << 20
    bad_messages: int = 16
    """Messages that cannot be understood before the connection is closed."""
    policy: Policy = Policy.DISCONNECT
    """What to do with a client that does not keep up with its channels."""
