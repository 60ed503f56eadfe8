"""Two cores joined by a network in virtual time: the whole transport without a socket or a loop.

Each end is a `Peer`: an endpoint of the core and a small application above it that writes what it
is given, reads what arrives and keeps it. Nothing here knows the format of a packet. Every random
choice, keys included, comes from the seed, so a run repeats to the byte.
"""

from collections.abc import Callable, Iterable
from random import Random

from cython_ext.core import (
    Connection,
    ConnectionState,
    Endpoint,
    EventKind,
    Params,
    ed25519_public,
)
from quantum.testing import network
from quantum.testing.network import Impairment, Network

CLIENT = ("192.0.2.1", 50_000)
SERVER = ("192.0.2.2", 4_433)
SECOND_NS = 1_000_000_000
PERFECT = Impairment()

Address = tuple[str, int]
Event = tuple[EventKind, int, int]
Tap = Callable[[int, bytes], Iterable[bytes]]


class Stalled(AssertionError):
    """What was waited for did not happen in the virtual time that was given."""


class _Writing:
    """What a stream still has to take."""

    __slots__ = ("at", "data", "finish")

    def __init__(self, data: bytes, finish: bool) -> None:
        self.data = data
        self.at = 0
        self.finish = finish


class Peer:
    """One end of a pair: an endpoint with its application, a `TrainNode` of the network.

    Attributes:
        endpoint: the core.
        connection: the first connection, None before there is one.
        connections: all of them, in the order of their appearance.
        reads_streams: whether arriving stream data is read at once; turn it off for a slow reader.
        reads_messages: the same for messages.
        received: bytes read so far, by stream id.
        ended: streams read to their end.
        bytes_read: sum over all streams of the first connection.
        messages: messages received, in the order of their arrival.
        datagrams: datagrams received.
        events: what `Connection.poll_events` told, but for data, space and arrivals dealt with.
        tap: None, or a function from (running number of a datagram that leaves, its bytes) to what
            leaves instead: [] drops it, two copies duplicate it.
        datagrams_sent: how many left, before the tap.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.connection: Connection | None = None
        self.connections: list[Connection] = []
        self.reads_streams = True
        self.reads_messages = True
        self.received: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.bytes_read = 0
        self.messages: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.events: list[Event] = []
        self.tap: Tap | None = None
        self.datagrams_sent = 0
        self._writing: dict[int, _Writing] = {}
        self._outgoing: list[bytes] = []

    # -- the application

    @property
    def open(self) -> Connection:
        """The connection. Raises LookupError before there is one."""
        if self.connection is None:
            raise LookupError("there is no connection yet; call Pair.connect first")
        return self.connection

    def send_stream(self, data: bytes, *, finish: bool = True, bidirectional: bool = True) -> int:
        """Open a stream and write *data* to it as it takes it; return its id.

        Raises:
            LookupError: there is no connection, or the peer allows no further stream.
        """
        stream_id = self.open.open_stream(bidirectional)
        if stream_id is None:
            raise LookupError("the peer allows no further stream; wait for STREAMS_ALLOWED")
        self.write(stream_id, data, finish=finish)
        return stream_id

    def write(self, stream_id: int, data: bytes, *, finish: bool = True) -> None:
        """Write *data* to a stream of the first connection as it takes it."""
        self._writing[stream_id] = _Writing(data, finish)
        self._write_on(stream_id)

    def send_messages(self, messages: Iterable[bytes]) -> None:
        """Send messages, as the connection takes them.

        Raises:
            ValueError: one is larger than the peer accepts.
        """
        self._outgoing.extend(messages)
        self._send_on()

    def writes_waiting(self) -> bool:
        """Tell whether something was given that the connection has not taken yet."""
        return bool(self._writing or self._outgoing)

    def saw(self, kind: EventKind) -> bool:
        """Tell whether an event of this kind was kept in `events`."""
        return any(event[0] == kind for event in self.events)

    # -- the node

    def handle_datagram(self, now_ns: int, data: bytes, source: network.Endpoint) -> None:
        """Give the core what arrived."""
        self.endpoint.handle_datagram(data, _address(source), now_ns)

    def handle_datagrams(self, now_ns: int, train: list[bytes], source: network.Endpoint) -> None:
        """Give the core what arrived at one instant."""
        handle, address = self.endpoint.handle_datagram, _address(source)
        for data in train:
            handle(data, address, now_ns)

    def handle_timeout(self, now_ns: int) -> None:
        """Let the core do what is due."""
        self.endpoint.handle_timeout(now_ns)

    def poll_datagrams(self, now_ns: int) -> list[tuple[Address, bytes]]:
        """Run the application and return what the core wants to send."""
        poll, changed = self.endpoint.poll_datagrams, self.endpoint.poll_connections
        leaving = poll(now_ns)
        while handles := changed():
            for handle in handles:
                self._attend(handle)
            leaving += poll(now_ns)
        if self.tap is not None and leaving:
            leaving = self._tapped(self.tap, leaving)
        else:
            self.datagrams_sent += len(leaving)
        return leaving

    def next_timeout(self) -> int | None:
        """Return when the core wants to be called, in ns."""
        return self.endpoint.next_timeout()

    # -- inside

    def _tapped(
        self, tap: Tap, leaving: list[tuple[Address, bytes]]
    ) -> list[tuple[Address, bytes]]:
        passed = []
        for address, data in leaving:
            passed += [(address, copy) for copy in tap(self.datagrams_sent, data)]
            self.datagrams_sent += 1
        return passed

    def _attend(self, handle: Connection) -> None:
        if self.connection is None:
            self.connection = handle
        if handle not in self.connections:
            self.connections.append(handle)
        for kind, stream_id, code in handle.poll_events():
            if kind == EventKind.STREAM_DATA and self.reads_streams:
                self.read(stream_id, handle)
            elif kind == EventKind.STREAM_SPACE and stream_id in self._writing:
                self._write_on(stream_id)
            elif kind == EventKind.MESSAGES_ARRIVED and self.reads_messages:
                self.messages += handle.receive_messages()
                while more := handle.receive_messages():
                    self.messages += more
            elif kind == EventKind.MESSAGE_SPACE and self._outgoing:
                self._send_on()
            elif kind == EventKind.DATAGRAMS_ARRIVED:
                self.datagrams += handle.receive_datagrams()
            else:
                self.events.append((EventKind(kind), stream_id, code))

    def read(self, stream_id: int, handle: Connection | None = None, limit: int = 1 << 62) -> int:
        """Read up to *limit* bytes of a stream into `received`; return how many there were."""
        connection = handle or self.open
        got = self.received.setdefault(stream_id, bytearray())
        before = len(got)
        while len(got) - before < limit:
            data = connection.stream_read(stream_id, min(1 << 20, limit - (len(got) - before)))
            if not data:
                break
            got += data
        if connection.stream_at_end(stream_id):
            # Reading on is what tells the core that the end was seen.
            connection.stream_read(stream_id, 1)
            self.ended.add(stream_id)
        self.bytes_read += len(got) - before
        return len(got) - before

    def _write_on(self, stream_id: int) -> None:
        writing = self._writing[stream_id]
        while writing.at < len(writing.data):
            taken = self.open.stream_write(stream_id, writing.data, writing.at)
            if taken < 0:
                # The stream was reset, stopped or closed under the writer.
                del self._writing[stream_id]
                return
            if taken == 0:
                return
            writing.at += taken
        if writing.finish:
            self.open.stream_finish(stream_id)
        del self._writing[stream_id]

    def _send_on(self) -> None:
        for count, message in enumerate(self._outgoing):
            if not self.open.send_message(message):
                del self._outgoing[:count]
                return
        self._outgoing.clear()


class Pair:
    """A client and a server core on a network, and the clock that they share.

    Args:
        impairment: of the path from client to server.
        back: of the path from server to client, when it differs.
        seed: decides every random choice of cores and links.
        client_params: configuration of the client; None for the defaults.
        server_params: the same for the server.
        pin: the key the client expects, when it is not the server's.
    """

    def __init__(
        self,
        impairment: Impairment = PERFECT,
        *,
        back: Impairment | None = None,
        seed: int = 0,
        client_params: Params | None = None,
        server_params: Params | None = None,
        pin: bytes | None = None,
    ) -> None:
        secret = Random(f"{seed}/server seed").randbytes(32)
        self.server_seed = secret
        self.pin = ed25519_public(secret) if pin is None else pin
        self.network = Network(seed, now_ns=SECOND_NS)
        self.client = Peer(Endpoint(client_params or Params(), Random(f"{seed}/client").randbytes))
        self.server = Peer(
            Endpoint(server_params or Params(), Random(f"{seed}/server").randbytes, secret)
        )
        self.network.add(CLIENT, self.client)
        self.network.add(SERVER, self.server)
        self.network.join(CLIENT, SERVER, impairment, back)

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self.network.now_ns

    def begin(self, server_name: str = "") -> Connection:
        """Send the client's hello and return the client's connection; time does not move."""
        handle = self.client.endpoint.connect(SERVER, self.pin, self.now_ns, server_name)
        if self.client.connection is None:
            self.client.connection = handle
        self.client.connections.append(handle)
        return handle

    def connect(self, limit_ns: int = 10 * SECOND_NS) -> "Pair":
        """Run the handshake until both ends are ESTABLISHED; return the pair itself.

        Raises:
            Stalled: it did not come to that within *limit_ns*.
        """
        self.begin()
        self.drive(self.is_established, limit_ns)
        return self

    def is_established(self) -> bool:
        """Tell whether both ends are ESTABLISHED."""
        return all(
            peer.connection is not None and peer.connection.state == ConnectionState.ESTABLISHED
            for peer in (self.client, self.server)
        )

    def impair(self, impairment: Impairment, back: Impairment | None = None) -> None:
        """Change what the path does from now on; what is under way stays under way."""
        self.network.link(CLIENT, SERVER).impairment = impairment
        self.network.link(SERVER, CLIENT).impairment = back or impairment

    def step(self, until_ns: int | None = None) -> bool:
        """Move the clock to the next event; tell whether there was one (before *until_ns*)."""
        return self.network.step(until_ns)

    def run_for(self, duration_ns: int) -> None:
        """Let *duration_ns* pass."""
        self.network.run_for(duration_ns)

    def drive(self, until: Callable[[], bool], limit_ns: int) -> int:
        """Step until *until* holds; return the virtual time that took.

        Raises:
            Stalled: it does not hold after *limit_ns*.
        """
        start = self.now_ns
        if not self.network.run_until(until, limit_ns):
            raise Stalled(
                f"{getattr(until, '__name__', 'the condition')} does not hold after "
                f"{(self.now_ns - start) / SECOND_NS:.3f} s of virtual time"
            )
        return self.now_ns - start

    def exchange(
        self, upward: bytes = b"", downward: bytes = b"", limit_ns: int = 60 * SECOND_NS
    ) -> int:
        """Send *upward* from the client and *downward* from the server, each on its own stream.

        Returns the virtual time until both arrived to the last byte; either may be empty.

        Raises:
            Stalled: that took longer than *limit_ns*, or what arrived differs from what was sent.
        """
        ways = [(self.client, self.server, upward), (self.server, self.client, downward)]
        expected = [
            (receiver, sender.send_stream(data, bidirectional=False), data)
            for sender, receiver, data in ways
            if data
        ]

        def everything_arrived() -> bool:
            return all(stream_id in receiver.ended for receiver, stream_id, _ in expected)

        took = self.drive(everything_arrived, limit_ns)
        for receiver, stream_id, data in expected:
            if receiver.received.pop(stream_id) != data:
                raise Stalled(f"stream {stream_id} arrived with other bytes than were sent")
        return took


def _address(endpoint: network.Endpoint) -> Address:
    assert isinstance(endpoint, tuple)
    return endpoint
