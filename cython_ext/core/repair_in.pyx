"""Rebuilding lost packets; the contract is in repair_in.pxd.

A block exists here only while it misses a source and a parity of it is kept. At most MAX_OPEN_BLOCKS do, with
MAX_KEPT_PARITIES parities together; a further one pushes the oldest out.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from cython_ext.core.ranges cimport REPLAY_FRESH, REPLAY_SEEN, replay_check
from cython_ext.core.shard cimport shard_clear, shard_reserve, shard_store
from cython_ext.fec.reed_solomon cimport MAX_SHARDS, decode_once
from cython_ext.wire.cursor cimport Reader, read_varint


cdef RepairIn* repair_in_new(uint32_t limit) noexcept nogil:
    cdef RepairIn* r = <RepairIn*> calloc(1, sizeof(RepairIn))
    cdef int i
    if r == NULL:
        return NULL
    r.limit = limit
    r.kept = <KeptSource*> calloc(limit, sizeof(KeptSource))
    r.numbers = <uint64_t*> malloc(<size_t> MAX_OPEN_BLOCKS * limit * sizeof(uint64_t))
    if r.kept == NULL or r.numbers == NULL:
        repair_in_free(r)
        return NULL
    for i in range(MAX_OPEN_BLOCKS):
        r.blocks[i].numbers = r.numbers + <uint32_t> i * limit
    return r


cdef void repair_in_free(RepairIn* r) noexcept nogil:
    cdef uint32_t n
    cdef int i
    if r == NULL:
        return
    if r.kept != NULL:
        for n in range(r.limit):
            shard_clear(&r.kept[n].plain)
    for i in range(MAX_KEPT_PARITIES):
        shard_clear(&r.parities[i].shard)
    shard_clear(&r.rebuilt)
    free(r.kept)
    free(r.numbers)
    free(r)


cdef bint repair_in_keep(RepairIn* r, uint64_t number, const uint8_t* plain, uint32_t bytes) noexcept nogil:
    cdef uint32_t place = r.newest + 1 if r.newest + 1 < r.limit else 0
    if not shard_store(&r.kept[place].plain, plain, bytes):
        return False
    r.kept[place].number = number + 1
    r.newest = place
    return True


cdef const Shard* kept_source(const RepairIn* r, uint64_t number, uint32_t* hint) noexcept nogil:
    """Return the plaintext kept of packet *number*, NULL when there is none.

    Sources are looked for in ascending order, and most came in it: the place behind the last find is
    the first to look at.
    """
    cdef uint32_t _n, place = hint[0]
    for _n in range(r.limit):
        place = place + 1 if place + 1 < r.limit else 0
        if r.kept[place].number == number + 1:
            hint[0] = place
            return &r.kept[place].plain
    return NULL


# -- blocks ------------------------------------------------------------------------------------------

cdef void forget_block(RepairIn* r, OpenBlock* block) noexcept nogil:
    cdef uint32_t place = <uint32_t> (block - r.blocks) + 1
    cdef int i
    for i in range(MAX_KEPT_PARITIES):
        if r.parities[i].block == place:
            r.parities[i].block = 0
    block.sources = 0
    block.parities = 0
    r.open_blocks -= 1


cdef void fail_block(RepairIn* r, OpenBlock* block) noexcept nogil:
    forget_block(r, block)
    r.blocks_failed += 1


cdef OpenBlock* oldest_block(RepairIn* r) noexcept nogil:
    cdef OpenBlock* oldest = NULL
    cdef int i
    for i in range(MAX_OPEN_BLOCKS):
        if r.blocks[i].sources and (oldest == NULL or r.blocks[i].serial < oldest.serial):
            oldest = &r.blocks[i]
    return oldest


cdef OpenBlock* block_of(RepairIn* r, uint64_t first) noexcept nogil:
    """Return the open block whose first source is *first*, NULL when there is none."""
    cdef int i
    if r.open_blocks:
        for i in range(MAX_OPEN_BLOCKS):
            if r.blocks[i].sources and r.blocks[i].numbers[0] == first:
                return &r.blocks[i]
    return NULL


cdef OpenBlock* open_block(RepairIn* r, const uint64_t* numbers, const Frame* frame) noexcept nogil:
    cdef OpenBlock* block
    cdef int i
    if r.open_blocks == MAX_OPEN_BLOCKS:
        fail_block(r, oldest_block(r))
    for i in range(MAX_OPEN_BLOCKS):
        block = &r.blocks[i]
        if block.sources == 0:
            break
    memcpy(block.numbers, numbers, frame.sources * sizeof(uint64_t))
    block.sources = frame.sources
    block.points = frame.sources + frame.parities
    block.shard_bytes = <uint32_t> frame.length
    block.parities = 0
    r.serial += 1
    block.serial = r.serial
    r.open_blocks += 1
    return block


cdef bint contradicts(const OpenBlock* block, const uint64_t* numbers, const Frame* frame) noexcept nogil:
    cdef uint32_t n
    if block.sources != frame.sources or block.shard_bytes != frame.length:
        return True
    for n in range(block.sources):
        if block.numbers[n] != numbers[n]:
            return True
    return False


cdef KeptParity* free_parity(RepairIn* r, const OpenBlock* block) noexcept nogil:
    """Return a place for a parity of *block*; the oldest other block gives way. NULL when there is no other."""
    cdef OpenBlock* oldest
    cdef int i
    while True:
        for i in range(MAX_KEPT_PARITIES):
            if r.parities[i].block == 0:
                return &r.parities[i]
        oldest = oldest_block(r)
        if oldest == block:
            return NULL
        fail_block(r, oldest)


cdef bint keep_parity(RepairIn* r, OpenBlock* block, const Frame* frame) noexcept nogil:
    cdef uint32_t place = <uint32_t> (block - r.blocks) + 1
    cdef int i
    cdef KeptParity* parity
    for i in range(MAX_KEPT_PARITIES):
        if r.parities[i].block == place and r.parities[i].index == frame.index:
            return True
    parity = free_parity(r, block)
    if parity == NULL or not shard_store(&parity.shard, frame.data, block.shard_bytes):
        return False
    parity.block = place
    parity.index = frame.index
    block.parities += 1
    if frame.sources + frame.parities > block.points:
        block.points = frame.sources + frame.parities
    return True


# -- rebuilding --------------------------------------------------------------------------------------

cdef bint try_block(RepairIn* r, OpenBlock* block, const ReplayWindow* replay) noexcept nogil:
    """Rebuild what *block* misses when that can be done, and forget it when it misses nothing or is past help."""
    cdef const uint8_t* shards[MAX_SHARDS]
    cdef size_t[MAX_SHARDS] lengths
    cdef uint8_t* outputs[MAX_SHARDS]
    cdef const Shard* plain
    cdef uint32_t k = block.sources, n, missing = 0, hint = r.newest, place = <uint32_t> (block - r.blocks) + 1
    cdef int seen, i
    for n in range(k):
        shards[n] = NULL
        lengths[n] = 0
        seen = replay_check(replay, block.numbers[n])
        if seen == REPLAY_FRESH:
            if missing < MAX_KEPT_PARITIES:
                r.rebuilt_numbers[missing] = block.numbers[n]
            missing += 1
            continue
        plain = kept_source(r, block.numbers[n], &hint) if seen == REPLAY_SEEN else NULL
        if plain == NULL or plain.bytes > block.shard_bytes:
            # It came without the flag FEC, is longer than the shards, or is not held any more.
            fail_block(r, block)
            return False
        shards[n] = plain.data
        lengths[n] = plain.bytes
    if missing == 0:
        r.repairs_unused += block.parities
        forget_block(r, block)
        return False
    if missing > block.parities:
        return False
    for n in range(k, block.points):
        shards[n] = NULL
        lengths[n] = 0
    for i in range(MAX_KEPT_PARITIES):
        if r.parities[i].block == place:
            shards[k + r.parities[i].index] = r.parities[i].shard.data
            lengths[k + r.parities[i].index] = block.shard_bytes
    if not shard_reserve(&r.rebuilt, missing * block.shard_bytes):
        fail_block(r, block)
        return False
    missing = 0
    for n in range(k):
        if shards[n] == NULL:
            outputs[n] = r.rebuilt.data + missing * block.shard_bytes
            missing += 1
    decode_once(k, block.points - k, shards, lengths, outputs, block.shard_bytes)
    r.rebuilt_count = missing
    r.rebuilt_taken = 0
    r.rebuilt_bytes = block.shard_bytes
    forget_block(r, block)
    return True


cdef bint repair_in_add(RepairIn* r, const ReplayWindow* replay, const Frame* frame) noexcept nogil:
    cdef Reader gaps = frame.ranges
    cdef uint64_t[MAX_SHARDS] numbers
    cdef uint32_t n, missing = 0
    cdef OpenBlock* block
    numbers[0] = frame.id
    for n in range(1, frame.sources):
        numbers[n] = numbers[n - 1] + read_varint(&gaps) + 1
    for n in range(frame.sources):
        missing += replay_check(replay, numbers[n]) == REPLAY_FRESH
    block = block_of(r, numbers[0])
    #= 5.7: A block with frames that differ in k, sources or length, with a source that came without the flag FEC, with a source longer than the shards, or with sources that are not held any more is dropped and counted.
    if block != NULL and contradicts(block, numbers, frame):
        fail_block(r, block)
        return False
    if missing == 0:
        r.repairs_unused += 1
        if block != NULL:
            try_block(r, block, replay)
        return False
    if frame.sources > r.limit or missing > MAX_KEPT_PARITIES:
        # More sources than are kept, or more holes than parities could be kept for.
        r.blocks_failed += 1
        return False
    if block == NULL:
        block = open_block(r, numbers, frame)
    if not keep_parity(r, block, frame):
        fail_block(r, block)
        return False
    return try_block(r, block, replay)


cdef bint repair_in_arrived(RepairIn* r, const ReplayWindow* replay, uint64_t number) noexcept nogil:
    cdef OpenBlock* block
    cdef uint32_t low, high, middle
    cdef int i
    for i in range(MAX_OPEN_BLOCKS):
        block = &r.blocks[i]
        if block.sources == 0 or number < block.numbers[0] or number > block.numbers[block.sources - 1]:
            continue
        low = 0
        high = block.sources
        while low < high:
            middle = (low + high) // 2
            if block.numbers[middle] < number:
                low = middle + 1
            else:
                high = middle
        if block.numbers[low] == number and try_block(r, block, replay):
            return True
    return False


cdef bint repair_in_again(RepairIn* r, const ReplayWindow* replay) noexcept nogil:
    cdef int i
    for i in range(MAX_OPEN_BLOCKS):
        if r.blocks[i].sources and try_block(r, &r.blocks[i], replay):
            return True
    return False


cdef bint repair_in_take(RepairIn* r, uint64_t* number, const uint8_t** plain, uint32_t* bytes) noexcept nogil:
    if r.rebuilt_taken == r.rebuilt_count:
        return False
    number[0] = r.rebuilt_numbers[r.rebuilt_taken]
    plain[0] = r.rebuilt.data + r.rebuilt_taken * r.rebuilt_bytes
    bytes[0] = r.rebuilt_bytes
    r.rebuilt_taken += 1
    return True
