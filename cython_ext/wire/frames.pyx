"""The frame parser.

One pass, no state, no allocation: what does not parse returns False and the caller closes. The writers
stand beside the code that decides what to send (core/packet_builder).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.wire.cursor cimport (
    Reader, Writer, read_bytes, read_u8, read_varint, reader_init, reader_left, write_u8,
    write_varint, writer_init,
)

cdef uint64_t VARINT_MAX = (<uint64_t> 1 << 62) - 1
cdef uint64_t STREAMS_MAX = <uint64_t> 1 << 60


cdef bint is_ack_eliciting(uint8_t type) noexcept nogil:
    return not (type == FRAME_PADDING or FRAME_ACK <= type <= FRAME_ACK_RECOVERED_ECN
                or type == FRAME_CLOSE or type == FRAME_CLOSE_APP)


cdef bint is_repairable(uint8_t type) noexcept nogil:
    if FRAME_STREAM <= type <= 0x0f:
        return type & STREAM_LEN
    return (type == FRAME_PADDING or type == FRAME_RESET_STREAM or FRAME_MAX_DATA <= type <= FRAME_MAX_STREAMS_UNI
            or FRAME_MESSAGE <= type <= FRAME_DATAGRAM)


cdef bint parse_ack(Reader* r, Frame* frame) noexcept nogil:
    cdef uint64_t _n, gap, length, lowest
    frame.recovered_count = 0
    frame.id = read_varint(r)
    frame.offset = read_varint(r)
    frame.range_count = read_varint(r)
    frame.first_range = read_varint(r)
    if r.failed or frame.first_range > frame.id or frame.range_count > reader_left(r):
        return False
    lowest = frame.id - frame.first_range
    frame.ranges = r[0]
    for _n in range(frame.range_count):
        gap = read_varint(r)
        length = read_varint(r)
        # Written as subtraction: the sums could pass 2^64.
        if r.failed or lowest < 2 or gap > lowest - 2 or length > lowest - 2 - gap:
            return False
        lowest = lowest - gap - 2 - length
    if frame.type >= FRAME_ACK_RECOVERED:
        frame.recovered_count = read_varint(r)
        if frame.recovered_count < 1 or frame.recovered_count > MAX_RECOVERED_RANGES:
            return False
        frame.recovered = r[0]
        # Beginning one higher makes the first gap count as the others do.
        lowest = frame.id + 1
        for _n in range(frame.recovered_count):
            gap = read_varint(r)
            length = read_varint(r)
            if r.failed or lowest < 2 or gap > lowest - 2 or length > lowest - 2 - gap:
                return False
            lowest = lowest - gap - 2 - length
    if frame.type & 1:
        frame.ecn[0] = read_varint(r)
        frame.ecn[1] = read_varint(r)
        frame.ecn[2] = read_varint(r)
    return not r.failed


cdef bint parse_repair(Reader* r, Frame* frame) noexcept nogil:
    cdef uint64_t k = read_varint(r), m = read_varint(r), index = read_varint(r), gap, number
    cdef uint32_t _n
    frame.id = number = read_varint(r)
    if r.failed or k < 1 or m < 1 or k > MAX_REPAIR_SHARDS or m > MAX_REPAIR_SHARDS - k or index >= m:
        return False
    frame.sources = <uint32_t> k
    frame.parities = <uint32_t> m
    frame.index = <uint32_t> index
    frame.ranges = r[0]
    for _n in range(1, frame.sources):
        gap = read_varint(r)
        # Numbers and gaps are below 2^62: the sum cannot wrap.
        number += gap + 1
        if r.failed or number > VARINT_MAX:
            return False
    frame.length = read_varint(r)
    if frame.length == 0:
        return False
    frame.data = read_bytes(r, frame.length)
    return not r.failed


cdef bint parse_frame(Reader* r, Frame* frame) noexcept nogil:
    """Read one frame at *r*; False when it is unknown or malformed."""
    cdef uint8_t type = read_u8(r)
    frame.type = type
    frame.data = NULL
    frame.length = 0
    frame.offset = 0
    if r.failed:
        return False
    if FRAME_STREAM <= type <= 0x0f:
        frame.id = read_varint(r)
        if type & STREAM_OFF:
            frame.offset = read_varint(r)
        frame.length = read_varint(r) if type & STREAM_LEN else reader_left(r)
        if r.failed or frame.length > VARINT_MAX - frame.offset:
            return False
        frame.data = read_bytes(r, frame.length)
    elif type == FRAME_MESSAGE:
        frame.id = read_varint(r)
        frame.length = read_varint(r)
        frame.data = read_bytes(r, frame.length)
    elif FRAME_ACK <= type <= FRAME_ACK_RECOVERED_ECN:
        return parse_ack(r, frame)
    elif type == FRAME_REPAIR:
        return parse_repair(r, frame)
    elif type == FRAME_PADDING or type == FRAME_PING:
        pass
    elif type == FRAME_DATAGRAM:
        frame.length = read_varint(r)
        frame.data = read_bytes(r, frame.length)
    elif type == FRAME_MESSAGE_PART:
        frame.id = read_varint(r)
        frame.total = read_varint(r)
        frame.offset = read_varint(r)
        frame.length = read_varint(r)
        frame.data = read_bytes(r, frame.length)
    elif type == FRAME_MESSAGE_EXPIRED:
        frame.id = read_varint(r)
        frame.total = read_varint(r)
    elif type == FRAME_MAX_STREAM_DATA or type == FRAME_STOP_SENDING:
        frame.id = read_varint(r)
        frame.offset = read_varint(r)
    elif type == FRAME_RESET_STREAM:
        frame.id = read_varint(r)
        frame.offset = read_varint(r)
        frame.length = read_varint(r)
    elif type == FRAME_MAX_DATA or type == FRAME_MAX_MESSAGE_DATA:
        frame.id = read_varint(r)
    elif type == FRAME_MAX_STREAMS_BIDI or type == FRAME_MAX_STREAMS_UNI:
        frame.id = read_varint(r)
        if frame.id > STREAMS_MAX:
            return False
    elif type == FRAME_DONE:
        frame.length = RESET_TOKEN_BYTES
        frame.data = read_bytes(r, RESET_TOKEN_BYTES)
    elif type == FRAME_CLOSE or type == FRAME_CLOSE_APP:
        frame.id = read_varint(r)
        frame.length = read_varint(r)
        if frame.length > MAX_REASON_BYTES:
            return False
        frame.data = read_bytes(r, frame.length)
    else:
        return False
    return not r.failed


def parse_frames(plaintext: bytes) -> list[tuple[int, ...]] | None:
    """Return the frames as tuples that start with the type, None when one does not parse.

    A window for tests and tools: (type, fields in the order of the specification, bytes last). STREAM is
    (type, id, offset, data), ACK (type, delay, [(lowest, highest), ...] newest first, ECN counts or None),
    with recovered ranges (..., ECN counts or None, [(lowest, highest), ...]), REPAIR (type, (source, ...), m, index,
    shard).
    """
    cdef Reader r
    cdef Frame frame
    cdef const uint8_t* data = plaintext
    cdef uint64_t high, low
    reader_init(&r, data, len(plaintext))
    frames = []
    while reader_left(&r):
        if not parse_frame(&r, &frame):
            return None
        kind = frame.type
        content = frame.data[:frame.length] if frame.data != NULL else b""
        if FRAME_ACK <= kind <= FRAME_ACK_RECOVERED_ECN:
            high, low = frame.id, frame.id - frame.first_range
            ranges = [(low, high)]
            for _ in range(frame.range_count):
                high = low - read_varint(&frame.ranges) - 2
                low = high - read_varint(&frame.ranges)
                ranges.append((low, high))
            item = (kind, frame.offset, ranges, tuple(frame.ecn) if kind & 1 else None)
            if frame.recovered_count:
                recovered = []
                low = frame.id + 1
                for _ in range(frame.recovered_count):
                    high = low - read_varint(&frame.recovered) - 2
                    low = high - read_varint(&frame.recovered)
                    recovered.append((low, high))
                item += (recovered,)
            frames.append(item)
        elif kind == FRAME_REPAIR:
            high = frame.id
            numbers = [high]
            for _ in range(1, frame.sources):
                high += read_varint(&frame.ranges) + 1
                numbers.append(high)
            frames.append((kind, tuple(numbers), frame.parities, frame.index, content))
        elif FRAME_STREAM <= kind <= 0x0f:
            frames.append((kind, frame.id, frame.offset, content))
        elif kind == FRAME_MESSAGE:
            frames.append((kind, frame.id, content))
        elif kind == FRAME_MESSAGE_PART:
            frames.append((kind, frame.id, frame.total, frame.offset, content))
        elif kind == FRAME_MESSAGE_EXPIRED:
            frames.append((kind, frame.id, frame.total))
        elif kind == FRAME_DATAGRAM or kind == FRAME_DONE:
            frames.append((kind, content))
        elif kind == FRAME_RESET_STREAM:
            frames.append((kind, frame.id, frame.offset, frame.length))
        elif kind == FRAME_STOP_SENDING or kind == FRAME_MAX_STREAM_DATA:
            frames.append((kind, frame.id, frame.offset))
        elif kind == FRAME_CLOSE or kind == FRAME_CLOSE_APP:
            frames.append((kind, frame.id, content))
        elif kind == FRAME_PADDING or kind == FRAME_PING:
            frames.append((kind,))
        else:
            frames.append((kind, frame.id))
    return frames


cdef void write_ack_ranges(Writer* w, list ranges):
    lowest = 0
    for n, (low, high) in enumerate(ranges):
        if n:
            write_varint(w, lowest - high - 2)
        write_varint(w, high - low)
        lowest = low


def encode_ack(ranges: list[tuple[int, int]], delay_us: int) -> bytes:
    """Return an ACK frame for *ranges*, (lowest, highest) pairs with the newest first.

    Raises ValueError when there is none or they do not fit into 2,048 bytes.
    """
    cdef uint8_t[2048] out
    cdef Writer w
    if not ranges:
        raise ValueError("an ACK frame needs at least one range")
    writer_init(&w, out, sizeof(out))
    write_u8(&w, FRAME_ACK)
    write_varint(&w, ranges[0][1])
    write_varint(&w, delay_us)
    write_varint(&w, len(ranges) - 1)
    write_ack_ranges(&w, ranges)
    if w.failed:
        raise ValueError(f"{len(ranges)} ranges do not fit into one frame")
    return out[:w.at - out]
