"""A client without a transport: the core's own handshake, then whatever a test seals.

It speaks to an `Endpoint` directly, with time as an argument, and keeps no rule: numbers, flags and
frames are what the test says.
"""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

from cython_ext.core import Connection, Endpoint, Params, Verdict, ed25519_public
from cython_ext.core.handshake import ClientHandshake
from cython_ext.core.params import encode_varint
from cython_ext.crypto import PacketKey
from cython_ext.crypto import suite as crypto
from cython_ext.wire import decode_header, encode_header, parse_frames

SEED = Random("the server of the attack tests").randbytes(32)
PIN = ed25519_public(SEED)
ADDRESS = ("192.0.2.66", 6_666)
START_NS = 1_000_000_000
ACK, FIN, FEC = 0x02, 0x04, 0x10
Frames = list[tuple[object, ...]]
varint = encode_varint


def new_server(params: Params | None = None) -> Endpoint:
    """Return a server endpoint with the key of `PIN`."""
    return Endpoint(params or Params(), Random("server entropy").randbytes, SEED)


def traffic_key(suite: int, secret: bytes, *, seal: bool) -> PacketKey:
    """Return the packet key of a traffic secret (section 3.2)."""
    key = crypto.expand_label(secret, "key", b"", 32)
    return PacketKey(suite, key, crypto.expand_label(secret, "iv", b"", 12), seal)


class RawClient:
    """One connection to *server*, begun by `connect`.

    Attributes:
        number: the next packet number.
        now_ns: the clock; move it as you like.
        sent_by_server: numbers of the protected packets that the server sent.
        id: our connection id; `server_id` the server's.
    """

    def __init__(self, server: Endpoint, *, params: Params | None = None, seed: object = 0) -> None:
        self.server = server
        self.now_ns = START_NS
        self.number = 0
        self.sent_by_server: list[int] = []
        self._entropy = Random(f"raw client {seed}").randbytes
        self.id = self._entropy(16)
        self.address = ADDRESS
        self.handshake = ClientHandshake(
            PIN, self.id, (params or Params()).encode(), (1,), "", self._entropy
        )

    def connect(self) -> "RawClient":
        """Run the handshake and return the client itself."""
        self.deliver(self.hello())
        (answer,) = self.datagrams()
        assert self.handshake.handle_server_hello(answer, 0) == Verdict.ACCEPTED
        self.deliver(self.finished())
        secrets = self.handshake.secrets
        assert secrets is not None
        self._seal = traffic_key(secrets.suite, secrets.client, seal=True)
        self._open = traffic_key(secrets.suite, secrets.server, seal=False)
        assert any(frame[0] == 0x30 for frame in self.receive())
        return self

    @property
    def server_id(self) -> bytes:
        return self.handshake.server_id

    @property
    def handle(self) -> Connection:
        """The server's connection with us; LookupError when it is gone."""
        for handle in self.server.connections():
            if handle.peer_address == self.address:
                return handle
        raise LookupError("the server has no connection with this client")

    def hello(self) -> bytes:
        """Return SYN with the next number."""
        return self.handshake.hello(self._take_number())

    def finished(self) -> bytes:
        """Return the client's Finished with the next number."""
        return self.handshake.finished(self._take_number())

    def seal(
        self, frames: bytes, *, flags: int = 0, ack: int = 0, number: int | None = None
    ) -> bytes:
        """Return a protected packet."""
        number = self._take_number() if number is None else number
        header = encode_header(2, flags, self.server_id, number & 0xFFFFFFFF, ack, len(frames) + 16)
        return header + self._seal.seal(number, header, frames)

    def deliver(self, *datagrams: bytes) -> None:
        """Give datagrams to the server."""
        for datagram in datagrams:
            self.server.handle_datagram(datagram, self.address, self.now_ns)

    def send(self, *payloads: bytes) -> Frames:
        """Seal and deliver each payload as a packet; return the frames that come back."""
        for payload in payloads:
            self.deliver(self.seal(payload))
        return self.receive()

    def datagrams(self) -> list[bytes]:
        """Return what the server sends to this client now; what it sends to others is dropped."""
        leaving = self.server.poll_datagrams(self.now_ns)
        return [data for address, data in leaving if address == self.address]

    def receive(self) -> Frames:
        """Return the frames of the protected packets that the server sends now."""
        found: Frames = []
        for data in self.datagrams():
            verdict, header = decode_header(data)
            assert verdict == Verdict.ACCEPTED
            assert header is not None
            number = header[3]
            plain = self._open.open(number, data[:32], data[32:])
            assert plain is not None
            self.sent_by_server.append(number)
            frames = parse_frames(plain)
            assert frames is not None
            found += frames
        return found

    def wait(self, duration_ns: int) -> Frames:
        """Let time pass for the server, timer by timer; return the frames it sends."""
        end, found = self.now_ns + duration_ns, self.receive()
        while (due := self.server.next_timeout()) is not None and due <= end:
            self.now_ns = max(self.now_ns, due)
            self.server.handle_timeout(self.now_ns)
            found += self.receive()
        self.now_ns = end
        return found

    def _take_number(self) -> int:
        self.number += 1
        return self.number - 1


# -- frames --------------------------------------------------------------------------------------


def stream(stream_id: int, offset: int, data: bytes, *, fin: bool = False) -> bytes:
    """Return a STREAM frame with offset and length."""
    head = bytes([0x0E | fin]) + varint(stream_id) + varint(offset)
    return head + varint(len(data)) + data


def reset_stream(stream_id: int, code: int, final_size: int) -> bytes:
    """Return RESET_STREAM."""
    return b"\x06" + varint(stream_id) + varint(code) + varint(final_size)


def stop_sending(stream_id: int, code: int) -> bytes:
    """Return STOP_SENDING."""
    return b"\x07" + varint(stream_id) + varint(code)


def limit(kind: int, *values: int) -> bytes:
    """Return one of the MAX_ frames."""
    return bytes([kind]) + b"".join(map(varint, values))


def message(message_id: int, data: bytes) -> bytes:
    """Return MESSAGE."""
    return b"\x18" + varint(message_id) + varint(len(data)) + data


def message_part(message_id: int, total: int, offset: int, data: bytes) -> bytes:
    """Return MESSAGE_PART."""
    head = b"\x19" + varint(message_id) + varint(total) + varint(offset)
    return head + varint(len(data)) + data


def message_expired(message_id: int, size: int) -> bytes:
    """Return MESSAGE_EXPIRED."""
    return b"\x1b" + varint(message_id) + varint(size)


def datagram(data: bytes) -> bytes:
    """Return DATAGRAM."""
    return b"\x1c" + varint(len(data)) + data


def repair(sources: Sequence[int], parities: int, index: int, shard: bytes) -> bytes:
    """Return REPAIR of the packets *sources*, in ascending order."""
    gaps = [b - a - 1 for a, b in pairwise(sources)]
    head = b"\x20" + varint(len(sources)) + varint(parities) + varint(index)
    body = b"".join(map(varint, [sources[0], *gaps, len(shard)]))
    return head + body + shard


PING = b"\x01"
