"""The sending side of repair blocks (docs/protocol.md section 5.7): the block that is open, and parities that wait.

Copies the plaintexts of packets with the flag FEC until their block is closed, and then makes its parities, as whole
REPAIR frames. Knows nothing of packets, windows or policy: who calls says how many sources, how many
parities, and when they are due. Made with the first packet that is protected, freed when there was none for a while.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.core.shard cimport Shard

cdef enum:
    MAX_BLOCK_SOURCES = 20
    MAX_BLOCK_PARITIES = 20
    MAX_WAITING_REPAIRS = 40
    # Type, k, m, index, the length of the shard, and gaps that take a second byte.
    REPAIR_HEAD_BYTES = 1 + 1 + 1 + 1 + 4 + 4


cdef struct WaitingRepair:
    Shard frame             # REPAIR as it is written
    uint64_t last_source    # the highest number in the block
    int64_t due_ns
    int64_t stale_ns        # later than that it helps nobody


cdef struct RepairOut:
    # the open block
    uint32_t count          # sources in it; 0: none is open
    uint32_t wanted         # sources at which it is full
    uint32_t head_bytes     # of its REPAIR frames, beside the shard
    uint32_t head_limit     # what was left free for that in its packets
    uint64_t[MAX_BLOCK_SOURCES] numbers
    Shard[MAX_BLOCK_SOURCES] sources
    int64_t close_at_ns     # when it is closed though it is not full
    # what waits, in the order in which it is due
    WaitingRepair[MAX_WAITING_REPAIRS] waiting
    uint32_t waiting_first
    uint32_t waiting_count
    int64_t free_at_ns      # when nothing was protected until then, all of this is freed
    # counters, collected by the owner
    uint64_t blocks
    uint64_t repairs_dropped    # parities that were not sent: needless, stale, or too many

cdef RepairOut* repair_out_new() noexcept nogil
cdef void repair_out_free(RepairOut* o) noexcept nogil

# How many bytes of a packet's plaintext a REPAIR frame needs beside a shard, in a block of *sources* that
# begins with *first*. A packet of the block leaves so many free.
cdef uint32_t repair_head_bytes(uint32_t sources, uint64_t first) noexcept nogil

# Begin a block of *sources* (at most MAX_BLOCK_SOURCES); packets leave repair_head_bytes free. None is open.
cdef void repair_out_open(RepairOut* o, uint32_t sources, uint64_t first, int64_t close_at_ns) noexcept nogil

# Add a packet to the open block. False when it cannot be: it is to be sent without the flag FEC.
cdef bint repair_out_add(RepairOut* o, uint64_t number, const uint8_t* plain, uint32_t bytes) noexcept nogil

# Close the open block with so many parities, 0 to MAX_BLOCK_PARITIES: due at *first_ns*, and every *every_ns* from
# then on, stale *life_ns* after they were due.
cdef void repair_out_close(RepairOut* o, uint32_t parities, int64_t first_ns, int64_t every_ns, int64_t life_ns) noexcept nogil

# The oldest parity that waits, NULL when there is none; and take it off.
cdef WaitingRepair* repair_out_first(RepairOut* o) noexcept nogil
cdef void repair_out_pop(RepairOut* o) noexcept nogil
