"""The client's side of the handshake (sections 4.2 to 4.4, 6.5)."""

from collections.abc import Callable
from dataclasses import dataclass

from interop.reference import crypto
from interop.reference.codec import (
    HEADER_BYTES,
    VERSION_NEGOTIATION,
    Flag,
    Header,
    Kind,
    recover_number,
)
from interop.reference.config import Config
from interop.reference.connection import MAX_REPEAT_NS, REPEAT_NS, Connection
from interop.reference.errors import Code, Drop, DropError
from interop.reference.events import Closed, HandshakeDone
from interop.reference.frames import Done
from interop.reference.hello import (
    CLEAR_BYTES,
    RAW_ED25519,
    ClientHello,
    Transcript,
    decode_parameters,
    decode_server_hello_clear,
    decode_server_hello_sealed,
    draw_connection_id,
    signed_text,
)
from interop.reference.phases import KeyPhases
from interop.reference.state import State, Trigger


@dataclass(frozen=True)
class ClientInputs:
    """Everything random in a client."""

    connection_id: bytes
    random: bytes
    x25519_private: bytes


def draw_client_inputs(now_ms: int, entropy: Callable[[int], bytes]) -> ClientInputs:
    """Draw the inputs; *entropy* returns that many random bytes."""
    return ClientInputs(draw_connection_id(now_ms, entropy, None), entropy(32), entropy(32))


class Client(Connection):
    """The end that calls. It knows the server's key, the *pin*, beforehand."""

    is_client = True

    def __init__(
        self, config: Config, pin: bytes, inputs: ClientInputs, server_name: str = ""
    ) -> None:
        super().__init__(config, inputs.connection_id)
        self.pin = pin
        self.inputs = inputs
        self.hello = ClientHello(
            inputs.random,
            crypto.x25519_public(inputs.x25519_private),
            crypto.key_id(pin),
            config.parameters.encode(),
            suites=config.suites,
            server_name=server_name,
        )
        self.negotiated_versions: bytes | None = None
        self._hello_numbers: set[int] = set()
        self._hello_sent_ns = 0
        self._repeat_ns: float | None = None
        self._repeat_wait_ns = REPEAT_NS
        self._reset_token: bytes | None = None
        self._finished_keys: crypto.PacketKeys | None = None
        self._finished_payload = b""

    def connect(self, now_ns: int, server: object = None) -> None:
        """Start the handshake; *server* is the source of the datagrams that count, None for any."""
        self.source = server
        self._move(Trigger.SEND_HELLO)
        self._handshake_deadline_ns = now_ns + self.config.handshake_timeout_ns
        self._send_hello(now_ns)

    def handle_timeout(self, now_ns: int) -> None:
        """Do everything whose time has come."""
        super().handle_timeout(now_ns)
        if self._repeat_ns is None or now_ns < self._repeat_ns:
            return
        # = 7: A client repeats SYN and client finished after 3 x that
        if self.state is State.HELLO_SENT:
            self._send_hello(now_ns)
        elif self.state is State.FINISHED_SENT:
            self._send_finished(now_ns)
        else:
            self._repeat_ns = None

    def next_timeout(self) -> int | None:
        """Return when to call again, in nanoseconds."""
        due = super().next_timeout()
        if self._repeat_ns is None or self.state not in (State.HELLO_SENT, State.FINISHED_SENT):
            return due
        return int(self._repeat_ns) if due is None else min(due, int(self._repeat_ns))

    # --- inside

    def _send_hello(self, now_ns: int) -> None:
        number = self.recovery.take_number()
        self._hello_numbers.add(number)
        self._hello_sent_ns = now_ns
        body = self.hello.encode()
        text = Header(Flag.SYN, self.own_id, number, 0, len(body) + 16).encode() + body
        self._handshake_datagrams.append(text + crypto.mac1(self.pin, text))
        self._repeat_later(now_ns)

    def _send_finished(self, now_ns: int) -> None:
        assert self._finished_keys is not None
        number = self.recovery.take_number()
        length = len(self._finished_payload) + 16
        header = Header(Flag.PSH, self.peer_id, number, 0, length).encode()
        sealed = self._finished_keys.seal(number, header, self._finished_payload)
        self._handshake_datagrams.append(header + sealed)
        self._repeat_later(now_ns)

    def _repeat_later(self, now_ns: int) -> None:
        self._repeat_ns = now_ns + self._repeat_wait_ns
        # = 7: initial value and doubling, up to four times that, beginning anew with the client
        self._repeat_wait_ns = min(2 * self._repeat_wait_ns, MAX_REPEAT_NS)

    def _handle_packet(
        self, header: Header, data: bytes, now_ns: int, source: object, mark: int
    ) -> None:
        if header.version == VERSION_NEGOTIATION:
            self._handle_version_negotiation(header, data)
            return
        if header.version != 2:
            raise DropError(Drop.VERSION)
        kind = self._kind(header)
        if kind is Kind.STATELESS_RESET:
            self._handle_reset(header, data, now_ns)
            return
        if header.connection_id != self.own_id:
            raise DropError(Drop.UNKNOWN_ID)
        match kind:
            case Kind.SERVER_HELLO:
                self._handle_server_hello(header, data, now_ns, mark)
            case Kind.PROTECTED:
                self._handle_protected(header, data, now_ns, mark)
            case Kind.RETRY:
                raise DropError(Drop.RETRY)
            case _:
                raise DropError(Drop.ROLE)

    def _handle_version_negotiation(self, header: Header, data: bytes) -> None:
        if self.state is not State.HELLO_SENT or header.flags:
            raise DropError(Drop.STATE)
        if header.connection_id != self.own_id:
            raise DropError(Drop.UNKNOWN_ID)
        # = 4.8: A client MUST NOT give up because of a version negotiation packet alone.
        self.negotiated_versions = data[HEADER_BYTES:]

    def _handshake_failure(self) -> str:
        # = 4.8: It reports it as the cause when the handshake times out.
        if self.negotiated_versions is None:
            return super()._handshake_failure()
        offered = ", ".join(str(version) for version in self.negotiated_versions)
        return f"the handshake timed out; the server offers version {offered}"

    def _handle_server_hello(self, header: Header, data: bytes, now_ns: int, mark: int) -> None:
        # = 4.3: A client drops every SYN+ACK after the first valid one.
        if self.state is not State.HELLO_SENT:
            raise DropError(Drop.HELLO_REPEATED)
        number = self._packet_number(header)
        answered = recover_number((header.ack - 1) & 0xFFFFFFFF, self.recovery.next_number - 1)
        if answered not in self._hello_numbers or len(data) < HEADER_BYTES + CLEAR_BYTES:
            raise DropError(Drop.HELLO_MALFORMED)
        clear = decode_server_hello_clear(data[HEADER_BYTES : HEADER_BYTES + CLEAR_BYTES])
        chosen = (clear.version, clear.suite, clear.group)
        if chosen not in {(2, suite, crypto.GROUP_X25519) for suite in self.config.suites}:
            raise DropError(Drop.HELLO_MALFORMED)
        suite = crypto.Suite(clear.suite)
        shared = crypto.x25519_shared(self.inputs.x25519_private, clear.public_key)
        # = 3.2: An endpoint MUST drop a hello whose X25519 key leads to a shared secret of
        if shared is None:
            raise DropError(Drop.SHARED_SECRET)
        schedule = crypto.KeySchedule(shared)
        transcript = Transcript(self.own_id)
        transcript.add(self.hello.encode())
        c_hs, s_hs = schedule.handshake_secrets(transcript.add(clear.encode()))
        split = HEADER_BYTES + CLEAR_BYTES
        plaintext = crypto.PacketKeys(suite, s_hs).open(number, data[:split], data[split:])
        # = 4.3: A client MUST drop a server hello whose sealed part does not open,
        if plaintext is None:
            raise DropError(Drop.UNOPENED)
        sealed = decode_server_hello_sealed(plaintext)
        if sealed.identity_type != RAW_ED25519 or sealed.identity != self.pin:
            raise DropError(Drop.IDENTITY)
        hash_to_sp = transcript.add(sealed.encode_before_signature())
        if not crypto.signature_is_valid(self.pin, sealed.signature, signed_text(hash_to_sp)):
            raise DropError(Drop.SIGNATURE)
        mac = crypto.finished(s_hs, transcript.add(sealed.signature))
        if not crypto.equal(sealed.finished, mac):
            raise DropError(Drop.FINISHED)
        parameters = decode_parameters(sealed.parameters)
        self.replay.commit(number)
        self._acknowledger.marks.count(mark)
        hash_to_sf = transcript.add(sealed.finished)
        c_ap, s_ap, self.exporter_secret = schedule.traffic_secrets(hash_to_sf)
        self.suite = suite
        self.phases = KeyPhases(
            crypto.PacketKeys(suite, c_ap),
            crypto.PacketKeys(suite, s_ap),
            self.config.update_after_packets,
        )
        self.peer_id = sealed.connection_id
        self._install_parameters(parameters)
        self._finished_keys = crypto.PacketKeys(suite, c_hs)
        self._finished_payload = b"\x00" + crypto.finished(c_hs, hash_to_sf)
        self._move(Trigger.VERIFY_SERVER_HELLO)
        # = 7: A handshake in which nothing was repeated gives the first sample: from SYN to SYN+ACK
        # = at the client,
        if len(self._hello_numbers) == 1:
            self.recovery.rtt.update(now_ns - self._hello_sent_ns, 0)
        self._handshake_datagrams = []
        self._repeat_wait_ns = REPEAT_NS
        self._send_finished(now_ns)

    def _handle_done(self, frame: Done) -> None:
        if self.state is not State.FINISHED_SENT:
            return
        self._move(Trigger.RECEIVE_DONE)
        self._reset_token = frame.token
        # = 4.4: Both ends forget the handshake keys when the handshake is confirmed:
        self._finished_keys, self._finished_payload = None, b""
        self._repeat_ns = self._handshake_deadline_ns = None
        self._events.append(HandshakeDone())

    def _handle_reset(self, header: Header, data: bytes, now_ns: int) -> None:
        if header.connection_id != self.peer_id:
            raise DropError(Drop.UNKNOWN_ID)
        if self.state not in (State.ESTABLISHED, State.CLOSING) or self._reset_token is None:
            raise DropError(Drop.STATE)
        # = 6.5: A client MUST compare the token of a stateless reset with the one from DONE
        if not crypto.equal(data[HEADER_BYTES:], self._reset_token):
            raise DropError(Drop.TOKEN)
        was_closing = self.state is State.CLOSING
        self._move(Trigger.RECEIVE_RESET)
        self._start_end(now_ns)
        if not was_closing:
            reason = "the server does not know the connection any more"
            self._events.append(Closed(Code.NO_ERROR, reason, application=False, remote=True))
