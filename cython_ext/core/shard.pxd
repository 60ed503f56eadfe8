"""A buffer that is kept and filled again: the plaintext of a source, or a parity."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef struct Shard:
    uint8_t* data           # owned; NULL while capacity is 0
    uint32_t bytes          # filled
    uint32_t capacity


cdef inline bint shard_reserve(Shard* shard, uint32_t capacity) noexcept nogil:
    """Make room for *capacity* bytes, losing what is in it; False when memory ran out."""
    cdef uint8_t* data
    if capacity <= shard.capacity:
        return True
    # Packets of a connection have one size or less: the first full one sets it.
    capacity = (capacity + 127) // 128 * 128
    data = <uint8_t*> malloc(capacity)
    if data == NULL:
        return False
    free(shard.data)
    shard.data = data
    shard.capacity = capacity
    return True


cdef inline bint shard_store(Shard* shard, const uint8_t* data, uint32_t bytes) noexcept nogil:
    """Copy *bytes* bytes in; False, and nothing changed, when memory ran out. Even an empty one has an address."""
    if not shard_reserve(shard, bytes if bytes else 1):
        return False
    if bytes:
        memcpy(shard.data, data, bytes)
    shard.bytes = bytes
    return True


cdef inline void shard_clear(Shard* shard) noexcept nogil:
    free(shard.data)
    shard.data = NULL
    shard.bytes = shard.capacity = 0
