"""Frames (docs/protocol.md section 5): one flat struct, one parser.

A parsed Frame borrows from the packet's buffer; `data` is valid until that buffer is reused.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.wire.cursor cimport Reader

cdef enum:
    FRAME_PADDING = 0x00
    FRAME_PING = 0x01
    FRAME_ACK = 0x02
    FRAME_ACK_ECN = 0x03            # ECN counts at its end
    FRAME_ACK_RECOVERED = 0x04      # with recovered ranges
    FRAME_ACK_RECOVERED_ECN = 0x05
    FRAME_RESET_STREAM = 0x06
    FRAME_STOP_SENDING = 0x07
    FRAME_STREAM = 0x08             # to 0x0f
    STREAM_FIN = 0x01
    STREAM_LEN = 0x02
    STREAM_OFF = 0x04
    FRAME_MAX_DATA = 0x10
    FRAME_MAX_STREAM_DATA = 0x11
    FRAME_MAX_STREAMS_BIDI = 0x12
    FRAME_MAX_STREAMS_UNI = 0x13
    FRAME_MESSAGE = 0x18
    FRAME_MESSAGE_PART = 0x19
    FRAME_MAX_MESSAGE_DATA = 0x1a
    FRAME_MESSAGE_EXPIRED = 0x1b
    FRAME_DATAGRAM = 0x1c
    FRAME_REPAIR = 0x20
    FRAME_DONE = 0x30
    FRAME_CLOSE = 0x31
    FRAME_CLOSE_APP = 0x32

cdef enum:
    MAX_REASON_BYTES = 256
    MAX_ACK_RANGES = 64
    MAX_RECOVERED_RANGES = 64
    MAX_REPAIR_SHARDS = 256         # sources and parities of a block together
    RESET_TOKEN_BYTES = 16


cdef struct Frame:
    uint8_t type
    uint64_t id             # stream or message id; largest of ACK; code of CLOSE; limit of MAX_*; first source of REPAIR
    uint64_t offset         # STREAM, MESSAGE_PART; limit of MAX_STREAM_DATA; delay of ACK in us; code of RESET and STOP
    uint64_t length         # of `data`; final size of RESET_STREAM
    uint64_t total          # size of the message of MESSAGE_PART and MESSAGE_EXPIRED
    uint64_t range_count    # ACK: ranges after the first
    uint64_t first_range    # ACK
    uint64_t recovered_count    # ACK: recovered ranges
    uint64_t[3] ecn         # ACK_ECN: ECT0, ECT1, CE
    uint32_t sources        # REPAIR: k
    uint32_t parities       # REPAIR: m
    uint32_t index          # REPAIR: which parity
    const uint8_t* data     # STREAM, MESSAGE*, DATAGRAM, REPAIR, DONE, CLOSE
    Reader ranges           # ACK: the (gap, length) pairs; REPAIR: the gaps; already known to parse
    Reader recovered        # ACK: the (gap, length) pairs of the recovered ranges, the same

cdef bint parse_frame(Reader* r, Frame* frame) noexcept nogil
cdef bint is_ack_eliciting(uint8_t type) noexcept nogil
# Whether a packet with the flag FEC may have it (docs/protocol.md section 5.7).
cdef bint is_repairable(uint8_t type) noexcept nogil
