"""What both roles share: protected packets, and everything that happens inside them.

The outline is the core's: ``handle_*`` takes what the world did, plain verbs what the application
wants, ``poll_*`` gives what there is to send and to tell, ``next_timeout`` says when to come back.
Time is an argument, in nanoseconds. Randomness is an argument of the roles. Nothing that a peer
sent raises. `client` and `server` add the handshake.
"""

from collections import Counter, deque
from dataclasses import dataclass

from interop.reference import crypto
from interop.reference.acknowledging import Acknowledger
from interop.reference.codec import (
    HEADER_BYTES,
    Flag,
    Header,
    Kind,
    ReplayWindow,
    decode_header,
    kind_of,
    recover_number,
)
from interop.reference.errors import Code, Drop, DropError, ViolationError
from interop.reference.events import Closed, DatagramReceived, Event
from interop.reference.frames import (
    REASON_BYTES_MAX,
    Ack,
    Close,
    Datagram,
    Done,
    Frame,
    MaxData,
    MaxMessageData,
    MaxStreamData,
    MaxStreams,
    Message,
    MessagePart,
    Ping,
    ResetStream,
    StopSending,
    Stream,
    decode_frames,
    encode_frames,
    is_ack_eliciting,
)
from interop.reference.hello import Parameters, sealed_overhead
from interop.reference.messages import Messages
from interop.reference.phases import KeyPhases
from interop.reference.recovery import PROBES_WITH_DATA, Recovery, SentPacket
from interop.reference.state import CONNECTION, MAY_SEND_PROTECTED, State, Trigger, advance
from interop.reference.streams import Streams

NUMBER_END = 2**62
CLOSING_PROBE_TIMEOUTS = 3
REPEAT_NS = 300_000_000
MAX_REPEAT_NS = 4 * REPEAT_NS


DEFAULT_PARAMETERS = Parameters(
    max_data=1 << 20,
    max_stream_data=1 << 18,
    max_streams_bidi=100,
    max_streams_uni=100,
    max_message_data=1 << 20,
    max_message_bytes=1 << 16,
    max_datagram_bytes=1452,
    idle_timeout_ms=30_000,
)


@dataclass(frozen=True)
class Config:
    """What an endpoint may choose. Units are in the names."""

    parameters: Parameters = DEFAULT_PARAMETERS
    suites: tuple[int, ...] = (crypto.Suite.AES_256_GCM, crypto.Suite.CHACHA20_POLY1305)
    max_datagram_bytes: int = 1200
    window_packets: int = 32
    handshake_timeout_ns: int = 10_000_000_000
    keepalive_ns: int | None = None
    update_after_packets: int = 2**20
    skip_every_packets: int = 0
    datagrams_queued_max: int = 1024
    unfinished_max: int = 1024


class Connection:
    """One end of a connection; abstract, see `client.Client` and `server.Server`."""

    is_client: bool

    def __init__(self, config: Config, own_id: bytes) -> None:
        self.config = config
        self.own_id = own_id
        self.peer_id = b""
        self.source: object = None
        self.state = State.IDLE
        self.counters: Counter[str] = Counter()
        self.recovery = Recovery(config.window_packets)
        self.replay = ReplayWindow()
        self._events: deque[Event] = deque()
        self.streams = Streams(self.is_client, config.parameters, self._events.append)
        self.messages = Messages(config.parameters, self._events.append)
        self.peer_parameters = Parameters()
        self.suite: crypto.Suite | None = None
        self.exporter_secret: bytes | None = None
        self.phases: KeyPhases | None = None
        self._acknowledger = Acknowledger(config.parameters.max_ack_delay_us)
        # What is to be sent.
        self._handshake_datagrams: list[bytes] = []
        self._control: list[Frame] = []
        self._datagrams: deque[bytes] = deque()
        # Life (section 6).
        self._handshake_deadline_ns: float | None = None
        self._idle_since_ns: float | None = None
        self._sent_since_opened = False
        self._end_ns: float | None = None
        self._close: Close | None = None
        self._close_due = False
        self._packets_while_closing = 0

    # --- the world

    def handle_datagram(self, data: bytes, now_ns: int, source: object = None) -> None:
        """Take one UDP payload that came from *source*; None when there is but one path."""
        self.handle_timeout(now_ns)
        try:
            header = decode_header(data)
            # = 6.6: Packets of a connection that come from another address than its hello are
            if None not in (source, self.source) and source != self.source:
                raise DropError(Drop.ADDRESS)
            self._handle_packet(header, data, now_ns, source)
        except DropError as dropped:
            self.counters[dropped.reason] += 1

    def handle_timeout(self, now_ns: int) -> None:
        """Do everything whose time has come."""
        if self._handshake_deadline_ns is not None and now_ns >= self._handshake_deadline_ns:
            self._handshake_deadline_ns = None
            self._end(Trigger.HANDSHAKE_TIMEOUT, self._handshake_failure())
        if self._end_ns is not None and now_ns >= self._end_ns:
            self._end_ns = None
            self._move(Trigger.PERIOD_OVER)
        idle = self._idle_deadline()
        if idle is not None and now_ns >= idle:
            self._end(Trigger.IDLE_TIMEOUT, "the peer was silent for the idle time-out")
        if self.phases is not None:
            self.phases.handle_timeout(now_ns)
        if self.state in (State.FINISHED_SENT, State.ESTABLISHED):
            keepalive = self._keepalive_deadline()
            if keepalive is not None and now_ns >= keepalive:
                self._control.append(Ping())
                self._sent_since_opened = True
            lost, probed = self.recovery.handle_timeout(now_ns)
            self._requeue([*lost, *probed])

    # --- the application

    def open_stream(self, unidirectional: bool = False) -> int:
        """Open a stream and return its id."""
        return self.streams.open(unidirectional)

    def write_stream(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """Send bytes on a stream; *fin* ends it."""
        self.streams.send[stream_id].write(data, fin)

    def reset_stream(self, stream_id: int, code: int) -> None:
        """Give up sending on a stream."""
        self.streams.send[stream_id].reset(code)

    def stop_stream(self, stream_id: int, code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        self.streams.stop(stream_id, code)

    def send_message(self, data: bytes) -> int:
        """Send a reliable message and return its id; ValueError when the peer takes less."""
        return self.messages.send(data)

    def send_datagram(self, data: bytes) -> None:
        """Send an unreliable datagram; ValueError when it does not fit into one packet."""
        if len(Datagram(data).encode()) > self._room():
            raise ValueError("the datagram does not fit into one packet; send a message instead")
        self._datagrams.append(data)

    def ping(self) -> None:
        """Make the peer acknowledge something."""
        self._control.append(Ping())

    def update_keys(self) -> bool:
        """Start a key update if the specification allows one now."""
        return self.phases is not None and self.phases.update()

    def close(self, now_ns: int, code: int = 0, reason: str = "", application: bool = True) -> None:
        """End the connection at once; wait for `is_flushed` first to lose nothing."""
        if self.state in (State.FINISHED_SENT, State.ESTABLISHED):
            text = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
            self._close = Close(code, text.encode(), application)
            self._close_due = True
            self._move(Trigger.SEND_CLOSE)
            self._start_end(now_ns)
            self._events.append(Closed(code, reason, application, remote=False))
        elif self.state in (State.IDLE, State.HELLO_SENT, State.HELLO_ANSWERED):
            self._end(Trigger.ABANDON, reason)

    def exporter(self, label: str, length: int) -> bytes:
        """Return keying material of the connection (section 3.2)."""
        if self.exporter_secret is None:
            raise RuntimeError("no handshake was completed; call this after HandshakeDone")
        return crypto.export(self.exporter_secret, label, length)

    @property
    def is_flushed(self) -> bool:
        """True when everything reliable was acknowledged."""
        return self.streams.is_flushed and not self.messages.outgoing

    # --- what comes out

    def poll_events(self) -> list[Event]:
        """Return and forget what happened since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def poll_datagrams(self, now_ns: int) -> list[bytes]:
        """Return the UDP payloads to send now."""
        self.handle_timeout(now_ns)
        out, self._handshake_datagrams = self._handshake_datagrams, []
        if self.state not in MAY_SEND_PROTECTED[self.is_client]:
            return out
        if self.state is State.CLOSING:
            if self._close_due and self._close is not None:
                self._close_due = False
                out.append(self._seal([self._close], now_ns))
            return out
        while (frames := self._next_frames(now_ns)) is not None:
            out.append(self._seal(frames, now_ns))
            if self.recovery.next_number >= NUMBER_END:
                self._violate(ViolationError(Code.INTERNAL, "packet numbers are used up"), now_ns)
                break
        return out

    def next_timeout(self) -> int | None:
        """Return when to call `poll_datagrams` or `handle_timeout` again, in nanoseconds."""
        deadlines = [
            self._handshake_deadline_ns,
            self._end_ns,
            self._idle_deadline(),
            self.phases.previous_until_ns if self.phases else None,
        ]
        if self.state in (State.FINISHED_SENT, State.ESTABLISHED):
            deadlines += [
                self.recovery.next_timeout(),
                self._acknowledger.deadline_ns,
                self._keepalive_deadline(),
            ]
        due = [d for d in deadlines if d is not None]
        return -int(-min(due) // 1) if due else None

    # --- receiving

    def _handle_packet(self, header: Header, data: bytes, now_ns: int, source: object) -> None:
        raise NotImplementedError

    def _handshake_failure(self) -> str:
        return "the handshake timed out"

    def _packet_number(self, header: Header) -> int:
        """Return the full number of a packet, or drop it when it was processed before."""
        number = recover_number(header.sequence, self.replay.largest)
        # = 2.5: A receiver MUST process each packet number at most once, and drop numbers below
        if not self.replay.is_new(number):
            raise DropError(Drop.REPLAY)
        return number

    def _handle_protected(self, header: Header, data: bytes, now_ns: int) -> None:
        if self.state is State.CLOSED or self.phases is None:
            raise DropError(Drop.STATE)
        number = self._packet_number(header)
        # = 4.6: A receiver MUST NOT act on any field of a protected packet before it was opened.
        associated, sealed = data[:HEADER_BYTES], data[HEADER_BYTES:]
        keep_until_ns = now_ns + 3 * self.recovery.probe_timeout()
        plaintext = self.phases.open(header.flags, number, associated, sealed, keep_until_ns)
        if plaintext is None:
            if self.phases.is_under_attack:
                self._violate(
                    ViolationError(Code.AEAD_LIMIT, "too many packets did not open"), now_ns
                )
            raise DropError(Drop.UNOPENED)
        self.replay.commit(number)
        self._idle_since_ns, self._sent_since_opened = now_ns, False
        if self.state is State.DRAINING:
            return
        if self.state is State.CLOSING:
            self._handle_while_closing(plaintext, now_ns)
            return
        try:
            frames = decode_frames(plaintext)
            eliciting = any(is_ack_eliciting(frame) for frame in frames)
            self._acknowledger.handle_packet(number, eliciting, now_ns)
            if header.flags & Flag.ACK:
                self._handle_header_ack(header.ack)
            for frame in frames:
                self._handle_frame(frame, now_ns)
                if self.state not in (State.FINISHED_SENT, State.ESTABLISHED):
                    return
        except ViolationError as violation:
            self._violate(violation, now_ns)

    def _handle_while_closing(self, plaintext: bytes, now_ns: int) -> None:
        # = 6.3: An endpoint MUST NOT process any frame but CLOSE while it is CLOSING or DRAINING.
        try:
            closes = [f for f in decode_frames(plaintext) if isinstance(f, Close)]
        except ViolationError:
            closes = []
        if closes:
            self._move(Trigger.RECEIVE_CLOSE)
            self._start_end(now_ns)
            return
        # = 6.3: answers the first, second, fourth, eighth ... packet that opens with CLOSE again.
        self._packets_while_closing += 1
        count = self._packets_while_closing
        self._close_due = self._close_due or count & (count - 1) == 0

    def _handle_header_ack(self, ack: int) -> None:
        sent = self.recovery.next_number - 1
        number = recover_number((ack - 1) & 0xFFFFFFFF, sent)
        self._handle_acked(self.recovery.handle_header_ack(number))

    def _handle_frame(self, frame: Frame, now_ns: int) -> None:
        match frame:
            case Ack():
                acked, lost = self.recovery.handle_ack(frame.ranges, frame.delay_us, now_ns)
                self._handle_acked(acked)
                self._requeue(lost)
            case Stream():
                self.streams.handle_stream(frame)
            case ResetStream():
                self.streams.handle_reset(frame)
            case StopSending():
                self.streams.handle_stop(frame)
            case MaxStreamData():
                self.streams.handle_max_stream_data(frame)
            case MaxData():
                self.streams.handle_max_data(frame)
            case MaxStreams():
                self.streams.handle_max_streams(frame)
            case Message():
                self.messages.handle_message(frame)
            case MessagePart():
                self.messages.handle_part(frame)
            case MaxMessageData():
                self.messages.handle_limit(frame)
            case Datagram():
                self._handle_incoming_datagram(frame.data)
            case Done():
                self._handle_done(frame)
            case Close():
                self._move(Trigger.RECEIVE_CLOSE)
                self._start_end(now_ns)
                reason = frame.reason.decode(errors="replace")
                self._events.append(Closed(frame.code, reason, frame.application, remote=True))

    def _handle_done(self, frame: Done) -> None:
        raise NotImplementedError

    def _handle_incoming_datagram(self, data: bytes) -> None:
        # = 5.6: a receiver whose queue is full drops the oldest and counts.
        queued = [event for event in self._events if isinstance(event, DatagramReceived)]
        if len(queued) >= self.config.datagrams_queued_max:
            self._events.remove(queued[0])
            self.counters["datagrams_dropped"] += 1
        self._events.append(DatagramReceived(data))

    def _handle_acked(self, packets: list[SentPacket]) -> None:
        assert self.phases is not None
        for packet in packets:
            self.phases.handle_acked(packet.phase)
            for frame in packet.frames:
                self.streams.handle_acked(frame)
                self.messages.handle_acked(frame)

    def _requeue(self, packets: list[SentPacket]) -> None:
        for packet in packets:
            for frame in packet.frames:
                self.streams.handle_lost(frame)
                self.messages.handle_lost(frame)
                if isinstance(frame, Done) and frame not in self._control:
                    self._control.append(frame)

    # --- sending

    def _room(self) -> int:
        """Return the largest plaintext of a packet."""
        peer = self.peer_parameters.max_datagram_bytes
        return min(self.config.max_datagram_bytes, peer) - sealed_overhead()

    def _next_frames(self, now_ns: int) -> list[Frame] | None:
        """Return the frames of the next packet, or None when nothing has to go now."""
        frames: list[Frame] = []
        ack_due = self._acknowledger.is_due(now_ns)
        ack = self._acknowledger.frame(now_ns)
        room = self._room() - (len(ack.encode()) if ack else 0)
        if self.recovery.probes_due > PROBES_WITH_DATA:
            frames = [Ping()]
        elif self.recovery.probes_due or self.recovery.may_send(self._room() + sealed_overhead()):
            frames = self._take_frames(room)
            if not frames and self.recovery.probes_due:
                frames = [Ping()]
        if frames and self.recovery.probes_due:
            self.recovery.probes_due -= 1
            # = 7: a number is skipped before each, so that it is acknowledged at once.
            self.recovery.skip_number()
        if not frames and not ack_due:
            return None
        if ack is not None:
            frames.insert(0, ack)
            self._acknowledger.handle_sent()
        return frames

    def _take_frames(self, room: int) -> list[Frame]:
        frames: list[Frame] = []
        self._control += self.streams.take_control() + self.messages.take_control()
        while self._control and len(self._control[0].encode()) <= room:
            room -= len(self._control[0].encode())
            frames.append(self._control.pop(0))
        while self._datagrams and len(Datagram(self._datagrams[0]).encode()) <= room:
            frames.append(Datagram(self._datagrams.popleft()))
            room -= len(frames[-1].encode())
        while (message := self.messages.take_data(room, self._room())) is not None:
            frames.append(message)
            room -= len(message.encode())
        while (stream := self.streams.take_data(room)) is not None:
            frames.append(stream)
            room -= len(stream.encode())
        return frames

    def _seal(self, frames: list[Frame], now_ns: int) -> bytes:
        """Return one protected packet and record it."""
        assert self.phases is not None
        self.phases.update_if_due()
        skip = self.config.skip_every_packets
        if skip and self.recovery.next_number % skip == skip - 1:
            self.recovery.skip_number()
        number = self.recovery.take_number()
        flags, ack = self.phases.flag, 0
        if self._acknowledger.largest is not None:
            flags, ack = flags | Flag.ACK, self._acknowledger.largest + 1
        if any(isinstance(frame, Close) for frame in frames):
            flags |= Flag.FIN
        plaintext = encode_frames(frames)
        header = Header(flags, self.peer_id, number, ack, len(plaintext) + 16).encode()
        datagram = header + self.phases.seal(number, header, plaintext)
        eliciting = any(is_ack_eliciting(frame) for frame in frames)
        self.recovery.handle_sent(
            SentPacket(number, now_ns, len(datagram), eliciting, self.phases.phase, frames)
        )
        if eliciting and not self._sent_since_opened:
            self._idle_since_ns, self._sent_since_opened = now_ns, True
        if self.phases.is_worn_out and self._close is None:
            self._violate(ViolationError(Code.AEAD_LIMIT, "no key update was possible"), now_ns)
        return datagram

    # --- life

    def _install_parameters(self, peer: Parameters) -> None:
        self.peer_parameters = peer
        self.streams.handle_parameters(peer)
        self.messages.handle_parameters(peer)
        self.recovery.peer_max_ack_delay_ns = peer.max_ack_delay_us * 1e3
        idle = self._idle_ns()
        self.recovery.idle_ns = idle

    def _idle_ns(self) -> int | None:
        # = 6.2: The idle time-out is the smaller of the two non-zero idle_timeout_ms, or none
        both = (self.config.parameters.idle_timeout_ms, self.peer_parameters.idle_timeout_ms)
        return min((ms * 1_000_000 for ms in both if ms), default=None)

    def _idle_deadline(self) -> float | None:
        idle = self._idle_ns()
        if self.state is not State.ESTABLISHED or idle is None or self._idle_since_ns is None:
            return None
        # = 6.2: it is never taken shorter than three probe timeouts.
        return self._idle_since_ns + max(idle, 3 * self.recovery.probe_timeout())

    def _keepalive_deadline(self) -> float | None:
        wait = self.config.keepalive_ns
        if wait is None or self._idle_since_ns is None or self._sent_since_opened:
            return None
        return self._idle_since_ns + wait

    def _move(self, trigger: Trigger) -> None:
        self.state = advance(CONNECTION, self.state, trigger)

    def _start_end(self, now_ns: int) -> None:
        self._handshake_deadline_ns = None
        self._end_ns = now_ns + CLOSING_PROBE_TIMEOUTS * self.recovery.probe_timeout()

    def _end(self, trigger: Trigger, reason: str) -> None:
        """Go to CLOSED in silence."""
        self._move(trigger)
        self._handshake_deadline_ns = self._end_ns = self.phases = None
        self._handshake_datagrams = []
        self._events.append(Closed(Code.NO_ERROR, reason, application=False, remote=False))

    def _violate(self, violation: ViolationError, now_ns: int) -> None:
        self.counters[f"close_{violation.code.name.lower()}"] += 1
        self.close(now_ns, violation.code, violation.reason, application=False)

    def _kind(self, header: Header) -> Kind:
        kind = kind_of(header.flags)
        assert kind is not None  # decode_header drops every other combination
        return kind
