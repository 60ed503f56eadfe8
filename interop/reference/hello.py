"""The handshake messages of section 4: their bytes, their transcript, and what makes them valid.

Pure functions and values; the roles (`client`, `server`) decide when to use them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields

from interop.reference import crypto
from interop.reference.codec import (
    HEADER_BYTES,
    TAG_BYTES,
    VERSION,
    ZERO_ID,
    Reader,
    TruncatedError,
    decode_header,
    encode_varint,
)
from interop.reference.errors import Drop, DropError

HELLO_BYTES = 1200
MAC_BYTES = 16
CLEAR_BYTES = 67
RAW_ED25519 = 1
SIGNED_PREFIX = b" " * 64 + b"Quantum v2 server CertificateVerify" + b"\x00"
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Parameters:
    """Parameters in the order of their ids, 1 to 10, with the defaults of section 4.1."""

    max_data: int = 0
    max_stream_data: int = 0
    max_streams_bidi: int = 0
    max_streams_uni: int = 0
    max_message_data: int = 0
    max_message_bytes: int = 0
    max_datagram_bytes: int = 1200
    idle_timeout_ms: int = 0
    max_ack_delay_us: int = 25000
    repair_sources: int = 0

    def encode(self) -> bytes:
        """Return all ten items in the order of their ids, every integer in its fewest bytes."""
        out = b""
        for number, item in enumerate(fields(self), start=1):
            value = encode_varint(getattr(self, item.name))
            out += encode_varint(number) + encode_varint(len(value)) + value
        return out


def decode_parameters(data: bytes) -> Parameters:
    """Read parameters; raise `DropError` HELLO_MALFORMED for what makes a hello invalid."""
    names = {number: item.name for number, item in enumerate(fields(Parameters), start=1)}
    reader = Reader(data)
    values: dict[int, int] = {}
    try:
        while reader.remaining:
            number = reader.varint()
            value = Reader(reader.take(reader.varint()))
            # = 4.1: An id that occurs twice or a malformed item makes the hello invalid.
            if number in values:
                raise TruncatedError
            values[number] = value.varint()
            if value.remaining:
                raise TruncatedError
    except TruncatedError as error:
        raise DropError(Drop.HELLO_MALFORMED) from error
    # = 4.1: Unknown ids are ignored, if well-formed.
    known = {names[number]: value for number, value in values.items() if number in names}
    parameters = Parameters(**known)
    if parameters.max_datagram_bytes < 1200 or parameters.max_ack_delay_us > 1 << 24:
        raise DropError(Drop.HELLO_MALFORMED)
    # = 4.1: above 256 the hello is invalid
    if parameters.repair_sources > 256:
        raise DropError(Drop.HELLO_MALFORMED)
    return parameters


@dataclass(frozen=True)
class ClientHello:
    """Client hello (section 4.2)."""

    random: bytes
    public_key: bytes
    key_id: bytes
    parameters: bytes
    versions: tuple[int, ...] = (VERSION,)
    suites: tuple[int, ...] = (crypto.Suite.AES_256_GCM, crypto.Suite.CHACHA20_POLY1305)
    groups: tuple[int, ...] = (crypto.GROUP_X25519,)
    server_name: str = ""
    cookie: bytes = b""
    ticket: bytes = b""

    def encode(self) -> bytes:
        """Return the payload without mac1: what the transcript calls CH."""
        lists = b"".join(
            bytes([len(items), *items]) for items in (self.versions, self.suites, self.groups)
        )
        name = self.server_name.encode()
        body = lists + self.random + self.public_key + self.key_id + bytes([len(name)]) + name
        for long in (self.parameters, self.cookie, self.ticket):
            body += len(long).to_bytes(2, "big") + long
        room = HELLO_BYTES - HEADER_BYTES - MAC_BYTES
        if len(body) > room:
            raise ValueError("the client hello exceeds 1,200 bytes; use a shorter server name")
        return body.ljust(room, b"\x00")


def decode_client_hello(payload: bytes) -> ClientHello:
    """Read CH (the payload without mac1) or raise `DropError`."""
    reader = Reader(payload)
    try:
        versions, suites, groups = (tuple(reader.take(reader.integer(1))) for _ in range(3))
        random, public_key, key_id = reader.take(32), reader.take(32), reader.take(8)
        server_name = reader.take(reader.integer(1)).decode()
        parameters, cookie, ticket = (reader.take(reader.integer(2)) for _ in range(3))
    except (TruncatedError, UnicodeDecodeError) as error:
        raise DropError(Drop.HELLO_MALFORMED) from error
    if any(reader.rest()):
        raise DropError(Drop.HELLO_PADDING)
    if cookie or ticket:
        raise DropError(Drop.HELLO_MALFORMED)
    return ClientHello(
        random,
        public_key,
        key_id,
        parameters,
        versions,
        suites,
        groups,
        server_name,
        cookie,
        ticket,
    )


def accept_client_hello(datagram: bytes, pin: bytes, suites: tuple[int, ...]) -> ClientHello:
    """Return the hello in a SYN datagram when it is valid for the server *pin*, or drop it."""
    # = 2.6: A server drops client hellos of any other size.
    if len(datagram) != HELLO_BYTES:
        raise DropError(Drop.HELLO_SIZE)
    # = 4.2: A server MUST drop, without an answer and without keeping state, a client hello whose
    if not crypto.equal(datagram[-MAC_BYTES:], crypto.mac1(pin, datagram[:-MAC_BYTES])):
        raise DropError(Drop.HELLO_MAC)
    # = 4.2: A server MUST drop a client hello that is malformed, has non-zero padding, names
    hello = decode_client_hello(datagram[HEADER_BYTES:-MAC_BYTES])
    # = 4.2: and an ack other than 0 are malformed.
    if decode_header(datagram).ack:
        raise DropError(Drop.HELLO_MALFORMED)
    decode_parameters(hello.parameters)
    if hello.key_id != crypto.key_id(pin):
        raise DropError(Drop.HELLO_KEY_ID)
    if VERSION not in hello.versions:
        raise DropError(Drop.HELLO_VERSION)
    if not set(suites) & set(hello.suites):
        raise DropError(Drop.HELLO_SUITE)
    if crypto.GROUP_X25519 not in hello.groups:
        raise DropError(Drop.HELLO_GROUP)
    return hello


@dataclass(frozen=True)
class ServerHelloClear:
    """The clear part of a server hello: what the transcript calls SH."""

    suite: int
    random: bytes
    public_key: bytes
    version: int = VERSION
    group: int = crypto.GROUP_X25519

    def encode(self) -> bytes:
        """Return the 67 bytes."""
        return bytes([self.version, self.suite, self.group]) + self.random + self.public_key


def decode_server_hello_clear(data: bytes) -> ServerHelloClear:
    """Read SH; the caller judges whether the choice was offered."""
    if len(data) != CLEAR_BYTES:
        raise DropError(Drop.HELLO_MALFORMED)
    return ServerHelloClear(data[1], data[3:35], data[35:67], version=data[0], group=data[2])


@dataclass(frozen=True)
class ServerHelloSealed:
    """The sealed part of a server hello."""

    connection_id: bytes
    parameters: bytes
    identity: bytes
    signature: bytes = b""
    finished: bytes = b""
    identity_type: int = RAW_ED25519

    def encode_before_signature(self) -> bytes:
        """Return what the transcript calls SP."""
        out = self.connection_id + len(self.parameters).to_bytes(2, "big") + self.parameters
        return (
            out
            + bytes([self.identity_type])
            + len(self.identity).to_bytes(2, "big")
            + self.identity
        )

    def encode(self) -> bytes:
        """Return the whole plaintext."""
        return self.encode_before_signature() + self.signature + self.finished


def decode_server_hello_sealed(plaintext: bytes) -> ServerHelloSealed:
    """Read the opened part of a server hello or raise `DropError`."""
    reader = Reader(plaintext)
    try:
        connection_id = reader.take(16)
        parameters = reader.take(reader.integer(2))
        identity_type = reader.integer(1)
        identity = reader.take(reader.integer(2))
        signature, mac = reader.take(64), reader.take(32)
    except TruncatedError as error:
        raise DropError(Drop.HELLO_MALFORMED) from error
    # = 4.3: Nothing follows the Finished.
    # = 2.3: A client refuses a server id that is all zero.
    if reader.remaining or connection_id == ZERO_ID:
        raise DropError(Drop.HELLO_MALFORMED)
    return ServerHelloSealed(connection_id, parameters, identity, signature, mac, identity_type)


class Transcript:
    """TH of section 4.5, over messages in the order CH, SH, SP, SV, SF."""

    def __init__(self, client_id: bytes) -> None:
        self.text = b"quantum2 transcript" + client_id
        self._count = 0

    def add(self, message: bytes) -> bytes:
        """Append the next message and return the hash so far."""
        self._count += 1
        self.text += bytes([self._count]) + len(message).to_bytes(4, "big") + message
        return self.hash()

    def hash(self) -> bytes:
        """Return the hash of what was added so far."""
        return hashlib.sha256(self.text).digest()


def signed_text(hash_to_sp: bytes) -> bytes:
    """Return what the server signs (section 4.3)."""
    return SIGNED_PREFIX + hash_to_sp


def draw_connection_id(now_ms: int, entropy: Callable[[int], bytes], worker: int | None) -> bytes:
    """Draw a connection id (section 2.3): a UUIDv7 with a blinded time.

    *worker* is None for a client's id. *entropy* returns that many random bytes.
    """
    blinded = (now_ms - int.from_bytes(entropy(8), "big") % (DAY_MS + 1)) % (1 << 48)
    rand_a = int.from_bytes(entropy(2), "big") if worker is None else worker
    rand_b = int.from_bytes(entropy(8), "big") % (1 << 62)
    value = blinded << 80 | 7 << 76 | (rand_a & 0xFFF) << 64 | 2 << 62 | rand_b
    return value.to_bytes(16, "big")


def sealed_overhead() -> int:
    """Bytes that header and tag add to a plaintext."""
    return HEADER_BYTES + TAG_BYTES
