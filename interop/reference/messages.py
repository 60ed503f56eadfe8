"""Messages (section 5.5): whole, once, unordered. Knows no packet and no time."""

from collections.abc import Callable

from interop.reference.codec import VARINT_MAX, encode_varint
from interop.reference.errors import Code, ViolationError
from interop.reference.events import Event, MessageReceived
from interop.reference.frames import (
    Frame,
    MaxMessageData,
    Message,
    MessageExpired,
    MessagePart,
)
from interop.reference.hello import Parameters
from interop.reference.ranges import Ranges

DISTANCE_END = 65536


class Outgoing:
    """A message on its way: which of its bytes still have to go, and which arrived."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.unsent = Ranges()
        self.unsent.add(0, len(data) - 1)
        self.acked = Ranges()
        self.in_parts = False
        self.whole_unsent = True
        self.is_counted = False
        self.expired = False
        self.expired_unsent = False


class Incoming:
    """A message of which some bytes arrived."""

    def __init__(self, total: int) -> None:
        self.buffer = bytearray(total)
        self.filled = Ranges()


class Messages:
    """All messages of one connection, both ways."""

    def __init__(self, local: Parameters, emit: Callable[[Event], None]) -> None:
        self.local = local
        self.peer = Parameters()
        self._emit = emit
        self.next_id = 0
        self.outgoing: dict[int, Outgoing] = {}
        self.peer_limit = 0
        self.credit_used = 0
        self.incoming: dict[int, Incoming] = {}
        self.delivered: set[int] = set()
        self.lowest_missing = 0
        self.limit = local.max_message_data
        self.credit_counted = 0
        self.credit_consumed = 0
        self.limit_unsent = False

    def handle_parameters(self, peer: Parameters) -> None:
        """Take the peer's limits."""
        self.peer = peer
        self.peer_limit = peer.max_message_data

    def send(self, data: bytes) -> int:
        """Queue a message and return its id."""
        if len(data) > self.peer.max_message_bytes:
            raise ValueError(
                f"the peer accepts messages of at most {self.peer.max_message_bytes} bytes; "
                "send less, or use a stream"
            )
        message_id = self.next_id
        self.next_id += 1
        self.outgoing[message_id] = Outgoing(data)
        return message_id

    def expire(self, message_id: int) -> None:
        """Give up a message; nothing when it was acknowledged or given up before."""
        out = self.outgoing.get(message_id)
        if out is not None and not out.expired:
            # = 5.5: MESSAGE_EXPIRED says that the sender gave a message up, of which it may have
            # = sent something;
            out.expired = out.expired_unsent = True

    # --- what the peer did

    def handle_message(self, frame: Message) -> None:
        """Take a MESSAGE frame."""
        self._handle(frame.message_id, len(frame.data), 0, frame.data)

    def handle_part(self, frame: MessagePart) -> None:
        """Take a MESSAGE_PART frame."""
        self._handle(frame.message_id, frame.total, frame.offset, frame.data)

    def handle_expired(self, frame: MessageExpired) -> None:
        """Take a MESSAGE_EXPIRED frame."""
        # = 5.5: The size is the message's: the same rules hold for it as for the total of a part.
        message = self._incoming_message(frame.message_id, frame.size)
        if message is not None:
            # = 5.5: drops the parts it holds, and does not deliver it.
            self._finish(frame.message_id, frame.size)

    def handle_limit(self, frame: MaxMessageData) -> None:
        """Take a MAX_MESSAGE_DATA frame; smaller values are ignored."""
        self.peer_limit = max(self.peer_limit, frame.limit)

    # --- what there is to send

    def take_control(self) -> list[Frame]:
        """Return every control frame that is due and mark it as sent."""
        if not self.limit_unsent:
            return []
        self.limit_unsent = False
        # Not before: the peer is held to what it was given.
        self.limit = min(self.credit_consumed + self.local.max_message_data, VARINT_MAX)
        return [MaxMessageData(self.limit)]

    def take_data(
        self, room: int, whole_room: int
    ) -> Message | MessagePart | MessageExpired | None:
        """Return the next frame of at most *room* bytes, or None.

        *whole_room* is what an empty packet offers: it decides between MESSAGE and MESSAGE_PART.
        """
        lowest = min(self.outgoing, default=0)
        for message_id, out in sorted(self.outgoing.items()):
            # = 5.5: A sender keeps below that distance from its lowest unacknowledged message.
            if message_id - lowest >= DISTANCE_END:
                return None
            # = 5.5: the sum of (size + 1) over all messages of which anything was sent
            cost = 0 if out.is_counted else len(out.data) + 1
            # = 5.5: in the order in which it first sends something of them.
            is_blocked = self.credit_used + cost > self.peer_limit
            if is_blocked:
                return None
            if out.expired:
                expired = MessageExpired(message_id, len(out.data))
                if out.expired_unsent and len(expired.encode()) <= room:
                    out.expired_unsent = False
                    self._count(out, cost)
                    return expired
                if not out.is_counted:
                    return None
                continue
            whole = Message(message_id, out.data)
            if not out.in_parts and len(whole.encode()) <= whole_room:
                if not out.whole_unsent:
                    continue
                if len(whole.encode()) > room:
                    if not out.is_counted:
                        return None
                    continue
                out.whole_unsent = False
                self._count(out, cost)
                return whole
            out.in_parts = True
            part = self._take_part(message_id, out, room)
            if part is not None:
                self._count(out, cost)
                return part
            if not out.is_counted:
                return None
        return None

    def handle_acked(self, frame: Frame) -> None:
        """Record that a frame of this section arrived."""
        if isinstance(frame, MessageExpired):
            self.outgoing.pop(frame.message_id, None)
            return
        if not isinstance(frame, Message | MessagePart) or frame.message_id not in self.outgoing:
            return
        out = self.outgoing[frame.message_id]
        offset = frame.offset if isinstance(frame, MessagePart) else 0
        out.acked.add(offset, offset + len(frame.data) - 1)
        out.unsent.remove(offset, offset + len(frame.data) - 1)
        if out.acked.total == len(out.data):
            del self.outgoing[frame.message_id]

    def handle_lost(self, frame: Frame) -> None:
        """Queue again what a lost frame of this section said."""
        if isinstance(frame, MaxMessageData):
            self.limit_unsent = True
        elif isinstance(frame, MessageExpired) and frame.message_id in self.outgoing:
            # = 5.5: it is retransmitted like any other frame.
            self.outgoing[frame.message_id].expired_unsent = True
        elif isinstance(frame, Message) and frame.message_id in self.outgoing:
            self.outgoing[frame.message_id].whole_unsent = True
        elif isinstance(frame, MessagePart) and frame.message_id in self.outgoing:
            out = self.outgoing[frame.message_id]
            for low, high in out.acked.missing(frame.offset, frame.offset + len(frame.data) - 1):
                out.unsent.add(low, high)

    # --- inside

    def _count(self, out: Outgoing, cost: int) -> None:
        self.credit_used += cost
        out.is_counted = True

    def _take_part(self, message_id: int, out: Outgoing, room: int) -> MessagePart | None:
        if not out.unsent.pairs:
            return None
        low, high = out.unsent.pairs[0]
        header = 1 + len(encode_varint(message_id)) + 2 * len(encode_varint(len(out.data))) + 4
        count = min(high + 1, low + room - header) - low
        if count <= 0:
            return None
        out.unsent.remove(low, low + count - 1)
        return MessagePart(message_id, len(out.data), low, out.data[low : low + count])

    def _handle(self, message_id: int, total: int, offset: int, data: bytes) -> None:
        message = self._incoming_message(message_id, total, offset + len(data))
        if message is None:
            return
        message.filled.add(offset, offset + len(data) - 1)
        message.buffer[offset : offset + len(data)] = data
        if message.filled.total == total:
            self._emit(MessageReceived(message_id, bytes(message.buffer)))
            self._finish(message_id, total)

    def _incoming_message(self, message_id: int, total: int, end: int = 0) -> Incoming | None:
        """Return the message a frame speaks of, None when it was delivered or given up before.

        *end* is where the frame's bytes end. A message that is new is counted.
        """
        # = 5.5: for an id that is 65,536 or more above the lowest one it misses.
        if message_id - self.lowest_missing >= DISTANCE_END:
            raise ViolationError(Code.MESSAGE_LIMIT, "message ids run too far ahead")
        # = 5.5: A receiver MUST deliver each message at most once.
        # = 5.5: A message that was delivered before stays delivered.
        if message_id < self.lowest_missing or message_id in self.delivered:
            return None
        if total > self.local.max_message_bytes:
            raise ViolationError(Code.MESSAGE_LIMIT, "a message is larger than max_message_bytes")
        if end > total:
            raise ViolationError(Code.MESSAGE_LIMIT, "a part lies beyond its message")
        message = self.incoming.get(message_id)
        if message is None:
            # = 5.5: a receiver counts a message when its first frame arrives,
            self.credit_counted += total + 1
            if self.credit_counted > self.limit:
                raise ViolationError(Code.MESSAGE_LIMIT, "more messages than max_message_data")
            message = self.incoming[message_id] = Incoming(total)
        if len(message.buffer) != total:
            raise ViolationError(Code.MESSAGE_LIMIT, "the size of a message changed")
        return message

    def _finish(self, message_id: int, total: int) -> None:
        """Forget a message that was delivered, or is not going to be."""
        del self.incoming[message_id]
        self.delivered.add(message_id)
        while self.lowest_missing in self.delivered:
            self.delivered.remove(self.lowest_missing)
            self.lowest_missing += 1
        self._raise_limit(total + 1)

    def _raise_limit(self, consumed: int) -> None:
        self.credit_consumed += consumed
        window = self.local.max_message_data
        # = 5.5: hence never offers less than max_message_bytes + 1.
        least = max(window // 2, self.local.max_message_bytes + 1)
        if self.limit - self.credit_consumed < least:
            self.limit_unsent = True
