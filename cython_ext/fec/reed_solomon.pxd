"""A systematic Reed-Solomon code over GF(2^8): k data shards, m parity shards, any k of them give all.

Knows nothing of packets, time or policy. The parity bytes are those of klauspost/reedsolomon's default matrix:
row r of a Vandermonde matrix holds the powers r^0 .. r^(k-1), and the whole is multiplied by the inverse of
its upper square. Such a product evaluates, at r, the polynomial of degree below k that takes the data as
its values at 0 .. k-1. So every coefficient, of parities and of rebuilding alike, is one of Lagrange's, known in
closed form from products of differences: nothing is ever inverted by elimination (docs/adr/0010).

Two things follow that its users rely on. A parity row depends on k and its index alone, so that the parities of
(k, m) begin those of (k, m + 1). And a shard that is all zero, or shorter than the others, costs
nothing: a block that closes early is the full code with empty shards.

Pointers are borrowed for the call. No function allocates but code_start; those that end in `_once` need no Code,
and compute their coefficients anew: for repair blocks, whose k is known only when they close.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_SHARDS = 256        # points of the field: k + m at most
    INVERSE_WAYS = 4        # places that one pattern of erasures may take in the cache


cdef struct Inverse:
    uint64_t[4] present     # the shards it computes from, one bit each; all zero: empty
    uint64_t used           # the Code's `decodes` when it was last used


cdef struct Code:
    uint32_t data_shards        # k >= 1
    uint32_t parity_shards      # m >= 1, k + m <= MAX_SHARDS
    uint8_t* matrix             # owned: m rows of k coefficients
    uint8_t[MAX_SHARDS] weight  # per point x: log of the product of x - i over data points i other than x
    Inverse* inverses           # owned: `sets` sets of INVERSE_WAYS; each set forgets its least recently used
    uint8_t* inverse_rows       # owned: per Inverse a row of k coefficients for each lost shard, min(k, m) at most
    uint32_t sets               # a power of two
    uint64_t decodes            # decodes of several shards so far
    uint64_t inverse_hits       # those whose matrix was in the cache

# False when the sizes are out of bounds or memory is short; the code is then empty and safe to clear.
cdef bint code_start(Code* code, uint32_t data_shards, uint32_t parity_shards) noexcept nogil
cdef void code_clear(Code* code) noexcept nogil

# Write *count* parities, beginning with parity *first*, of k data shards to parities[0 .. count). Shard j has
# lengths[j] bytes, and counts as if zeros followed to *shard_bytes*; lengths may be NULL: all are full.
# Several threads may encode with one code.
cdef void code_encode(
    const Code* code, const uint8_t* const* data, const size_t* lengths,
    uint8_t* const* parities, uint32_t first, uint32_t count, size_t shard_bytes,
) noexcept nogil

# Add data shard *index* (< k) to running parities *first* .. first + count, which began as zeros and have room
# for *length* bytes. After each shard was added once, in any order, they are those of code_encode.
cdef void code_add(
    const Code* code, uint32_t index, const uint8_t* data, size_t length,
    uint8_t* const* parities, uint32_t first, uint32_t count,
) noexcept nogil

# Rebuild every lost data shard j (shards[j] is NULL) into rebuilt[j], *shard_bytes* each, from k + m pointers,
# NULL where a shard is not here; lengths (k + m, or NULL) as for code_encode. False, and nothing
# written, when fewer than k are here. One thread at a time: the code keeps the matrices it has used.
cdef bint code_decode(
    Code* code, const uint8_t* const* shards, const size_t* lengths,
    uint8_t* const* rebuilt, size_t shard_bytes,
) noexcept nogil

# As code_encode and code_decode, for the code of k data and m parity shards. Nothing is checked: k and m are
# at least 1 and k + m at most MAX_SHARDS.
cdef void encode_once(
    uint32_t k, const uint8_t* const* data, const size_t* lengths,
    uint8_t* const* parities, uint32_t count, size_t shard_bytes,
) noexcept nogil
cdef bint decode_once(
    uint32_t k, uint32_t m, const uint8_t* const* shards, const size_t* lengths,
    uint8_t* const* rebuilt, size_t shard_bytes,
) noexcept nogil
