"""Blocks of sent packets and their parities; the contract is in repair_out.pxd.

Plaintexts are copied, and encoded when the block closes: only then is its k known, and a parity depends on k.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from cython_ext.core.shard cimport shard_clear, shard_reserve, shard_store
from cython_ext.fec.reed_solomon cimport encode_once
from cython_ext.wire.cursor cimport Writer, varint_size, write_u8, write_varint, writer_init
from cython_ext.wire.frames cimport FRAME_REPAIR


cdef RepairOut* repair_out_new() noexcept nogil:
    return <RepairOut*> calloc(1, sizeof(RepairOut))


cdef void repair_out_free(RepairOut* o) noexcept nogil:
    cdef int n
    if o == NULL:
        return
    for n in range(MAX_BLOCK_SOURCES):
        shard_clear(&o.sources[n])
    for n in range(MAX_WAITING_REPAIRS):
        shard_clear(&o.waiting[n].frame)
    free(o)


cdef uint32_t repair_head_bytes(uint32_t sources, uint64_t first) noexcept nogil:
    return REPAIR_HEAD_BYTES + <uint32_t> varint_size(first) + sources - 1


cdef void repair_out_open(RepairOut* o, uint32_t sources, uint64_t first, int64_t close_at_ns) noexcept nogil:
    o.count = 0
    o.wanted = sources if sources < MAX_BLOCK_SOURCES else MAX_BLOCK_SOURCES
    o.head_limit = repair_head_bytes(o.wanted, first)
    o.close_at_ns = close_at_ns


cdef bint repair_out_add(RepairOut* o, uint64_t number, const uint8_t* plain, uint32_t bytes) noexcept nogil:
    cdef uint32_t head
    if o.count == 0:
        head = REPAIR_HEAD_BYTES - 4 + <uint32_t> varint_size(number)
    else:
        head = o.head_bytes + <uint32_t> varint_size(number - o.numbers[o.count - 1] - 1)
    if o.count >= o.wanted or head > o.head_limit or not shard_store(&o.sources[o.count], plain, bytes):
        return False
    o.numbers[o.count] = number
    o.head_bytes = head
    o.count += 1
    return True


cdef void write_head(const RepairOut* o, Writer* w, uint32_t parities, uint32_t index, uint32_t shard_bytes) noexcept nogil:
    cdef uint32_t n
    write_u8(w, FRAME_REPAIR)
    write_varint(w, o.count)
    write_varint(w, parities)
    write_varint(w, index)
    write_varint(w, o.numbers[0])
    for n in range(1, o.count):
        write_varint(w, o.numbers[n] - o.numbers[n - 1] - 1)
    write_varint(w, shard_bytes)


cdef void repair_out_close(RepairOut* o, uint32_t parities, int64_t first_ns, int64_t every_ns, int64_t life_ns) noexcept nogil:
    cdef const uint8_t* data[MAX_BLOCK_SOURCES]
    cdef size_t[MAX_BLOCK_SOURCES] lengths
    cdef uint8_t* shards[MAX_BLOCK_PARITIES]
    cdef uint32_t n, longest = 0, made = 0
    cdef WaitingRepair* repair
    cdef Writer w
    for n in range(o.count):
        data[n] = o.sources[n].data
        lengths[n] = o.sources[n].bytes
        if o.sources[n].bytes > longest:
            longest = o.sources[n].bytes
    if longest == 0:
        parities = 0
    while made < parities and o.waiting_count + made < MAX_WAITING_REPAIRS:
        repair = &o.waiting[(o.waiting_first + o.waiting_count + made) % MAX_WAITING_REPAIRS]
        if not shard_reserve(&repair.frame, o.head_bytes + 4 + longest):
            break
        writer_init(&w, repair.frame.data, repair.frame.capacity)
        write_head(o, &w, parities, made, longest)
        shards[made] = w.at
        repair.frame.bytes = <uint32_t> (w.at - repair.frame.data) + longest
        repair.last_source = o.numbers[o.count - 1]
        repair.due_ns = first_ns + made * every_ns
        repair.stale_ns = repair.due_ns + life_ns
        made += 1
    if made:
        encode_once(o.count, data, lengths, shards, made, longest)
        o.blocks += 1
    o.waiting_count += made
    o.repairs_dropped += parities - made
    o.count = 0


cdef WaitingRepair* repair_out_first(RepairOut* o) noexcept nogil:
    return &o.waiting[o.waiting_first] if o.waiting_count else NULL


cdef void repair_out_pop(RepairOut* o) noexcept nogil:
    o.waiting_first = (o.waiting_first + 1) % MAX_WAITING_REPAIRS
    o.waiting_count -= 1
