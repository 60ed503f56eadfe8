"""A server for many clients: which datagram belongs to whom, and the answers that need no state."""

from collections import Counter
from collections.abc import Callable

from interop.reference import crypto
from interop.reference.codec import (
    HEADER_BYTES,
    SUPPORTED_VERSIONS,
    VERSION,
    VERSION_CLEARTEXT,
    VERSION_NEGOTIATION,
    Flag,
    Header,
    Kind,
    decode_header,
    kind_of,
)
from interop.reference.config import Config
from interop.reference.errors import Drop, DropError
from interop.reference.server import Server, ServerInputs
from interop.reference.state import State

ANSWERS_PER_SECOND = 100
SECOND_NS = 1_000_000_000


def version_negotiation(connection_id: bytes) -> bytes:
    """Return the answer to a datagram of a version this endpoint does not speak (section 4.8)."""
    versions = bytes(SUPPORTED_VERSIONS)
    return Header(0, connection_id, 0, 0, len(versions), VERSION_NEGOTIATION).encode() + versions


def wants_version_negotiation(header: Header, datagram: bytes) -> bool:
    """Tell whether section 4.8 has an answer for *datagram*."""
    if header.version == VERSION_CLEARTEXT:
        return header.flags == Flag.SYN
    return header.version not in (VERSION_NEGOTIATION, VERSION) and len(datagram) >= 1200


def stateless_reset(seed: bytes, connection_id: bytes) -> bytes:
    """Return the answer to a protected packet for an unknown id (section 6.5)."""
    token = crypto.reset_token(seed, connection_id)
    return Header(Flag.RST, connection_id, 0, 0, len(token)).encode() + token


class Endpoint:
    """The connections of one server. *draw* gives the random inputs of each new one."""

    def __init__(self, config: Config, seed: bytes, draw: Callable[[], ServerInputs]) -> None:
        self.config = config
        self.seed = seed
        self._draw = draw
        self.connections: dict[bytes, Server] = {}
        self.counters: Counter[str] = Counter()
        self._by_hello: dict[tuple[object, bytes], Server] = {}
        self._new: list[Server] = []
        self._answers: list[tuple[bytes, object]] = []
        self._answered_ns: list[int] = []

    def handle_datagram(self, data: bytes, now_ns: int, source: object, mark: int = 0) -> None:
        """Take one UDP payload that came from *source* with the ECN bits *mark*."""
        self.handle_timeout(now_ns)
        try:
            header = decode_header(data)
            if header.version != VERSION:
                if not wants_version_negotiation(header, data):
                    raise DropError(Drop.VERSION)
                self._answer(version_negotiation(header.connection_id), now_ns, source)
            elif kind_of(header.flags) is Kind.CLIENT_HELLO:
                self._handle_hello(header, data, now_ns, source)
            elif header.connection_id in self.connections:
                owner = self.connections[header.connection_id]
                owner.handle_datagram(data, now_ns, source, mark)
            else:
                self._handle_unknown(header, data, now_ns, source)
        except DropError as dropped:
            self.counters[dropped.reason] += 1

    def handle_timeout(self, now_ns: int) -> None:
        """Do everything whose time has come, and forget connections that are CLOSED."""
        for connection in list(self.connections.values()):
            connection.handle_timeout(now_ns)
            if connection.state is State.CLOSED:
                del self.connections[connection.own_id]
                del self._by_hello[connection.source, connection.peer_id]

    def poll_connections(self) -> list[Server]:
        """Return connections that were accepted since the last call."""
        new, self._new = self._new, []
        return new

    def poll_datagrams(self, now_ns: int) -> list[tuple[bytes, object]]:
        """Return the UDP payloads to send now, each with where it goes."""
        out, self._answers = self._answers, []
        for connection in list(self.connections.values()):
            out += [(d, connection.source) for d in connection.poll_datagrams(now_ns)]
        return out

    def next_timeout(self) -> int | None:
        """Return when to call again, in nanoseconds."""
        due = [connection.next_timeout() for connection in self.connections.values()]
        return min((d for d in due if d is not None), default=None)

    # --- inside

    def _handle_hello(self, header: Header, data: bytes, now_ns: int, source: object) -> None:
        known = self._by_hello.get((source, header.connection_id))
        if known is not None:
            known.handle_datagram(data, now_ns, source)
            return
        unfinished = [s for s in self.connections.values() if s.state is State.HELLO_ANSWERED]
        # = 4.2: The server keeps a bounded number of unfinished handshakes,
        if len(unfinished) >= self.config.unfinished_max:
            raise DropError(Drop.HELLO_LIMIT)
        server = Server(self.config, self.seed, self._draw())
        server.handle_datagram(data, now_ns, source)
        if server.state is State.IDLE:
            self.counters.update(server.counters)
            return
        self.connections[server.own_id] = server
        self._by_hello[source, header.connection_id] = server
        self._new.append(server)

    def _handle_unknown(self, header: Header, data: bytes, now_ns: int, source: object) -> None:
        # = 6.5: An endpoint that receives a protected packet of more than 48 bytes for an id
        if kind_of(header.flags) is not Kind.PROTECTED or len(data) <= HEADER_BYTES + 16:
            raise DropError(Drop.UNKNOWN_ID)
        self._answer(stateless_reset(self.seed, header.connection_id), now_ns, source)

    def _answer(self, data: bytes, now_ns: int, source: object) -> None:
        self._answered_ns = [t for t in self._answered_ns if t > now_ns - SECOND_NS]
        if len(self._answered_ns) >= ANSWERS_PER_SECOND:
            raise DropError(Drop.RATE)
        self._answered_ns.append(now_ns)
        self._answers.append((data, source))
