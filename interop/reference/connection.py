"""What both roles share: protected packets, and everything that happens inside them.

The outline is the core's: ``handle_*`` takes what the world did, plain verbs what the application
wants, ``poll_*`` gives what there is to send and to tell, ``next_timeout`` says when to come back.
Time is an argument, in nanoseconds. Randomness is an argument of the roles. Nothing that a peer
sent raises. `client` and `server` add the handshake.
"""

from collections import Counter, deque

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
from interop.reference.config import Config
from interop.reference.ecn import Mark, Marker
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
    MessageExpired,
    MessagePart,
    Ping,
    Repair,
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
from interop.reference.repair import Protector, Rebuilder, check_source
from interop.reference.state import CONNECTION, MAY_SEND_PROTECTED, State, Trigger, advance
from interop.reference.streams import Streams

NUMBER_END = 2**62
CLOSING_PROBE_TIMEOUTS = 3
REPEAT_NS = 300_000_000
MAX_REPEAT_NS = 4 * REPEAT_NS


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
        self.rebuilder = Rebuilder(config.parameters.repair_sources, self.replay, self.counters)
        self.protector = Protector(*config.protect) if config.protect else None
        self.marker = Marker(config.mark_ect0)
        # What is to be sent.
        self._handshake_datagrams: list[bytes] = []
        self._control: list[Frame] = []
        self._datagrams: deque[bytes] = deque()
        self._parities: deque[Repair] = deque()
        # Life (section 6).
        self._handshake_deadline_ns: float | None = None
        self._idle_since_ns: float | None = None
        self._sent_since_opened = False
        self._end_ns: float | None = None
        self._close: Close | None = None
        self._close_due = False
        self._packets_while_closing = 0

    # --- the world

    def handle_datagram(
        self, data: bytes, now_ns: int, source: object = None, mark: int = Mark.NONE
    ) -> None:
        """Take one UDP payload that came from *source*; None when there is but one path.

        *mark* is what the ECN bits of its IP header said.
        """
        self.handle_timeout(now_ns)
        try:
            header = decode_header(data)
            # = 6.6: Packets of a connection that come from another address than its hello are
            if None not in (source, self.source) and source != self.source:
                raise DropError(Drop.ADDRESS)
            self._handle_packet(header, data, now_ns, source, mark)
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

    def expire_message(self, message_id: int) -> None:
        """Give up a message that was not acknowledged yet; the peer may have it already."""
        self.messages.expire(message_id)

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

    @property
    def mark(self) -> Mark:
        """The ECN bits with which to send what `poll_datagrams` returned last."""
        return self.marker.mark

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

    def _handle_packet(
        self, header: Header, data: bytes, now_ns: int, source: object, mark: int
    ) -> None:
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

    def _handle_protected(self, header: Header, data: bytes, now_ns: int, mark: int) -> None:
        if self.state is State.CLOSED or self.phases is None:
            raise DropError(Drop.STATE)
        number = recover_number(header.sequence, self.replay.largest)
        # = 5.7: A packet that arrives after it was rebuilt is opened,
        came_late = number in self._acknowledger.recovered and not self.replay.is_below(number)
        if not came_late:
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
        self._acknowledger.marks.count(mark)
        self._idle_since_ns, self._sent_since_opened = now_ns, False
        if self.state is State.DRAINING:
            return
        if self.state is State.CLOSING:
            self._handle_while_closing(plaintext, now_ns)
            return
        try:
            # = 5.7: its frames are not processed again.
            frames: list[Frame] = [] if came_late else decode_frames(plaintext)
            # = 2.2: (a receiver that does not repair only checks its frames, 5.7)
            is_source = bool(header.flags & Flag.FEC)
            if is_source:
                check_source(frames)
            eliciting = came_late or any(is_ack_eliciting(frame) for frame in frames)
            self._acknowledger.handle_packet(number, eliciting, now_ns)
            if header.flags & Flag.ACK:
                self._handle_header_ack(header.ack)
            self._handle_frames(frames, number, now_ns)
            if is_source and not came_late:
                self.rebuilder.keep(number, plaintext)
            self._rebuild(now_ns)
        except ViolationError as violation:
            self._violate(violation, now_ns)

    def _handle_frames(self, frames: list[Frame], number: int, now_ns: int) -> None:
        for frame in frames:
            if isinstance(frame, Repair):
                self.rebuilder.handle_repair(frame, number)
            else:
                self._handle_frame(frame, now_ns)
            if self.state not in (State.FINISHED_SENT, State.ESTABLISHED):
                return

    def _rebuild(self, now_ns: int) -> None:
        """Process every packet that can be rebuilt now; one may help to rebuild another."""
        while self.state in (State.FINISHED_SENT, State.ESTABLISHED) and (
            rebuilt := self.rebuilder.rebuild()
        ):
            for number, plaintext in rebuilt:
                # = 5.7: A rebuilt packet counts as received in the replay window
                self.replay.commit(number)
                self.counters["packets_rebuilt"] += 1
                frames = decode_frames(plaintext)
                check_source(frames)
                # = 5.7: and it is reported in recovered ranges instead of acknowledged ones.
                self._acknowledger.handle_rebuilt(number, now_ns)
                self._handle_frames(frames, number, now_ns)
                # Its own zeros at the end, if any, do not matter to the shard.
                self.rebuilder.keep(number, plaintext.rstrip(b"\0"))

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
                self._handle_ack(frame, now_ns)
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
            case MessageExpired():
                self.messages.handle_expired(frame)
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

    def _handle_ack(self, frame: Ack, now_ns: int) -> None:
        recovered = self.recovery.handle_recovered(frame.recovered, frame.ranges)
        acked, lost = self.recovery.handle_ack(frame.ranges, frame.delay_us, now_ns)
        marked = sum(packet.marked for packet in acked)
        self.marker.handle_ack(frame.ranges[0][1], marked, frame.ecn)
        self._handle_acked(acked)
        # = 5.2: What a recovered packet carried has been delivered and is not sent again;
        self._handle_delivered(recovered)
        self._requeue(lost)

    def _handle_acked(self, packets: list[SentPacket]) -> None:
        assert self.phases is not None
        for packet in packets:
            self.phases.handle_acked(packet.phase)
        self._handle_delivered(packets)

    def _handle_delivered(self, packets: list[SentPacket]) -> None:
        for packet in packets:
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
        ack_due = self._acknowledger.is_due(now_ns)
        ack = self._acknowledger.frame(now_ns)
        if ack is not None and ack_due and self._protects():
            # A source contains no ACK, so this one goes alone.
            self._acknowledger.handle_sent()
            return [ack]
        room = self._room() - (len(ack.encode()) if ack else 0)
        frames = self._choose_frames(room)
        if not frames and not ack_due:
            return None
        if ack is not None and not (self.protector and self.protector.covers(frames)):
            frames.insert(0, ack)
            self._acknowledger.handle_sent()
        return frames

    def _choose_frames(self, room: int) -> list[Frame]:
        """Return what to send besides an ACK: data, a parity, or a probe."""
        frames: list[Frame] = []
        if self.recovery.probes_due > PROBES_WITH_DATA:
            frames = [Ping()]
        elif self.recovery.probes_due or self.recovery.may_send(self._room() + sealed_overhead()):
            if not self._parities:
                frames = self._take_frames(room)
            if not frames and self.protector is not None and not self._parities:
                # = 5.7: A block is k source packets and up to m parity shards.
                self._parities += self.protector.finish()
            if not frames and self._parities and len(self._parities[0].encode()) <= room:
                frames = [self._parities.popleft()]
            if not frames and self.recovery.probes_due:
                frames = [Ping()]
        if frames and self.recovery.probes_due:
            self.recovery.probes_due -= 1
            # = 7: a number is skipped before each, so that it is acknowledged at once.
            self.recovery.skip_number()
        return frames

    def _protects(self) -> bool:
        return self.protector is not None and self.protector.sources > 0

    def _take_frames(self, room: int) -> list[Frame]:
        frames: list[Frame] = []
        whole_room = self._room()
        if self.protector is not None and self._protects():
            whole_room -= self.protector.overhead
            room = min(room, whole_room)
        self._control += self.streams.take_control() + self.messages.take_control()
        while self._control and len(self._control[0].encode()) <= room:
            room -= len(self._control[0].encode())
            frames.append(self._control.pop(0))
        while self._datagrams and len(Datagram(self._datagrams[0]).encode()) <= room:
            frames.append(Datagram(self._datagrams.popleft()))
            room -= len(frames[-1].encode())
        while (message := self.messages.take_data(room, whole_room)) is not None:
            frames.append(message)
            room -= len(message.encode())
        while (stream := self.streams.take_data(room)) is not None:
            frames.append(stream)
            room -= len(stream.encode())
        return frames

    def _seal(self, frames: list[Frame], now_ns: int, more_flags: int = 0) -> bytes:
        """Return one protected packet and record it."""
        assert self.phases is not None
        self.phases.update_if_due()
        skip = self.config.skip_every_packets
        if skip and self.recovery.next_number % skip == skip - 1:
            self.recovery.skip_number()
        number = self.recovery.take_number()
        flags, ack = self.phases.flag | more_flags, 0
        if self._acknowledger.largest is not None:
            flags, ack = flags | Flag.ACK, self._acknowledger.largest + 1
        if any(isinstance(frame, Close) for frame in frames):
            flags |= Flag.FIN
        if self.protector is not None and self.protector.covers(frames):
            flags |= Flag.FEC
            self._parities += self.protector.add(number, frames)
        plaintext = encode_frames(frames)
        header = Header(flags, self.peer_id, number, ack, len(plaintext) + 16).encode()
        datagram = header + self.phases.seal(number, header, plaintext)
        eliciting = any(is_ack_eliciting(frame) for frame in frames)
        phase, marked = self.phases.phase, self.mark is not Mark.NONE
        self.recovery.handle_sent(
            SentPacket(number, now_ns, len(datagram), eliciting, phase, frames, marked)
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
        if self.protector is not None:
            self.protector.limit(peer.repair_sources)
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
