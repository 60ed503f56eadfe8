"""Streams: section 5.3, and their flow control, section 5.4.

Knows no packet. `Streams` holds every stream of one connection and turns frames into events and
written bytes into frames; it raises `ViolationError` when the peer breaks a rule.
"""

from collections.abc import Callable

from interop.reference.codec import VARINT_MAX, encode_varint
from interop.reference.errors import Code, ViolationError
from interop.reference.events import Event, StreamData, StreamReset, StreamStopped
from interop.reference.frames import (
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    Stream,
)
from interop.reference.hello import Parameters
from interop.reference.ranges import Ranges
from interop.reference.state import RECEIVE_HALF, SEND_HALF, Half, HalfTrigger, advance

GAPS_MAX = 1024


class SendHalf:
    """Bytes this endpoint sends: all are kept, `unsent` says which still have to go."""

    def __init__(self, credit: int) -> None:
        self.state = Half.OPEN
        self.data = b""
        self.unsent = Ranges()
        self.acked = Ranges()
        self.fin_unsent = False
        self.fin_acked = False
        self.credit = credit
        self.highest_sent = 0
        self.reset_code = 0
        self.reset_unsent = False

    def write(self, data: bytes, fin: bool) -> None:
        """Append bytes, and the end."""
        if self.state is not Half.OPEN:
            raise ValueError("the stream was finished or reset; open another one to send more")
        self.unsent.add(len(self.data), len(self.data) + len(data) - 1)
        self.data += data
        if fin:
            self.state = advance(SEND_HALF, self.state, HalfTrigger.FIN)
            self.fin_unsent = True

    def reset(self, code: int) -> None:
        """End the half at what was sent; nothing when it already ended."""
        if self.state not in (Half.OPEN, Half.FIN_KNOWN):
            return
        self.state = advance(SEND_HALF, self.state, HalfTrigger.RESET)
        self.reset_code, self.reset_unsent = code, True
        self.unsent = Ranges()
        self.fin_unsent = False

    def take(self, stream_id: int, room: int, connection_credit: int) -> Stream | None:
        """Return the next STREAM frame of at most *room* bytes within both limits, or None."""
        header = 1 + len(encode_varint(stream_id)) + 8 + 4
        if room <= header:
            return None
        limit = min(self.credit, self.highest_sent + connection_credit)
        start, count = len(self.data), 0
        if self.unsent.pairs:
            low, high = self.unsent.pairs[0]
            start, count = low, max(min(high + 1, low + room - header, limit) - low, 0)
        fin = self.state is Half.FIN_KNOWN and start + count == len(self.data)
        if count == 0 and not (fin and self.fin_unsent and start <= limit):
            return None
        self.unsent.remove(start, start + count - 1)
        self.highest_sent = max(self.highest_sent, start + count)
        if fin:
            self.fin_unsent = False
        return Stream(stream_id, start, self.data[start : start + count], fin)

    def handle_acked(self, frame: Stream) -> None:
        """Record that the frame arrived."""
        self.acked.add(frame.offset, frame.end - 1)
        self.unsent.remove(frame.offset, frame.end - 1)
        if frame.fin:
            self.fin_acked, self.fin_unsent = True, False
        done = self.fin_acked and self.acked.total == len(self.data)
        if done and self.state is Half.FIN_KNOWN:
            self.state = advance(SEND_HALF, self.state, HalfTrigger.ALL_BYTES)

    def handle_lost(self, frame: Stream) -> None:
        """Queue again what the frame carried and nobody acknowledged."""
        if self.state not in (Half.OPEN, Half.FIN_KNOWN):
            return
        for low, high in self.acked.missing(frame.offset, frame.end - 1):
            self.unsent.add(low, high)
        if frame.fin and not self.fin_acked:
            self.fin_unsent = True

    @property
    def is_over(self) -> bool:
        """True once nothing more has to be sent."""
        return self.state in (Half.FINISHED, Half.RESET_FINISHED)


class ReceiveHalf:
    """Bytes the peer sends: a buffer and the ranges of it that are filled."""

    def __init__(self, window: int) -> None:
        self.state = Half.OPEN
        self.window = window
        self.announced = window
        self.buffer = bytearray()
        self.filled = Ranges()
        self.delivered = 0
        self.highest = 0
        self.final_size: int | None = None
        self.credit_unsent = False
        self.stop_code: int | None = None
        self.stop_unsent = False

    def check_end(self, end: int, fin: bool) -> None:
        """Raise `ViolationError` when *end* contradicts the end of the stream."""
        # = 5.3: An endpoint MUST close with FINAL_SIZE when the end of a stream changes or data
        if self.final_size is not None and (
            end > self.final_size or (fin and end != self.final_size)
        ):
            raise ViolationError(Code.FINAL_SIZE, "the end of a stream changed")
        if fin and end < self.highest:
            raise ViolationError(Code.FINAL_SIZE, "data lies beyond the end of a stream")
        # = 5.4: An endpoint MUST close with FLOW_CONTROL when the peer exceeds a limit.
        if end > self.announced:
            raise ViolationError(Code.FLOW_CONTROL, "more stream data than max_stream_data")

    def handle_data(self, frame: Stream) -> bytes:
        """Store a checked frame and return the bytes that are now in order."""
        self.highest = max(self.highest, frame.end)
        if frame.fin and self.state is Half.OPEN:
            self.final_size = frame.end
            self.state = advance(RECEIVE_HALF, self.state, HalfTrigger.FIN)
        if frame.end > len(self.buffer):
            self.buffer.extend(bytes(frame.end - len(self.buffer)))
        self.buffer[frame.offset : frame.end] = frame.data
        self.filled.add(frame.offset, frame.end - 1)
        if len(self.filled) > GAPS_MAX + 1:
            raise ViolationError(Code.TOO_MANY_GAPS, "a stream has more than 1,024 gaps")
        start, in_order = self.delivered, self.delivered
        if self.filled.pairs and self.filled.pairs[0][0] == 0:
            in_order = self.filled.pairs[0][1] + 1
        self.delivered = in_order
        return bytes(self.buffer[start:in_order])

    @property
    def is_complete(self) -> bool:
        """True when every byte up to the end is there."""
        return self.final_size is not None and self.delivered == self.final_size

    @property
    def is_over(self) -> bool:
        """True once the application knows how the half ended."""
        return self.state in (Half.FINISHED, Half.RESET_FINISHED)


def is_unidirectional(stream_id: int) -> bool:
    """Tell the kind of a stream from its id."""
    return bool(stream_id & 2)


class Streams:
    """All streams of one connection."""

    def __init__(self, is_client: bool, local: Parameters, emit: Callable[[Event], None]) -> None:
        self.is_client = is_client
        self.local = local
        self.peer = Parameters()
        self._emit = emit
        self.send: dict[int, SendHalf] = {}
        self.receive: dict[int, ReceiveHalf] = {}
        self.opened_by_us = {False: 0, True: 0}
        self.opened_by_peer = {False: 0, True: 0}
        self.may_open = {False: 0, True: 0}
        self.peer_may_open = {False: local.max_streams_bidi, True: local.max_streams_uni}
        self.ended_by_peer = {False: 0, True: 0}
        self.streams_unsent = {False: False, True: False}
        self.peer_max_data = 0
        self.data_sent = 0
        self.max_data = local.max_data
        self.data_received = 0
        self.data_consumed = 0
        self.max_data_unsent = False
        self._turn = 0

    def handle_parameters(self, peer: Parameters) -> None:
        """Take the peer's limits; streams opened before start to flow."""
        self.peer = peer
        self.peer_max_data = peer.max_data
        self.may_open = {False: peer.max_streams_bidi, True: peer.max_streams_uni}
        for half in self.send.values():
            half.credit = max(half.credit, peer.max_stream_data)

    # --- what the application does

    def open(self, unidirectional: bool) -> int:
        """Open a stream; its data waits while the peer's limit does not allow it."""
        index = self.opened_by_us[unidirectional]
        self.opened_by_us[unidirectional] += 1
        stream_id = index << 2 | (0 if self.is_client else 1) | (2 if unidirectional else 0)
        self._create(stream_id)
        return stream_id

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the peer to reset its half."""
        half = self.receive[stream_id]
        if half.state in (Half.OPEN, Half.FIN_KNOWN) and not half.is_complete:
            half.stop_code, half.stop_unsent = code, True

    # --- what the peer did

    def handle_stream(self, frame: Stream) -> None:
        """Take a STREAM frame."""
        half = self._receive_half(frame.stream_id)
        if half is None:
            return
        half.check_end(frame.end, frame.fin)
        self._count_received(half, frame.end)
        if half.state not in (Half.OPEN, Half.FIN_KNOWN):
            return
        data = half.handle_data(frame)
        self._consume(half, len(data))
        complete = half.state is Half.FIN_KNOWN and half.is_complete
        if complete:
            half.state = advance(RECEIVE_HALF, half.state, HalfTrigger.ALL_BYTES)
        if data or complete:
            self._emit(StreamData(frame.stream_id, data, complete))
        self._forget_if_over(frame.stream_id)

    def handle_reset(self, frame: ResetStream) -> None:
        """Take a RESET_STREAM frame."""
        half = self._receive_half(frame.stream_id)
        if half is None:
            return
        half.check_end(frame.final_size, fin=True)
        # = 5.3: its final size counts in flow control as if all bytes had arrived.
        self._count_received(half, frame.final_size)
        if half.state not in (Half.OPEN, Half.FIN_KNOWN):
            return
        half.final_size = frame.final_size
        half.state = advance(RECEIVE_HALF, half.state, HalfTrigger.RESET)
        self._consume(half, frame.final_size - half.delivered)
        self._emit(StreamReset(frame.stream_id, frame.code))
        half.state = advance(RECEIVE_HALF, half.state, HalfTrigger.RESET_DONE)
        self._forget_if_over(frame.stream_id)

    def handle_stop(self, frame: StopSending) -> None:
        """Take a STOP_SENDING frame: answer with RESET_STREAM and the same code."""
        half = self._send_half(frame.stream_id)
        if half is not None and half.state in (Half.OPEN, Half.FIN_KNOWN):
            half.reset(frame.code)
            self._emit(StreamStopped(frame.stream_id, frame.code))

    def handle_max_stream_data(self, frame: MaxStreamData) -> None:
        """Take a MAX_STREAM_DATA frame; smaller values are ignored."""
        half = self._send_half(frame.stream_id)
        if half is not None:
            half.credit = max(half.credit, frame.limit)

    def handle_max_data(self, frame: MaxData) -> None:
        """Take a MAX_DATA frame; smaller values are ignored."""
        self.peer_max_data = max(self.peer_max_data, frame.limit)

    def handle_max_streams(self, frame: MaxStreams) -> None:
        """Take a MAX_STREAMS frame; smaller values are ignored."""
        kind = frame.unidirectional
        self.may_open[kind] = max(self.may_open[kind], frame.limit)

    # --- what there is to send

    def take_control(self) -> list[Frame]:
        """Return every control frame that is due and mark it as sent."""
        frames: list[Frame] = []
        if self.max_data_unsent:
            self.max_data_unsent = False
            frames.append(MaxData(self.max_data))
        for kind in (False, True):
            if self.streams_unsent[kind]:
                self.streams_unsent[kind] = False
                frames.append(MaxStreams(self.peer_may_open[kind], kind))
        for stream_id, half in self.receive.items():
            if half.credit_unsent:
                half.credit_unsent = False
                frames.append(MaxStreamData(stream_id, half.announced))
            if half.stop_unsent and half.stop_code is not None and self._is_allowed(stream_id):
                half.stop_unsent = False
                frames.append(StopSending(stream_id, half.stop_code))
        for stream_id, sending in self.send.items():
            if sending.reset_unsent and self._is_allowed(stream_id):
                sending.reset_unsent = False
                frames.append(ResetStream(stream_id, sending.reset_code, sending.highest_sent))
        return frames

    def take_data(self, room: int) -> Stream | None:
        """Return one STREAM frame of at most *room* bytes, each stream in its turn."""
        ids = sorted(self.send)
        ids = [i for i in ids if i > self._turn] + [i for i in ids if i <= self._turn]
        for stream_id in ids:
            half = self.send[stream_id]
            if not self._is_allowed(stream_id):
                continue
            before = half.highest_sent
            # = 5.4: A sender MUST NOT send stream data beyond either limit.
            frame = half.take(stream_id, room, self.peer_max_data - self.data_sent)
            if frame is not None:
                self.data_sent += half.highest_sent - before
                self._turn = stream_id
                return frame
        return None

    def handle_acked(self, frame: Frame) -> None:
        """Record that a frame of this section arrived."""
        if isinstance(frame, Stream) and frame.stream_id in self.send:
            self.send[frame.stream_id].handle_acked(frame)
            self._forget_if_over(frame.stream_id)
        elif isinstance(frame, ResetStream) and frame.stream_id in self.send:
            half = self.send[frame.stream_id]
            if half.state is Half.RESET:
                half.state = advance(SEND_HALF, half.state, HalfTrigger.RESET_DONE)
            half.reset_unsent = False
            self._forget_if_over(frame.stream_id)

    def handle_lost(self, frame: Frame) -> None:
        """Queue again what a lost frame of this section said."""
        match frame:
            case Stream() if frame.stream_id in self.send:
                self.send[frame.stream_id].handle_lost(frame)
            case ResetStream() if frame.stream_id in self.send:
                half = self.send[frame.stream_id]
                half.reset_unsent = half.state is Half.RESET
            case StopSending() if frame.stream_id in self.receive:
                self.receive[frame.stream_id].stop_unsent = True
            case MaxStreamData() if frame.stream_id in self.receive:
                self.receive[frame.stream_id].credit_unsent = True
            case MaxData():
                self.max_data_unsent = True
            case MaxStreams():
                self.streams_unsent[frame.unidirectional] = True

    @property
    def is_flushed(self) -> bool:
        """True when all written bytes, ends and resets were acknowledged."""
        return all(
            half.is_over or (half.state is Half.OPEN and half.acked.total == len(half.data))
            for half in self.send.values()
        )

    # --- inside

    def _is_ours(self, stream_id: int) -> bool:
        return (stream_id & 1 == 0) == self.is_client

    def _is_allowed(self, stream_id: int) -> bool:
        allowed = self.may_open[is_unidirectional(stream_id)]
        return not self._is_ours(stream_id) or stream_id >> 2 < allowed

    def _create(self, stream_id: int) -> None:
        ours, unidirectional = self._is_ours(stream_id), is_unidirectional(stream_id)
        if ours or not unidirectional:
            self.send[stream_id] = SendHalf(self.peer.max_stream_data)
        if not ours or not unidirectional:
            self.receive[stream_id] = ReceiveHalf(self.local.max_stream_data)

    def _meet(self, stream_id: int) -> None:
        """Open what a frame of the peer refers to, or raise `ViolationError`."""
        kind = is_unidirectional(stream_id)
        index = stream_id >> 2
        if self._is_ours(stream_id):
            # = 5.3: or that this endpoint should have opened and has not.
            if index >= self.opened_by_us[kind]:
                raise ViolationError(Code.STREAM_STATE, "a frame for a stream that is not open")
            return
        # = 5.3: An endpoint MUST close with STREAM_LIMIT when the peer opens a stream beyond
        if index >= self.peer_may_open[kind]:
            raise ViolationError(Code.STREAM_LIMIT, "more streams than were allowed")
        # = 5.3: A frame that refers to an id opens that stream
        while self.opened_by_peer[kind] <= index:
            new = self.opened_by_peer[kind] << 2 | stream_id & 3
            self.opened_by_peer[kind] += 1
            self._create(new)

    def _receive_half(self, stream_id: int) -> ReceiveHalf | None:
        # = 5.3: STREAM data or RESET_STREAM on a unidirectional stream of the receiver's own,
        if self._is_ours(stream_id) and is_unidirectional(stream_id):
            raise ViolationError(Code.STREAM_STATE, "the peer may not send on this stream")
        self._meet(stream_id)
        # = 5.3: Frames for streams that ended are ignored.
        return self.receive.get(stream_id)

    def _send_half(self, stream_id: int) -> SendHalf | None:
        if not self._is_ours(stream_id) and is_unidirectional(stream_id):
            raise ViolationError(Code.STREAM_STATE, "this endpoint does not send on this stream")
        self._meet(stream_id)
        return self.send.get(stream_id)

    def _count_received(self, half: ReceiveHalf, end: int) -> None:
        new = max(end - half.highest, 0)
        if self.data_received + new > self.max_data:
            raise ViolationError(Code.FLOW_CONTROL, "more stream data than max_data")
        self.data_received += new
        half.highest = max(half.highest, end)

    def _consume(self, half: ReceiveHalf, count: int) -> None:
        self.data_consumed += count
        if self.max_data - self.data_consumed < self.local.max_data // 2:
            self.max_data = min(self.data_consumed + self.local.max_data, VARINT_MAX)
            self.max_data_unsent = True
        if half.final_size is None and half.announced - half.delivered < half.window // 2:
            half.announced = min(half.delivered + half.window, VARINT_MAX)
            half.credit_unsent = True

    def _forget_if_over(self, stream_id: int) -> None:
        sending, receiving = self.send.get(stream_id), self.receive.get(stream_id)
        if (sending and not sending.is_over) or (receiving and not receiving.is_over):
            return
        self.send.pop(stream_id, None)
        self.receive.pop(stream_id, None)
        if not self._is_ours(stream_id):
            kind = is_unidirectional(stream_id)
            self.ended_by_peer[kind] += 1
            initial = self.local.max_streams_uni if kind else self.local.max_streams_bidi
            self.peer_may_open[kind] = initial + self.ended_by_peer[kind]
            self.streams_unsent[kind] = True
