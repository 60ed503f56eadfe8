"""UUIDv7 (RFC 9562, section 5.7): sixteen bytes that sort by time of birth.

| bits | field |
|---|---|
| 48 | Unix time in ms, big-endian |
| 4  | version, 7 |
| 12 | upper bits of a counter of 74 |
| 2  | variant, binary 10 |
| 62 | lower bits of it |

The counter starts at random in every new millisecond, its top bit clear, and grows by a random step
within one (RFC 9562, section 6.2, method 2): ids of one generator strictly grow, also when the
clock stands or steps back, and the next one cannot be guessed from the last. Time and randomness
are handed in; nothing here reads a clock.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef struct Sequence:
    uint64_t unix_ms    # of the last id; never falls
    uint64_t high       # upper 12 bits of the counter
    uint64_t low        # lower 62 bits


cdef enum:
    FRESH_BYTES = 10    # randomness that one id may need
    STEP_BYTES = 4      # what most of them do


cdef inline int sequence_next(
    Sequence* sequence, uint64_t now_ms, const uint8_t* fresh, uint8_t* out
) noexcept nogil:
    """Write the next id to *out*; return how many of the FRESH_BYTES random bytes it took."""
    cdef uint64_t step
    cdef int used = STEP_BYTES
    if now_ms > sequence.unix_ms:
        sequence.unix_ms = now_ms
        _restart(sequence, fresh)
        used = FRESH_BYTES
    else:
        step = 1 + (
            <uint64_t> fresh[0] << 24 | <uint64_t> fresh[1] << 16
            | <uint64_t> fresh[2] << 8 | fresh[3]
        )
        sequence.low += step
        if sequence.low >> 62:
            sequence.low &= (<uint64_t> 1 << 62) - 1
            sequence.high += 1
            if sequence.high >> 12:
                # 2^40 ids under one clock reading: borrow the next millisecond.
                sequence.unix_ms += 1
                _restart(sequence, fresh)
                used = FRESH_BYTES
    _store(sequence.unix_ms << 16 | 0x7000 | sequence.high, out)
    _store(<uint64_t> 2 << 62 | sequence.low, out + 8)
    return used


cdef inline bint is_version_7(const uint8_t* id) noexcept nogil:
    """Tell whether version and variant are those of UUIDv7."""
    return id[6] >> 4 == 7 and id[8] >> 6 == 2


cdef inline uint64_t unix_ms_of(const uint8_t* id) noexcept nogil:
    """Return the millisecond in which *id* was born."""
    cdef uint64_t value = 0
    cdef int i
    for i in range(6):
        value = value << 8 | id[i]
    return value


cdef inline void _restart(Sequence* sequence, const uint8_t* fresh) noexcept nogil:
    cdef int i
    sequence.high = (<uint64_t> fresh[0] << 8 | fresh[1]) & 0x7FF
    sequence.low = 0
    for i in range(2, 10):
        sequence.low = sequence.low << 8 | fresh[i]
    sequence.low &= (<uint64_t> 1 << 62) - 1


cdef inline void _store(uint64_t value, uint8_t* out) noexcept nogil:
    cdef int i
    for i in range(8):
        out[i] = <uint8_t> (value >> (56 - 8 * i))
