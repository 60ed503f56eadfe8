"""The receiving side of repair blocks (docs/protocol.md section 5.7): what is kept, and what can be rebuilt.

Keeps plaintexts of packets with the flag FEC, and parities whose block misses a source. Knows nothing of frames:
who calls parses REPAIR, and processes what was rebuilt. Made with the first such packet of a connection, and
freed when none came for a while.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.ranges cimport ReplayWindow
from cython_ext.core.shard cimport Shard
from cython_ext.wire.frames cimport Frame

cdef enum:
    MAX_OPEN_BLOCKS = 16
    MAX_KEPT_PARITIES = 64


cdef struct KeptSource:
    uint64_t number         # packet number + 1; 0: the place is empty
    Shard plain


cdef struct KeptParity:
    uint32_t block          # place of its block + 1; 0: free
    uint32_t index
    Shard shard


cdef struct OpenBlock:
    uint64_t* numbers       # of the sources, ascending; borrowed from RepairIn.numbers
    uint64_t serial         # of its first parity: the block with the lowest one is the oldest
    uint32_t sources        # k; 0: the place is free
    uint32_t points         # k + m, the largest m seen
    uint32_t shard_bytes
    uint32_t parities       # kept


cdef struct RepairIn:
    uint32_t limit          # sources kept: our repair_sources
    uint32_t newest         # place of the source kept last
    uint32_t open_blocks
    KeptSource* kept        # owned: `limit` places, filled in turn
    uint64_t* numbers       # owned: MAX_OPEN_BLOCKS x limit
    uint64_t serial
    OpenBlock[MAX_OPEN_BLOCKS] blocks
    KeptParity[MAX_KEPT_PARITIES] parities
    # what the last decode gave, until it is taken
    Shard rebuilt           # `rebuilt_count` shards one behind the other
    uint64_t[MAX_KEPT_PARITIES] rebuilt_numbers
    uint32_t rebuilt_count
    uint32_t rebuilt_taken
    uint32_t rebuilt_bytes  # of each
    int64_t free_at_ns      # when nothing came until then, all of this is freed
    # counters, collected by the owner
    uint64_t blocks_failed      # dropped: contradictory, out of reach, or pushed out by newer ones
    uint64_t repairs_unused     # parities of blocks that missed nothing when they came

# NULL when memory ran out; *limit* is at least 1.
cdef RepairIn* repair_in_new(uint32_t limit) noexcept nogil
cdef void repair_in_free(RepairIn* r) noexcept nogil

# Keep the plaintext of a packet with the flag FEC. False when memory ran out: it is not kept then.
cdef bint repair_in_keep(RepairIn* r, uint64_t number, const uint8_t* plain, uint32_t bytes) noexcept nogil

# Take in a REPAIR frame, or note that packet *number* is in *replay* now. True when sources were
# rebuilt: repair_in_take gives them, one by one, until it returns False.
cdef bint repair_in_add(RepairIn* r, const ReplayWindow* replay, const Frame* frame) noexcept nogil
cdef bint repair_in_arrived(RepairIn* r, const ReplayWindow* replay, uint64_t number) noexcept nogil
# Look at every open block, since what was rebuilt may complete another one.
cdef bint repair_in_again(RepairIn* r, const ReplayWindow* replay) noexcept nogil
cdef bint repair_in_take(RepairIn* r, uint64_t* number, const uint8_t** plain, uint32_t* bytes) noexcept nogil
