"""The fixed 32-byte header (docs/protocol.md section 2) and why a datagram was dropped."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    HEADER_BYTES = 32
    TAG_BYTES = 16
    HELLO_DATAGRAM_BYTES = 1200
    MIN_DATAGRAM_BYTES = 1200

cdef enum:
    FLAG_SYN = 0x01
    FLAG_ACK = 0x02
    FLAG_FIN = 0x04
    FLAG_RST = 0x08
    FLAG_FEC = 0x10
    FLAG_PSH = 0x20
    FLAG_URG = 0x40
    FLAG_ECE = 0x80
    # What a protected packet may carry.
    FLAGS_PROTECTED = 0x02 | 0x04 | 0x10 | 0x40

cpdef enum Verdict:
    """What became of a datagram; each value but the first is a reason to drop it, and a counter."""
    ACCEPTED = 0
    TOO_SHORT
    BAD_MAGIC
    BAD_LENGTH
    BAD_VERSION
    BAD_FLAGS
    ZERO_ID
    UNKNOWN_ID
    NOT_ACCEPTING
    VERSION_ONE
    HELLO_SIZE
    HELLO_MAC
    HELLO_MALFORMED
    HELLO_UNACCEPTABLE
    HELLO_DUPLICATE
    HELLO_CONFLICT
    HALF_OPEN_LIMIT
    CONNECTION_LIMIT
    WRONG_STATE
    DOES_NOT_OPEN
    BAD_IDENTITY
    BAD_SIGNATURE
    BAD_FINISHED
    REPLAYED
    OUT_OF_WINDOW
    EARLY_LIMIT
    BACKLOG_LIMIT
    BAD_RESET
    RETRY_IGNORED
    VERSION_NEGOTIATION
    CLOSED_CONNECTION
    FRAME_REFUSED
    WRONG_ADDRESS
    VERDICTS            # how many there are; not a verdict


cdef struct Header:
    uint8_t version
    uint8_t flags
    const uint8_t* id       # borrowed: 16 bytes inside the datagram
    uint32_t sequence       # low 32 bits of the packet number
    uint32_t ack            # low 32 bits of an acknowledged number + 1, with FLAG_ACK
    uint16_t length         # bytes after the header

cdef Verdict parse_header(const uint8_t* data, size_t length, Header* header) noexcept nogil
cdef void write_header(uint8_t* out, uint8_t version, uint8_t flags, const uint8_t* id, uint32_t sequence,
                       uint32_t ack, uint16_t length) noexcept nogil
cdef uint64_t expand_packet_number(uint32_t truncated, uint64_t expected) noexcept nogil
