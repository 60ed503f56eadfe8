"""A window for tests onto what has no Python face: inline structs and helpers of the core.

Thin by rule: each class holds one struct and passes calls through. Nothing of the product imports it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from cython_ext.core.byte_ring cimport ring_read
from cython_ext.core.delivery cimport (
    Delivery, RateSample, Snapshot, delivery_finish, delivery_on_acked, delivery_on_sent,
)
from cython_ext.core.loss_meter cimport (
    LossMeter, meter_burst, meter_init, meter_on_acked, meter_on_lost, meter_on_spurious, meter_share,
)
from cython_ext.core.inbox cimport Inbox, inbox_clear, inbox_first_length, inbox_pop, inbox_push
from cython_ext.core.messages cimport (
    Incoming, incoming_clear, incoming_expired, incoming_part, incoming_whole,
)
from cython_ext.core.pacer cimport (
    Pacer, pacer_allows, pacer_init, pacer_next_ns, pacer_set_rate, pacer_spend,
)
from cython_ext.core.protection cimport parities_for
from cython_ext.core.rtt cimport Rtt, rtt_init, rtt_probe_timeout_ns, rtt_update
from cython_ext.core.send_buffer cimport (
    SendBuffer, buffer_append, buffer_clear, buffer_next, buffer_on_acked, buffer_on_lost,
    buffer_on_sent,
)
from cython_ext.core.state cimport (
    ConnectionTrigger, ReceiveTrigger, SendTrigger, advance_connection, advance_receive, advance_send,
)
from cython_ext.wire.cursor cimport (
    Reader, Writer, read_bytes, read_u8, read_u16, read_varint, reader_init, reader_left,
    varint_size, write_bytes, write_u8, write_varint, writer_init, writer_left,
)


cdef class ReaderProbe:
    """A `Reader` over bytes."""

    cdef Reader reader
    cdef bytes data

    def __init__(self, data: bytes) -> None:
        self.data = data
        reader_init(&self.reader, <const uint8_t*> PyBytes_AS_STRING(data), len(data))

    def u8(self) -> int:
        """Read one byte."""
        return read_u8(&self.reader)

    def u16(self) -> int:
        """Read two bytes."""
        return read_u16(&self.reader)

    def varint(self) -> int:
        """Read a varint."""
        return read_varint(&self.reader)

    def take(self, length: int) -> bytes | None:
        """Read *length* bytes; None when there are fewer."""
        cdef const uint8_t* start = read_bytes(&self.reader, length)
        return None if start == NULL else start[:length]

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return reader_left(&self.reader)

    @property
    def failed(self) -> bool:
        """Whether anything was read past the end."""
        return self.reader.failed


cdef class WriterProbe:
    """A `Writer` into a buffer of *capacity* bytes with a guard byte behind it."""

    cdef Writer writer
    cdef bytearray room
    cdef Py_ssize_t capacity

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.room = bytearray(capacity) + b"\xa5"
        writer_init(&self.writer, self.room, capacity)

    def u8(self, value: int) -> None:
        """Write one byte."""
        write_u8(&self.writer, value)

    def varint(self, value: int) -> None:
        """Write a varint of the shortest form."""
        write_varint(&self.writer, value)

    def put(self, data: bytes) -> None:
        """Write bytes."""
        write_bytes(&self.writer, PyBytes_AS_STRING(data), len(data))

    def written(self) -> bytes:
        """Return what was written."""
        return bytes(self.room[:self.capacity - writer_left(&self.writer)])

    @property
    def failed(self) -> bool:
        """Whether anything did not fit."""
        return self.writer.failed

    @property
    def is_intact(self) -> bool:
        """Whether the byte behind the buffer is untouched."""
        return self.room[self.capacity] == 0xA5


def size_of_varint(value: int) -> int:
    """Return the bytes of the shortest encoding."""
    return varint_size(value)


def repair_parities(share: float, burst: float, round_trip_ns: int, sources: int) -> int:
    """Return how many parities a block of 1 to 20 *sources* gets."""
    return parities_for(share, burst, round_trip_ns, sources)


cdef class LossMeterProbe:
    """The loss meter, assuming a share of losses and a run length at first."""

    cdef LossMeter meter

    def __init__(self, share: float = 0, burst: float = 1) -> None:
        meter_init(&self.meter, share, burst)

    def acked(self, packets: int) -> None:
        """Note arrivals."""
        meter_on_acked(&self.meter, packets)

    def lost(self, packets: int, runs: int) -> None:
        """Note losses, and the runs that began with them."""
        meter_on_lost(&self.meter, packets, runs)

    def spurious(self) -> None:
        """Take one loss back."""
        meter_on_spurious(&self.meter)

    @property
    def share(self) -> float:
        """The smoothed share of packets lost."""
        return meter_share(&self.meter)

    @property
    def burst(self) -> float:
        """The mean run of losses."""
        return meter_burst(&self.meter)

    @property
    def since_loss(self) -> int:
        """Packets that arrived since the last loss."""
        return self.meter.since_loss

    @property
    def assumed(self) -> bool:
        """Whether the share is still an assumption."""
        return self.meter.assumed


cdef class RttProbe:
    """The round-trip estimator."""

    cdef Rtt rtt

    def __init__(self, initial_ns: int) -> None:
        rtt_init(&self.rtt, initial_ns)

    def update(self, sample_ns: int, ack_delay_ns: int) -> None:
        """Take in a sample."""
        rtt_update(&self.rtt, sample_ns, ack_delay_ns)

    def probe_timeout_ns(self, max_ack_delay_ns: int) -> int:
        """Return the probe timeout without back-off."""
        return rtt_probe_timeout_ns(&self.rtt, max_ack_delay_ns)

    def state(self) -> tuple[int, int, int, int]:
        """Return (latest, smoothed, variation, minimum) in ns."""
        return self.rtt.latest_ns, self.rtt.smoothed_ns, self.rtt.variation_ns, self.rtt.minimum_ns


cdef class PacerProbe:
    """The token bucket."""

    cdef Pacer pacer

    def __init__(self, burst_bytes: int, now_ns: int) -> None:
        pacer_init(&self.pacer, burst_bytes, now_ns)

    def set_rate(self, bytes_per_s: int, datagram_bytes: int, now_ns: int) -> None:
        """Change the rate."""
        pacer_set_rate(&self.pacer, bytes_per_s, datagram_bytes, now_ns)

    def allows(self, now_ns: int) -> bool:
        """Tell whether a packet may leave."""
        return pacer_allows(&self.pacer, now_ns)

    def spend(self, count: int) -> None:
        """Note that *count* bytes left."""
        pacer_spend(&self.pacer, count)

    def next_ns(self, datagram_bytes: int) -> int:
        """Return when to try again."""
        return pacer_next_ns(&self.pacer, datagram_bytes)

    @property
    def burst_bytes(self) -> float:
        """The most that may leave at once."""
        return self.pacer.burst_bytes


cdef class DeliveryProbe:
    """Delivery-rate sampling: packets are named by the numbers that `send` returns."""

    cdef Delivery delivery
    cdef RateSample sample
    cdef dict sent
    cdef readonly object in_flight

    def __init__(self) -> None:
        self.sent = {}
        self.in_flight = 0

    def send(self, now_ns: int, size: int) -> int:
        """Note that a packet left; return its number."""
        cdef Snapshot s
        delivery_on_sent(&self.delivery, &s, now_ns, self.in_flight, size)
        number = len(self.sent)
        self.sent[number] = (s, now_ns, size)
        self.in_flight += size
        return number

    def limit_to_application(self) -> None:
        """Note that the application had nothing more to send."""
        self.delivery.app_limited_until = self.delivery.delivered + self.in_flight or 1

    def acknowledge(self, numbers: list[int], now_ns: int, minimum_rtt_ns: int) -> tuple[int, int, bool]:
        """Acknowledge packets at once; return (rate in bytes/s, bytes of the sample, app-limited)."""
        cdef Snapshot s
        memset(&self.sample, 0, sizeof(RateSample))
        for number in numbers:
            s, sent_ns, size = self.sent[number]
            self.in_flight -= size
            delivery_on_acked(&self.delivery, &self.sample, &s, sent_ns, size, now_ns)
        delivery_finish(&self.delivery, &self.sample, minimum_rtt_ns)
        return self.sample.rate, self.sample.delivered, bool(self.sample.app_limited)


cdef class SendBufferProbe:
    """A send buffer."""

    cdef SendBuffer buffer

    def __dealloc__(self):
        buffer_clear(&self.buffer)

    def append(self, data: bytes) -> None:
        """Write bytes."""
        if not buffer_append(&self.buffer, <const uint8_t*> PyBytes_AS_STRING(data), len(data)):
            raise MemoryError

    def acked(self, low: int, high: int) -> bool:
        """Note that [low, high) arrived; tell whether room came free."""
        return buffer_on_acked(&self.buffer, low, high)

    def lost(self, low: int, high: int) -> bool:
        """Note that [low, high) is to be sent again; tell whether there is something to send."""
        return buffer_on_lost(&self.buffer, low, high)

    def next(self, limit: int) -> tuple[int, int] | None:
        """Return the next range to send."""
        cdef uint64_t low = 0, high = 0
        return (low, high) if buffer_next(&self.buffer, limit, &low, &high) else None

    def sent(self, low: int, high: int) -> None:
        """Note that [low, high) left."""
        buffer_on_sent(&self.buffer, low, high)

    def read(self, low: int, high: int) -> bytes:
        """Return the bytes of [low, high), which must be between base and end."""
        data = PyBytes_FromStringAndSize(NULL, high - low)
        ring_read(&self.buffer.ring, low, <uint8_t*> PyBytes_AS_STRING(data), high - low)
        return data

    def state(self) -> tuple[int, int, int]:
        """Return (base, sent, end)."""
        return self.buffer.base, self.buffer.sent, self.buffer.end


cdef class InboxProbe:
    """A queue of records."""

    cdef Inbox box

    def __dealloc__(self):
        inbox_clear(&self.box)

    def push(self, record: bytes) -> None:
        """Append a record."""
        if not inbox_push(&self.box, <const uint8_t*> PyBytes_AS_STRING(record), <uint32_t> len(record)):
            raise MemoryError

    def pop(self) -> bytes:
        """Remove the oldest record; there must be one."""
        record = PyBytes_FromStringAndSize(NULL, inbox_first_length(&self.box))
        inbox_pop(&self.box, <uint8_t*> PyBytes_AS_STRING(record))
        return record

    def state(self) -> tuple[int, int]:
        """Return (records, their bytes)."""
        return self.box.count, self.box.payload_bytes


cdef class IncomingProbe:
    """Messages as they arrive."""

    cdef Incoming incoming
    cdef uint64_t max_bytes

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.incoming.limit = limit
        self.max_bytes = max_bytes

    def __dealloc__(self):
        incoming_clear(&self.incoming)

    def whole(self, id: int, data: bytes) -> int:
        """Take in MESSAGE; return the transport error, 0 for none."""
        return <int> incoming_whole(&self.incoming, id, <const uint8_t*> PyBytes_AS_STRING(data), len(data), self.max_bytes)

    def part(self, id: int, total: int, offset: int, data: bytes) -> int:
        """Take in MESSAGE_PART; return the transport error, 0 for none."""
        return <int> incoming_part(&self.incoming, id, total, offset, <const uint8_t*> PyBytes_AS_STRING(data),
                                   len(data), self.max_bytes)

    def expired(self, id: int, size: int) -> int:
        """Take in MESSAGE_EXPIRED; return the transport error, 0 for none."""
        return <int> incoming_expired(&self.incoming, id, size, self.max_bytes)

    def take(self) -> bytes | None:
        """Return the oldest delivered message, None when there is none."""
        if self.incoming.inbox.count == 0:
            return None
        message = PyBytes_FromStringAndSize(NULL, inbox_first_length(&self.incoming.inbox))
        inbox_pop(&self.incoming.inbox, <uint8_t*> PyBytes_AS_STRING(message))
        self.incoming.consumed += len(message) + 1
        return message

    def offer(self, limit: int) -> None:
        """Raise the limit that the peer was told."""
        self.incoming.limit = limit

    def state(self) -> tuple[int, int, int]:
        """Return (lowest id missed, messages half there, credit used)."""
        return self.incoming.base, self.incoming.partial_count, self.incoming.received

    def consumed(self) -> int:
        """Return the credit that went back: of messages taken, and of those given up."""
        return self.incoming.consumed


def step_connection(state: int, trigger: int) -> int | None:
    """Return the connection's next state, None when the table refuses."""
    cdef uint8_t at = state
    return at if advance_connection(&at, <ConnectionTrigger> (<int> trigger)) else None


def step_send(state: int, trigger: int) -> int | None:
    """Return a sending half's next state, None when the table refuses."""
    cdef uint8_t at = state
    return at if advance_send(&at, <SendTrigger> (<int> trigger)) else None


def step_receive(state: int, trigger: int) -> int | None:
    """Return a receiving half's next state, None when the table refuses."""
    cdef uint8_t at = state
    return at if advance_receive(&at, <ReceiveTrigger> (<int> trigger)) else None
