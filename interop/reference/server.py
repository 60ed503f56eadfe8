"""The server's side of the handshake (sections 4.2 to 4.4), for one client."""

from collections.abc import Callable
from dataclasses import dataclass

from interop.reference import crypto
from interop.reference.codec import HEADER_BYTES, Flag, Header, Kind
from interop.reference.config import Config
from interop.reference.connection import Connection
from interop.reference.errors import Code, Drop, DropError, ViolationError
from interop.reference.events import HandshakeDone
from interop.reference.frames import Done
from interop.reference.hello import (
    MAC_BYTES,
    ServerHelloClear,
    ServerHelloSealed,
    Transcript,
    accept_client_hello,
    decode_parameters,
    draw_connection_id,
    signed_text,
)
from interop.reference.phases import KeyPhases
from interop.reference.state import State, Trigger

EARLY_MAX = 10


@dataclass(frozen=True)
class ServerInputs:
    """Everything random in one connection of a server."""

    connection_id: bytes
    random: bytes
    x25519_private: bytes


def draw_server_inputs(
    now_ms: int, entropy: Callable[[int], bytes], worker: int = 0
) -> ServerInputs:
    """Draw the inputs; *entropy* returns that many random bytes."""
    return ServerInputs(draw_connection_id(now_ms, entropy, worker), entropy(32), entropy(32))


class Server(Connection):
    """The end that is called, from one client's first hello on.

    *seed* is the server's Ed25519 private seed. While the state is IDLE nothing is kept of what
    came in but a count.
    """

    is_client = False

    def __init__(self, config: Config, seed: bytes, inputs: ServerInputs) -> None:
        super().__init__(config, inputs.connection_id)
        self.seed = seed
        self.pin = crypto.ed25519_public(seed)
        self.inputs = inputs
        self._hello_text = b""
        self._hello_number = 0
        self._answered_ns: int | None = None
        self._clear = b""
        self._sealed = b""
        self._server_keys: crypto.PacketKeys | None = None
        self._client_keys: crypto.PacketKeys | None = None
        self._client_finished = b""
        self._early: list[tuple[Header, bytes, int]] = []

    # --- inside

    def _handle_packet(
        self, header: Header, data: bytes, now_ns: int, source: object, mark: int
    ) -> None:
        if header.version != 2:
            raise DropError(Drop.VERSION)
        kind = self._kind(header)
        if kind is Kind.CLIENT_HELLO:
            self._handle_client_hello(header, data, now_ns, source)
            return
        if header.connection_id != self.own_id:
            raise DropError(Drop.UNKNOWN_ID)
        match kind:
            case Kind.CLIENT_FINISHED:
                self._handle_client_finished(header, data, now_ns, mark)
            case Kind.PROTECTED if self.state is State.HELLO_ANSWERED:
                # = 4.4: Protected packets that come earlier are kept (at most 10) or dropped.
                if len(self._early) >= EARLY_MAX:
                    raise DropError(Drop.EARLY)
                self._early.append((header, data, mark))
            case Kind.PROTECTED:
                self._handle_protected(header, data, now_ns, mark)
            case Kind.RETRY:
                raise DropError(Drop.RETRY)
            case _:
                raise DropError(Drop.ROLE)

    def _handle_client_hello(
        self, header: Header, data: bytes, now_ns: int, source: object
    ) -> None:
        if self.state is State.IDLE:
            self._answer_first(header, data, now_ns, source)
            return
        if header.connection_id != self.peer_id:
            raise DropError(Drop.UNKNOWN_ID)
        # = 4.2: once it verified the client's Finished it drops every hello of that address and client id.
        if self.state is not State.HELLO_ANSWERED:
            raise DropError(Drop.HELLO_REPEATED)
        accept_client_hello(data, self.pin, self.config.suites)
        # = 4.2: answers an equal payload (mac1 aside) with SYN+ACK again, and drops any other;
        if data[HEADER_BYTES:-MAC_BYTES] != self._hello_text:
            raise DropError(Drop.HELLO_DIFFERS)
        self._answered_ns = None
        self._send_server_hello(header.sequence)

    def _answer_first(self, header: Header, data: bytes, now_ns: int, source: object) -> None:
        hello = accept_client_hello(data, self.pin, self.config.suites)
        shared = crypto.x25519_shared(self.inputs.x25519_private, hello.public_key)
        # = 3.2: An endpoint MUST drop a hello whose X25519 key leads to a shared secret of
        if shared is None:
            raise DropError(Drop.SHARED_SECRET)
        self.source = source
        self._hello_number, self._answered_ns = header.sequence, now_ns
        self.peer_id = header.connection_id
        self._install_parameters(decode_parameters(hello.parameters))
        # = 4.3: The server takes the first of the client's suites that it supports.
        suite = next(crypto.Suite(s) for s in hello.suites if s in self.config.suites)
        self.suite = suite
        self._hello_text = data[HEADER_BYTES:-MAC_BYTES]
        public = crypto.x25519_public(self.inputs.x25519_private)
        self._clear = ServerHelloClear(suite, self.inputs.random, public).encode()
        schedule = crypto.KeySchedule(shared)
        transcript = Transcript(self.peer_id)
        transcript.add(self._hello_text)
        c_hs, s_hs = schedule.handshake_secrets(transcript.add(self._clear))
        sealed = ServerHelloSealed(self.own_id, self.config.parameters.encode(), self.pin)
        before = sealed.encode_before_signature()
        signature = crypto.sign(self.seed, signed_text(transcript.add(before)))
        mac = crypto.finished(s_hs, transcript.add(signature))
        self._sealed = before + signature + mac
        hash_to_sf = transcript.add(mac)
        c_ap, s_ap, self.exporter_secret = schedule.traffic_secrets(hash_to_sf)
        self._server_keys = crypto.PacketKeys(suite, s_hs)
        self._client_keys = crypto.PacketKeys(suite, c_hs)
        self._client_finished = crypto.finished(c_hs, hash_to_sf)
        self.phases = KeyPhases(
            crypto.PacketKeys(suite, s_ap),
            crypto.PacketKeys(suite, c_ap),
            self.config.update_after_packets,
        )
        self._move(Trigger.ANSWER_HELLO)
        self._handshake_deadline_ns = now_ns + self.config.handshake_timeout_ns
        self._send_server_hello(header.sequence)

    def _send_server_hello(self, answered: int) -> None:
        # = 4.3: A server MUST send SYN+ACK only in answer to a valid client hello, so that it never
        # = 2.5: Client hellos, which are answered again when they repeat, stay outside the window
        assert self._server_keys is not None
        number = self.recovery.take_number()
        length = len(self._clear) + len(self._sealed) + 16
        header = Header(Flag.SYN | Flag.ACK, self.peer_id, number, answered + 1, length)
        associated = header.encode() + self._clear
        sealed = self._server_keys.seal(number, associated, self._sealed)
        self._handshake_datagrams.append(associated + sealed)

    def _handle_client_finished(self, header: Header, data: bytes, now_ns: int, mark: int) -> None:
        if self.state is not State.HELLO_ANSWERED or self._client_keys is None:
            raise DropError(Drop.STATE)
        number = self._packet_number(header)
        plaintext = self._client_keys.open(number, data[:HEADER_BYTES], data[HEADER_BYTES:])
        if plaintext is None:
            raise DropError(Drop.UNOPENED)
        self.replay.commit(number)
        self._acknowledger.marks.count(mark)
        # = 4.4: A wrong Finished is dropped and counted.
        if not crypto.equal(plaintext, b"\x00" + self._client_finished):
            raise DropError(Drop.FINISHED)
        self._move(Trigger.VERIFY_FINISHED)
        # = 7: A handshake in which nothing was repeated gives the first sample:
        # = 7: from SYN+ACK to the client finished at the server.
        if self._answered_ns is not None and number == self._hello_number + 1:
            self.recovery.rtt.update(now_ns - self._answered_ns, 0)
        self._handshake_deadline_ns = None
        self._idle_since_ns = now_ns
        # = 4.4: Both ends forget the handshake keys when the handshake is confirmed:
        self._server_keys = self._client_keys = None
        self._sealed = b""
        self._handshake_datagrams = []
        # = 4.4: The server's first protected packet contains DONE,
        self._control.insert(0, Done(crypto.reset_token(self.seed, self.own_id)))
        self._events.append(HandshakeDone())
        early, self._early = self._early, []
        for early_header, early_data, early_mark in early:
            try:
                self._handle_protected(early_header, early_data, now_ns, early_mark)
            except DropError as dropped:
                self.counters[dropped.reason] += 1

    def _handle_done(self, frame: Done) -> None:
        # = 5: A client that sends DONE closes
        raise ViolationError(Code.PROTOCOL_VIOLATION, "a client sent DONE")
