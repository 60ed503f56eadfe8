"""The core behind the oracle's verbs, so that either can stand at either end of a virtual link.

`CoreEnd` is one connection of a core endpoint. It reports the oracle's events, reads at once what
arrives, and keeps what the send buffer does not take yet. `Script` injects the randomness of a
vector.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from cython_ext.core import CloseCause, Connection, ConnectionState, Endpoint, EventKind, Params
from cython_ext.core.connection_id import CLOCK_OFFSET_MS
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.events import (
    Closed,
    DatagramReceived,
    Event,
    HandshakeDone,
    MessageReceived,
    StreamData,
    StreamReset,
    StreamStopped,
)
from interop.reference.hello import Parameters
from interop.reference.state import State

CLIENT, SERVER = ("192.0.2.1", 4001), ("192.0.2.2", 4002)
ADDRESSES = {"left": CLIENT, "right": SERVER}


class Script:
    """A source of randomness: the given pieces first, each of the size asked for, then *rest*."""

    def __init__(self, pieces: Sequence[bytes], rest: Callable[[int], bytes]) -> None:
        self.pieces = list(pieces)
        self._rest = rest

    def __call__(self, size: int) -> bytes:
        if not self.pieces:
            return self._rest(size)
        piece = self.pieces.pop(0)
        assert len(piece) == size, f"the core asked for {size} bytes, the script has {len(piece)}"
        return piece


def id_pieces(connection_id: bytes, now_ns: int) -> list[bytes]:
    """Return the random bytes that make a core whose clock says *now_ns* draw *connection_id*."""
    blind = now_ns // 1_000_000 + CLOCK_OFFSET_MS - int.from_bytes(connection_id[:6], "big")
    assert 0 <= blind < 86_400_000, "the id's time is not within a day of the clock"
    rand_a = int.from_bytes(connection_id[6:8], "big") & 0xFFF
    rand_b = int.from_bytes(connection_id[8:], "big") & ((1 << 62) - 1)
    return [(blind << 96 | rand_a << 84 | rand_b).to_bytes(16, "big")]


def core_params(parameters: Parameters = DEFAULT_PARAMETERS, **choices: Any) -> Params:
    """Return the core's configuration that offers *parameters*."""
    offered = asdict(parameters)
    offered["idle_timeout_ns"] = offered.pop("idle_timeout_ms") * 1_000_000
    offered["max_ack_delay_ns"] = offered.pop("max_ack_delay_us") * 1_000
    offered["max_message_data"] = max(offered["max_message_data"], offered["max_message_bytes"] + 1)
    return Params(**{"send_datagram_bytes": 1200, **offered, **choices})


class CoreEnd:
    """One connection of *endpoint*; the server's is the first that a client opens.

    Times are those of the caller plus *clock_ns*.
    """

    def __init__(self, endpoint: Endpoint, peer: tuple[str, int], clock_ns: int = 0) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.clock_ns = clock_ns
        self._connection: Connection | None = None
        self._events: list[Event] = []
        self._unwritten: dict[int, tuple[bytes, bool]] = {}
        self._messages: list[bytes] = []
        self._ended: set[int] = set()
        self.told: dict[EventKind, int] = defaultdict(int)

    @classmethod
    def client(
        cls,
        params: Params,
        pin: bytes,
        entropy: Callable[[int], bytes],
        now_ns: int,
        server_name: str = "",
        clock_ns: int = 0,
    ) -> "CoreEnd":
        """Return a client that has sent its first hello."""
        end = cls(Endpoint(params, entropy), SERVER, clock_ns)
        end._connection = end.endpoint.connect(SERVER, pin, now_ns + clock_ns, server_name)
        return end

    @classmethod
    def server(
        cls, params: Params, seed: bytes, entropy: Callable[[int], bytes], clock_ns: int = 0
    ) -> "CoreEnd":
        """Return a server that nobody has called yet."""
        return cls(Endpoint(params, entropy, seed), CLIENT, clock_ns)

    @property
    def connection(self) -> Connection:
        """The core's handle."""
        if self._connection is None:
            (self._connection,) = self.endpoint.connections()
        return self._connection

    @property
    def state(self) -> State:
        """The state under the oracle's name."""
        if self._connection is None and not self.endpoint.connections():
            return State.IDLE
        return State[ConnectionState(self.connection.state).name]

    @property
    def is_flushed(self) -> bool:
        """True when everything reliable was acknowledged."""
        return not self._unwritten and not self._messages and self.connection.request_flush()

    @property
    def stats(self) -> dict[str, int]:
        """Counters of the endpoint, and of the connection when there is one."""
        counted = self.endpoint.stats()
        return counted | (self.connection.stats() if self.state is not State.IDLE else {})

    # --- the world

    @property
    def mark(self) -> int:
        """The ECN bits with which the core's packets are sent."""
        if self.state is State.IDLE:
            return 0
        return 2 if self.connection.stats()["ecn_marking"] else 0

    def handle_datagram(
        self, data: bytes, now_ns: int, source: object = None, mark: int = 0
    ) -> None:
        address = self.peer if source is None else ADDRESSES.get(str(source), ("192.0.2.9", 9))
        self.endpoint.handle_datagram(data, address, now_ns + self.clock_ns, mark)

    def handle_timeout(self, now_ns: int) -> None:
        self.endpoint.handle_timeout(now_ns + self.clock_ns)

    def poll_datagrams(self, now_ns: int) -> list[bytes]:
        self._collect()
        out = self.endpoint.poll_datagrams(now_ns + self.clock_ns)
        self._collect()
        return [data for _, data in out]

    def next_timeout(self) -> int | None:
        due = self.endpoint.next_timeout()
        return None if due is None else due - self.clock_ns

    # --- the application

    def open_stream(self, unidirectional: bool = False) -> int:
        stream = self.connection.open_stream(not unidirectional)
        assert stream is not None, "the peer allows no further stream yet"
        return stream

    def write_stream(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        before = self._unwritten.get(stream_id, (b"", False))[0]
        self._unwritten[stream_id] = (before + data, fin)
        self._write(stream_id)

    def reset_stream(self, stream_id: int, code: int) -> None:
        self._unwritten.pop(stream_id, None)
        self.connection.stream_reset(stream_id, code)

    def stop_stream(self, stream_id: int, code: int) -> None:
        self.connection.stream_stop(stream_id, code)

    def send_message(self, data: bytes) -> None:
        self._messages.append(data)
        self._send_messages()

    def send_datagram(self, data: bytes) -> None:
        assert self.connection.send_datagram(data), "the queue of datagrams is full"

    def ping(self) -> None:
        self.connection.ping()

    def close(self, now_ns: int, code: int = 0, reason: str = "", application: bool = True) -> None:
        self.connection.close(code, reason.encode(), application, now_ns + self.clock_ns)

    def exporter(self, label: str, length: int) -> bytes:
        exported: bytes = self.connection.secrets.export(label, length)
        return exported

    def poll_events(self) -> list[Event]:
        self._collect()
        events, self._events = self._events, []
        return events

    # --- inside

    def _write(self, stream_id: int) -> None:
        data, fin = self._unwritten.pop(stream_id)
        at = 0
        while at < len(data):
            taken = self.connection.stream_write(stream_id, data, at)
            if taken < 0:
                return
            if taken == 0:
                self._unwritten[stream_id] = (data[at:], fin)
                return
            at += taken
        if fin:
            self.connection.stream_finish(stream_id)

    def _send_messages(self) -> None:
        while self._messages and self.connection.send_message(self._messages[0]):
            self._messages.pop(0)

    def _collect(self) -> None:
        if self.state is State.IDLE:
            return
        handle = self.connection
        self.endpoint.poll_connections()
        for number, stream_id, code in handle.poll_events():
            kind = EventKind(number)
            self.told[kind] += 1
            match kind:
                case EventKind.CONNECTED:
                    self._events.append(HandshakeDone())
                case EventKind.STREAM_DATA:
                    self._read(stream_id)
                case EventKind.STREAM_RESET_BY_PEER:
                    self._events.append(StreamReset(stream_id, code))
                    handle.stream_read(stream_id, 1)
                case EventKind.STREAM_STOPPED_BY_PEER:
                    self._unwritten.pop(stream_id, None)
                    self._events.append(StreamStopped(stream_id, code))
                case EventKind.STREAM_SPACE:
                    if stream_id in self._unwritten:
                        self._write(stream_id)
                case EventKind.MESSAGE_SPACE:
                    self._send_messages()
                case EventKind.MESSAGES_ARRIVED:
                    for number, data in enumerate(handle.receive_messages()):
                        self._events.append(MessageReceived(number, data))
                case EventKind.DATAGRAMS_ARRIVED:
                    self._events += [DatagramReceived(d) for d in handle.receive_datagrams()]
                case EventKind.CONNECTION_CLOSED:
                    self._events.append(self._closed())

    def _read(self, stream_id: int) -> None:
        data = b""
        while piece := self.connection.stream_read(stream_id, 1 << 16):
            data += piece
        end = self.connection.stream_at_end(stream_id) and stream_id not in self._ended
        if end:
            self._ended.add(stream_id)
        if data or end:
            self._events.append(StreamData(stream_id, data, end))

    def _closed(self) -> Closed:
        code, application, reason = self.connection.close_frame
        remote = self.connection.cause in (
            CloseCause.PEER_CLOSE,
            CloseCause.PEER_ERROR,
            CloseCause.STATELESS_RESET,
        )
        return Closed(code, reason.decode(errors="replace"), application, remote)
