"""Bounds-checked reading and writing; a failed access sets a flag and yields zero.

Callers read a whole frame and look at the flag once: the checks stay, the branches of the caller go.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from cython_ext.abi.endian cimport load16, load32, load64, store16, store32, store64


cdef struct Reader:
    const uint8_t* at       # next byte to read; at <= end
    const uint8_t* end
    bint failed             # sticky: something was read past the end or was malformed


cdef struct Writer:
    uint8_t* at             # next byte to write; at <= end
    uint8_t* end
    bint failed             # sticky: something did not fit; what was written until then stays


cdef inline void reader_init(Reader* r, const uint8_t* data, size_t length) noexcept nogil:
    r.at = data
    r.end = data + length
    r.failed = False


cdef inline size_t reader_left(const Reader* r) noexcept nogil:
    return <size_t> (r.end - r.at)


cdef inline uint8_t read_u8(Reader* r) noexcept nogil:
    if r.at >= r.end:
        r.failed = True
        return 0
    r.at += 1
    return (r.at - 1)[0]


cdef inline uint16_t read_u16(Reader* r) noexcept nogil:
    if reader_left(r) < 2:
        r.failed = True
        return 0
    r.at += 2
    return load16(r.at - 2)


cdef inline const uint8_t* read_bytes(Reader* r, uint64_t length) noexcept nogil:
    """Return a borrowed pointer to *length* bytes of the input and step over them, NULL when short."""
    cdef const uint8_t* start = r.at
    if length > reader_left(r):
        r.failed = True
        return NULL
    r.at += length
    return start


cdef inline uint64_t read_varint(Reader* r) noexcept nogil:
    """Read a variable-length integer (RFC 9000 section 16)."""
    cdef uint8_t first
    cdef size_t size
    if r.at >= r.end:
        r.failed = True
        return 0
    first = r.at[0]
    size = <size_t> 1 << (first >> 6)
    if reader_left(r) < size:
        r.failed = True
        return 0
    r.at += size
    if size == 1:
        return first
    if size == 2:
        return load16(r.at - 2) & 0x3FFF
    if size == 4:
        return load32(r.at - 4) & 0x3FFFFFFF
    return load64(r.at - 8) & <uint64_t> 0x3FFFFFFFFFFFFFFF


cdef inline void writer_init(Writer* w, uint8_t* data, size_t capacity) noexcept nogil:
    w.at = data
    w.end = data + capacity
    w.failed = False


cdef inline size_t writer_left(const Writer* w) noexcept nogil:
    return <size_t> (w.end - w.at)


cdef inline void write_u8(Writer* w, uint8_t v) noexcept nogil:
    if w.at >= w.end:
        w.failed = True
        return
    w.at[0] = v
    w.at += 1


cdef inline void write_bytes(Writer* w, const void* data, size_t length) noexcept nogil:
    if writer_left(w) < length:
        w.failed = True
        return
    memcpy(w.at, data, length)
    w.at += length


cdef inline size_t varint_size(uint64_t v) noexcept nogil:
    """Return the bytes of the shortest encoding: 1, 2, 4 or 8."""
    if v < 0x40:
        return 1
    if v < 0x4000:
        return 2
    return 4 if v < 0x40000000 else 8


cdef inline void write_varint(Writer* w, uint64_t v) noexcept nogil:
    """Write the shortest encoding; values of 2^62 and above fail."""
    cdef size_t size = varint_size(v)
    if writer_left(w) < size or v >> 62:
        w.failed = True
        return
    if size == 1:
        w.at[0] = <uint8_t> v
    elif size == 2:
        store16(w.at, <uint16_t> (v | 0x4000))
    elif size == 4:
        store32(w.at, <unsigned int> (v | <uint64_t> 0x80000000))
    else:
        store64(w.at, v | <uint64_t> 0xC000000000000000)
    w.at += size
