"""How a connection behaves: one frozen value with presets, checked when it is made.

Times are in seconds, sizes in bytes. It knows nothing of sockets or event loops.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from cython_ext.core import CONTROLLERS, COPIES, FEC_MODES, Params
from quantum.errors import ConfigurationError

_NANOSECONDS = 1_000_000_000
_SUITES = {"aes-256-gcm": 1, "chacha20-poly1305": 2}
_DAY = 86_400
# Least and most of every value that is a time, in seconds.
_SECONDS: dict[str, tuple[float, float]] = {
    "idle_timeout": (0, 7 * _DAY),
    "keepalive": (0, 7 * _DAY),
    "handshake_timeout": (0.001, 3_600),
    "max_ack_delay": (0, 16),
    "initial_rtt": (0.000_001, 10),
    "close_timeout": (0, 3_600),
}


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Limits, time-outs and choices. The defaults suit the public internet.

    Attributes:
        max_data: stream bytes the peer may have in flight to us, over all streams. It bounds the
            memory of a connection, and throttles long fat paths (rate x round trip) when small.
        max_stream_data: the same per stream.
        max_streams_bidi: bidirectional streams the peer may have open at once.
        max_streams_uni: unidirectional streams the peer may have open at once.
        max_message_bytes: largest message we accept.
        max_message_data: bytes of messages the peer may have in flight to us; above
            max_message_bytes.
        max_datagram_bytes: largest UDP payload we accept.
        send_datagram_bytes: largest UDP payload we send. 1,232 passes every IPv6 path; raise it
            only where the path is known (1,452 on Ethernet without tunnels, more on loopback).
        send_buffer_bytes: bytes written to a stream and not yet acknowledged above which writes
            wait. Behind a loss what arrived out of turn does not count, up to four times as much.
        message_buffer_bytes: the same over all messages.
        datagram_queue: datagrams that wait, each way; the oldest received and the newest sent are
            dropped.
        idle_timeout: seconds without a packet after which the connection is over; 0 is never.
        keepalive: seconds after which an idle connection is probed; 0 is never. Below the NAT's
            time-out (30 s is common) it keeps the path open.
        handshake_timeout: seconds until a handshake is given up.
        max_ack_delay: longest deliberate delay of an acknowledgement, in seconds.
        initial_rtt: round trip assumed before the first sample, in seconds.
        close_timeout: seconds that `close` waits for data to be acknowledged.
        congestion: "bbr", "cubic" or "new_reno"; `Connection.set_congestion` changes it for one.
        ecn: mark what is sent as capable of congestion notification; a path that drops or bleaches
            the marks is found out, and gets none any more.
        copies: which small messages of thin flows are sent again before anything is known to be
            lost, while packets are: "off", "deadline" (those sent with one) or "all". They cost up
            to two packets more for each message, and save it the round trip of a retransmission.
        fec: when repairs are sent, from which the peer rebuilds lost packets without a round trip:
            "off", "auto" (for the last packets before the sender runs dry, while packets are
            lost) or "always" (for those in any case). They cost a fifth to a half of such
            packets at 5 % loss; bulk gets none.
        repair_sources: packets whose content is kept for such repairs, 0 to 256; 0 tells the peer
            to send none. Each takes up to a packet's size while the peer protects something.
        assumed_loss: share of packets taken for lost until 512 arrived or one was lost, 0 to 0.5:
            above 0, a connection is protected from its first packet on, and lets go of it on a
            path without loss.
        suites: AEADs offered, most wanted first: "aes-256-gcm", "chacha20-poly1305".
        max_connections: connections of a listener; hellos above are dropped.
        max_half_open: unfinished handshakes of a listener.
        key_update_packets: packets after which new traffic keys are taken.

    Raises ConfigurationError for a value outside its range.
    """

    max_data: int = 16 << 20
    max_stream_data: int = 4 << 20
    max_streams_bidi: int = 256
    max_streams_uni: int = 256
    max_message_bytes: int = 1 << 20
    max_message_data: int = 4 << 20
    max_datagram_bytes: int = 65507
    send_datagram_bytes: int = 1232
    send_buffer_bytes: int = 4 << 20
    message_buffer_bytes: int = 4 << 20
    datagram_queue: int = 1024
    idle_timeout: float = 30.0
    keepalive: float = 0.0
    handshake_timeout: float = 10.0
    max_ack_delay: float = 0.025
    initial_rtt: float = 0.1
    close_timeout: float = 5.0
    congestion: str = "bbr"
    ecn: bool = True
    copies: str = "deadline"
    fec: str = "auto"
    repair_sources: int = 64
    assumed_loss: float = 0.02
    suites: tuple[str, ...] = ("aes-256-gcm", "chacha20-poly1305")
    max_connections: int = 100_000
    max_half_open: int = 1024
    key_update_packets: int = 1 << 20

    def __post_init__(self) -> None:
        self.params()

    def params(self) -> Params:
        """Return the core's view. Raises ConfigurationError for a value outside its range."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, (low, high) in _SECONDS.items():
            value = values.pop(name)
            # Not a number is in no range, and neither is a string.
            if not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigurationError(
                    f"{name} = {value!r} is not between {low:,g} and {high:,g} seconds"
                )
            if name != "close_timeout":
                values[f"{name}_ns"] = round(value * _NANOSECONDS)
        suites, congestion = values.pop("suites"), values.pop("congestion")
        copies, fec, assumed_loss = (
            values.pop("copies"),
            values.pop("fec"),
            values.pop("assumed_loss"),
        )
        for name, value in values.items():
            if not isinstance(value, int):
                raise ConfigurationError(f"{name} = {value!r} is no whole number")
        if 0 < self.idle_timeout <= self.keepalive:
            raise ConfigurationError(
                f"keepalive = {self.keepalive:g} s keeps nothing alive: it is below "
                f"idle_timeout = {self.idle_timeout:g} s, or 0"
            )
        if self.max_message_data <= self.max_message_bytes:
            raise ConfigurationError(
                f"max_message_data = {self.max_message_data} is above "
                f"max_message_bytes = {self.max_message_bytes}, or no such message could be sent"
            )
        if congestion not in CONTROLLERS:
            names = ", ".join(CONTROLLERS)
            raise ConfigurationError(f"congestion = {congestion!r} is unknown; known: {names}")
        if copies not in COPIES:
            names = ", ".join(COPIES)
            raise ConfigurationError(f"copies = {copies!r} is unknown; known: {names}")
        if fec not in FEC_MODES:
            names = ", ".join(FEC_MODES)
            raise ConfigurationError(f"fec = {fec!r} is unknown; known: {names}")
        if not isinstance(assumed_loss, int | float) or not 0 <= assumed_loss <= 0.5:
            raise ConfigurationError(f"assumed_loss = {assumed_loss!r} is not between 0 and 0.5")
        if not isinstance(suites, tuple) or not suites or not set(suites) <= set(_SUITES):
            names = ", ".join(_SUITES)
            raise ConfigurationError(f"suites = {suites!r} is no tuple of one or more of: {names}")
        try:
            return Params(
                **values,
                controller=congestion,
                copies=copies,
                fec=fec,
                assumed_loss=assumed_loss,
                suites=tuple(_SUITES[name] for name in suites),
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigurationError(str(error)) from None

    def replace(self, **changes: Any) -> "TransportConfig":
        """Return a copy with some values changed; TypeError for a name that does not exist."""
        return replace(self, **changes)


def wan() -> TransportConfig:
    """Return the defaults: unknown paths, up to about 300 Mbit/s at 100 ms in one stream.

    Datagrams of 1,232 bytes pass every IPv6 path. Acknowledgements wait up to 25 ms. Messages with
    a deadline are copied, and the ends of transfers repaired, while packets are lost, and until 512
    packets of a new connection have shown that none are.
    """
    return TransportConfig()


def lan() -> TransportConfig:
    """Return a configuration for one Ethernet: full frames, a short assumed round trip.

    Datagrams of 1,452 bytes do not pass tunnels. The first retransmissions come after some
    10 ms, so beyond the LAN a handshake repeats itself needlessly.
    """
    return TransportConfig(
        send_datagram_bytes=1452, initial_rtt=0.01, max_ack_delay=0.005, assumed_loss=0.0
    )


def loopback() -> TransportConfig:
    """Return a configuration for one machine: large datagrams, a tiny assumed round trip.

    Nothing is copied: where nothing is lost, copies are waste.
    """
    return TransportConfig(
        send_datagram_bytes=1452,
        initial_rtt=0.001,
        max_ack_delay=0.001,
        copies="off",
        fec="off",
        assumed_loss=0.0,
    )


def realtime() -> TransportConfig:
    """Return a configuration for small messages that must not be late: games, voice, control.

    Both ends use it. Small messages of a thin flow are sent up to three times within half the
    one-way delay, three packets a message with all acknowledgements, until 1,000 packets passed
    without a loss; more under bursts. So a lost packet costs a few milliseconds and no round
    trip. The price: acknowledgements of messages wait up to 100 ms, so the peer's probe for a
    lost last packet of a stream waits that much longer, and `send` holds what it sent that much
    longer. Bulk data belongs on another connection. The path is kept open (NAT) by a probe every
    10 s of silence, and a peer that is gone is noticed after 15 s.
    """
    return TransportConfig(
        max_ack_delay=0.1, copies="all", assumed_loss=0.05, idle_timeout=15.0, keepalive=10.0
    )
