"""The messages of the handshake and the keys that come out (docs/protocol.md section 4).

Sans-IO and with the GIL: bytes in, bytes or a Verdict out. Packet numbers, randomness and
parameters are arguments; what a peer sent never raises. Two small machines, `ClientHandshake` and
`ServerHandshake`, one per connection and role; who drives them and when is the endpoint's business.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cython_ext.core.params import decode_params
from cython_ext.crypto import suite as crypto
from cython_ext.crypto.aead import PacketKey
from cython_ext.wire.header import Verdict, encode_header

SYN, SYN_ACK, PSH = 0x01, 0x03, 0x20
HEADER = 32
HELLO_PAYLOAD = 1200 - HEADER
MAC = 16
SERVER_CLEAR = 3 + 32 + 32
CLIENT_HELLO, SERVER_HELLO, SERVER_PARAMETERS, SERVER_SIGNATURE, SERVER_FINISHED = 1, 2, 3, 4, 5

Entropy = Callable[[int], bytes]


class Malformed(Exception):
    """A message that does not parse; never leaves this module."""


class _Reader:
    """Takes fields off a message, raising Malformed at its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Malformed
        self.at += count
        return self.data[self.at - count : self.at]

    def vector(self, size: int) -> bytes:
        return self.take(int.from_bytes(self.take(size), "big"))


class Transcript:
    """The messages so far, for TH of section 4.5."""

    def __init__(self, client_id: bytes) -> None:
        self._hash = hashlib.sha256(b"quantum2 transcript" + client_id)

    def add(self, kind: int, message: bytes) -> bytes:
        """Append a message and return the hash of everything so far."""
        self._hash.update(bytes([kind]) + len(message).to_bytes(4, "big") + message)
        return self._hash.digest()


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a finished handshake leaves: 32-byte traffic secrets and the exporter's."""

    suite: int
    client: bytes
    server: bytes
    exporter: bytes

    def export(self, label: str, length: int) -> bytes:
        """Return exporter(label, length) of section 3.2."""
        secret = crypto.derive(self.exporter, label, crypto.EMPTY_HASH)
        return crypto.expand_label(secret, "exporter", crypto.EMPTY_HASH, length)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A client hello that passed all checks that need no state."""

    client_id: bytes
    body: bytes
    suite: int
    key_share: bytes
    server_name: str
    params: dict[str, int]


# The first steps of the key schedule depend on nothing.
_DERIVED_EARLY = crypto.derive(
    crypto.extract(crypto.ZERO, crypto.ZERO), "derived", crypto.EMPTY_HASH
)


class _Schedule:
    """The key schedule of section 3.2, as far as the messages have come."""

    def __init__(self, suite_id: int, shared: bytes, hello_hash: bytes) -> None:
        handshake = crypto.extract(_DERIVED_EARLY, shared)
        self.suite = suite_id
        self.client = crypto.derive(handshake, "c hs", hello_hash)
        self.server = crypto.derive(handshake, "s hs", hello_hash)
        derived = crypto.derive(handshake, "derived", crypto.EMPTY_HASH)
        self._master = crypto.extract(derived, crypto.ZERO)

    def key(self, secret: bytes, seal: bool) -> PacketKey:
        return PacketKey(
            self.suite,
            crypto.expand_label(secret, "key", b"", 32),
            crypto.expand_label(secret, "iv", b"", 12),
            seal,
        )

    def finished(self, secret: bytes, transcript_hash: bytes) -> bytes:
        return crypto.mac(crypto.expand_label(secret, "finished", b"", 32), transcript_hash)

    def secrets(self, transcript_hash: bytes) -> Secrets:
        return Secrets(
            self.suite,
            crypto.derive(self._master, "c ap", transcript_hash),
            crypto.derive(self._master, "s ap", transcript_hash),
            crypto.derive(self._master, "exp", transcript_hash),
        )


def key_id(pin: bytes) -> bytes:
    """Return the 8 bytes that name a server key in a client hello."""
    return hashlib.sha256(pin).digest()[:8]


def mac1_key(pin: bytes) -> bytes:
    """Return the key of mac1 for the server with this public key."""
    return crypto.extract(b"quantum2 mac1", pin)


def reset_key(seed: bytes) -> bytes:
    """Return the key of stateless reset tokens (section 6.5)."""
    return crypto.extract(b"quantum2 reset", seed)


def _signed(transcript_hash: bytes) -> bytes:
    return b"\x20" * 64 + b"Quantum v2 server CertificateVerify\x00" + transcript_hash


class ClientHandshake:
    """The client's side: hello, check of the answer, finished."""

    def __init__(
        self,
        pin: bytes,
        client_id: bytes,
        params: bytes,
        suites: tuple[int, ...],
        server_name: str,
        entropy: Entropy,
    ) -> None:
        self._pin = pin
        self._id = client_id
        self._share = crypto.KeyShare(entropy(32))
        name = server_name.encode()
        if len(name) > 255:
            raise ValueError(f"a server name has at most 255 bytes, not {len(name)}")
        body = (
            b"\x01\x02"
            + bytes([len(suites), *suites])
            + b"\x01\x01"
            + entropy(32)
            + self._share.public
            + key_id(pin)
            + bytes([len(name)])
            + name
            + len(params).to_bytes(2, "big")
            + params
            + bytes(4)
        )
        self._suites = suites
        self._body = body.ljust(HELLO_PAYLOAD - MAC, b"\0")
        self._mac_key = mac1_key(pin)
        self._schedule: _Schedule | None = None
        self._finished = b""
        self.server_id = b""
        self.server_params: dict[str, int] = {}
        self.secrets: Secrets | None = None

    def hello(self, number: int) -> bytes:
        """Return the SYN datagram with packet number *number*."""
        header = encode_header(2, SYN, self._id, number & 0xFFFFFFFF, 0, HELLO_PAYLOAD)
        return header + self._body + crypto.mac(self._mac_key, header + self._body)[:MAC]

    def handle_server_hello(self, datagram: bytes, number: int) -> Verdict:
        """Check SYN+ACK; when ACCEPTED, `server_id`, `server_params` and `secrets` are set."""
        # = 4.3: A client MUST drop a server hello whose sealed part does not open, whose identity is not the pin, or whose signature or Finished is wrong.
        payload = datagram[HEADER:]
        clear = payload[:SERVER_CLEAR]
        if len(payload) < SERVER_CLEAR or clear[0] != 2 or clear[2] != crypto.X25519:
            return Verdict.HELLO_MALFORMED
        if clear[1] not in self._suites:
            return Verdict.HELLO_UNACCEPTABLE
        shared = self._share.shared(clear[35:67])
        if shared is None:
            return Verdict.HELLO_MALFORMED
        transcript = Transcript(self._id)
        transcript.add(CLIENT_HELLO, self._body)
        schedule = _Schedule(clear[1], shared, transcript.add(SERVER_HELLO, clear))
        key = schedule.key(schedule.server, seal=False)
        plain = key.open(number, datagram[: HEADER + SERVER_CLEAR], payload[SERVER_CLEAR:])
        if plain is None:
            return Verdict.DOES_NOT_OPEN
        return self._check_sealed(plain, transcript, schedule)

    def _check_sealed(self, plain: bytes, transcript: Transcript, schedule: _Schedule) -> Verdict:
        reader = _Reader(plain)
        try:
            server_id = reader.take(16)
            params = decode_params(reader.vector(2))
            identity_type = reader.take(1)[0]
            identity = reader.vector(2)
            signed_end = reader.at
            signature = reader.take(64)
            finished = reader.take(32)
        except Malformed:
            return Verdict.HELLO_MALFORMED
        if params is None or reader.at != len(plain) or server_id == bytes(16):
            return Verdict.HELLO_MALFORMED
        if identity_type != 1 or not crypto.equal(identity, self._pin):
            return Verdict.BAD_IDENTITY
        signed = transcript.add(SERVER_PARAMETERS, plain[:signed_end])
        if not crypto.verify(identity, signature, _signed(signed)):
            return Verdict.BAD_SIGNATURE
        verified = transcript.add(SERVER_SIGNATURE, signature)
        if not crypto.equal(finished, schedule.finished(schedule.server, verified)):
            return Verdict.BAD_FINISHED
        complete = transcript.add(SERVER_FINISHED, finished)
        self._finished = schedule.finished(schedule.client, complete)
        self._schedule = schedule
        self.server_id = server_id
        self.server_params = params
        self.secrets = schedule.secrets(complete)
        return Verdict.ACCEPTED

    def finished(self, number: int) -> bytes:
        """Return the PSH datagram with packet number *number*; only after an ACCEPTED server
        hello."""
        assert self._schedule is not None
        plain = b"\x00" + self._finished
        header = encode_header(2, PSH, self.server_id, number & 0xFFFFFFFF, 0, len(plain) + 16)
        key = self._schedule.key(self._schedule.client, seal=True)
        return header + key.seal(number, header, plain)


def check_client_hello(
    datagram: bytes, pin: bytes, mac_key: bytes, suites: tuple[int, ...]
) -> Verdict | ClientHello:
    """Check a SYN without any state; return what it says, or why it is dropped."""
    # = 4.2: A server MUST drop, without an answer and without keeping state, a client hello whose mac1 is wrong.
    if len(datagram) != HEADER + HELLO_PAYLOAD:
        return Verdict.HELLO_SIZE
    if not crypto.equal(datagram[-MAC:], crypto.mac(mac_key, datagram[:-MAC])[:MAC]):
        return Verdict.HELLO_MAC
    # = 4.2: A server MUST drop a client hello that is malformed, has non-zero padding, names another key id, or offers no common version, suite or group.
    body = datagram[HEADER:-MAC]
    reader = _Reader(body)
    try:
        versions, offered, groups = reader.vector(1), reader.vector(1), reader.vector(1)
        reader.take(32)
        key_share = reader.take(32)
        wanted_key = reader.take(8)
        server_name = reader.vector(1).decode()
        params = decode_params(reader.vector(2))
        cookie, ticket = reader.vector(2), reader.vector(2)
    except (Malformed, UnicodeDecodeError):
        return Verdict.HELLO_MALFORMED
    if (
        params is None
        or cookie
        or ticket
        or body[reader.at :].strip(b"\0")
        or datagram[26:30] != bytes(4)
    ):
        return Verdict.HELLO_MALFORMED
    chosen = next((suite for suite in offered if suite in suites), None)
    if chosen is None or 2 not in versions or crypto.X25519 not in groups:
        return Verdict.HELLO_UNACCEPTABLE
    if wanted_key != key_id(pin):
        return Verdict.HELLO_UNACCEPTABLE
    return ClientHello(datagram[6:22], body, chosen, key_share, server_name, params)


class ServerHandshake:
    """The server's side of one accepted client hello: answers, and the check of Finished."""

    def __init__(
        self,
        hello: ClientHello,
        signer: crypto.Signer,
        server_id: bytes,
        params: bytes,
        entropy: Entropy,
    ) -> None:
        self.hello = hello
        self.server_id = server_id
        self.secrets: Secrets | None = None
        share = crypto.KeyShare(entropy(32))
        shared = share.shared(hello.key_share)
        if shared is None:
            return
        self._clear = bytes([2, hello.suite, crypto.X25519]) + entropy(32) + share.public
        transcript = Transcript(hello.client_id)
        transcript.add(CLIENT_HELLO, hello.body)
        schedule = _Schedule(hello.suite, shared, transcript.add(SERVER_HELLO, self._clear))
        sealed = server_id + len(params).to_bytes(2, "big") + params
        sealed += b"\x01\x00\x20" + signer.public
        signature = signer.sign(_signed(transcript.add(SERVER_PARAMETERS, sealed)))
        finished = schedule.finished(schedule.server, transcript.add(SERVER_SIGNATURE, signature))
        self._plain = sealed + signature + finished
        complete = transcript.add(SERVER_FINISHED, finished)
        self._expected = schedule.finished(schedule.client, complete)
        self._seal = schedule.key(schedule.server, seal=True)
        self._open = schedule.key(schedule.client, seal=False)
        self.secrets = schedule.secrets(complete)

    def answer(self, number: int, answered: int) -> bytes:
        """Return SYN+ACK with packet number *number* for the SYN with number *answered*."""
        length = SERVER_CLEAR + len(self._plain) + 16
        header = encode_header(
            2,
            SYN_ACK,
            self.hello.client_id,
            number & 0xFFFFFFFF,
            (answered + 1) & 0xFFFFFFFF,
            length,
        )
        return header + self._clear + self._seal.seal(number, header + self._clear, self._plain)

    def handle_finished(self, datagram: bytes, number: int) -> Verdict:
        """Check PSH; ACCEPTED completes the handshake."""
        plain = self._open.open(number, datagram[:HEADER], datagram[HEADER:])
        if plain is None:
            return Verdict.DOES_NOT_OPEN
        if len(plain) != 33 or plain[0] != 0 or not crypto.equal(plain[1:], self._expected):
            return Verdict.BAD_FINISHED
        return Verdict.ACCEPTED
