"""Which packets get repairs, how many, and when they leave; the contract is in protection.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cython_ext.core.copies cimport COPIES_ALL, COPY_BYTES
from cython_ext.core.inbox cimport inbox_first_length
from cython_ext.core.loss_meter cimport meter_burst, meter_share
from cython_ext.core.outgoing cimport LANES
from cython_ext.core.repair_out cimport (
    MAX_BLOCK_PARITIES, MAX_BLOCK_SOURCES, WaitingRepair, repair_head_bytes, repair_out_close,
    repair_out_first, repair_out_free, repair_out_new, repair_out_open, repair_out_pop,
)
from cython_ext.core.rtt cimport rtt_probe_timeout_ns
from cython_ext.core.send_buffer cimport SendBuffer
from cython_ext.core.stream cimport Stream
from cython_ext.wire.header cimport HEADER_BYTES, TAG_BYTES

cdef enum:
    # What leaves last before the sender runs dry: two full blocks.
    TAIL_PACKETS = 2 * MAX_BLOCK_SOURCES
    # Behind more packets than these nothing is a tail: what of them is lost takes a round trip anyway, whatever the last ones
    # do. And a bulk sender whose buffer is smaller than the path runs dry all the time.
    MOST_IN_FLIGHT = 2 * TAIL_PACKETS
    # A retransmission that takes less than this costs less than repairs.
    LEAST_ROUND_TRIP_NS = 1_000_000
    # The cap on parities is so many beyond the sources, but not below this: copies of a small packet cost little.
    LEAST_MOST = 8
    # How long a copy of a single packet waits, so that one burst does not take both; and the parities of a block.
    LEAST_COPY_GAP_NS = 1_000_000
    MOST_COPY_GAP_NS = 3_000_000
    MOST_PARITY_GAP_NS = 1_000_000
    # A block closes after half a round trip, but not sooner than this.
    LEAST_OPEN_NS = 2_000_000

# The chance of a block that cannot be rebuilt, at a round trip of 50 ms: a miss costs about one round trip, so that
# a longer one is worth more parities.
cdef double MISS_AT_50_MS = 0.002
cdef double LEAST_MISS = 0.001
cdef double MOST_MISS = 0.02
# What "always" expects when less is measured.
cdef double LEAST_SHARE = 0.05


cdef uint64_t waiting_bytes(const SendBuffer* b) noexcept nogil:
    """Return what is still to be sent, for the first or once more; many losses count as very much."""
    cdef uint64_t left = b.end - b.sent
    cdef uint32_t n
    # No tail is so long; and a peer that acknowledges every other packet cannot make this a long walk.
    if b.lost.count > TAIL_PACKETS:
        return <uint64_t> 1 << 40
    for n in range(b.lost.count):
        left += b.lost.items[n].high - b.lost.items[n].low
    return left


cdef uint64_t tail_bytes(const Conn* c, uint64_t limit) noexcept nogil:
    """Return how many bytes wait to be sent, or something above *limit*."""
    cdef uint64_t left = c.datagrams_out.payload_bytes
    cdef const Stream* s = c.sending.first
    cdef int n
    while s != NULL and left <= limit:
        left += waiting_bytes(&s.out)
        s = s.send_next
    for n in range(LANES):
        if c.messages_out.lanes[n] != NULL and left <= limit:
            left += waiting_bytes(&c.messages_out.lanes[n].buffer)
    return left


cdef uint32_t protection_parities(const Conn* c, uint32_t sources) noexcept nogil:
    cdef double share = meter_share(&c.recovery.losses)
    if c.fec == FEC_ALWAYS and share < LEAST_SHARE:
        share = LEAST_SHARE
    return parities_for(share, meter_burst(&c.recovery.losses), c.recovery.rtt.smoothed_ns, sources)


cdef uint32_t parities_for(double share, double burst, int64_t round_trip_ns, uint32_t sources) noexcept nogil:
    """Return the smallest m for which so few of the k + m packets are lost often enough that k arrive.

    Losses are taken for a Gilbert process: runs with the measured mean length, begun as often as gives the
    measured share. good[i] and bad[i] are the chances that i of the first n packets are lost, and the last of
    them arrived or did not.
    """
    cdef double begin, go_on, miss, arrived, stay
    cdef double[MAX_BLOCK_PARITIES + 1] good
    cdef double[MAX_BLOCK_PARITIES + 1] bad
    cdef uint32_t n, lost, most
    if share <= 0 or sources == 0:
        return 0
    if share > 0.5:
        share = 0.5
    most = sources + 3 if sources > LEAST_MOST - 3 else LEAST_MOST
    most = most if most < MAX_BLOCK_PARITIES else MAX_BLOCK_PARITIES
    miss = MISS_AT_50_MS * 50e6 / <double> (round_trip_ns if round_trip_ns > 1 else 1)
    miss = LEAST_MISS if miss < LEAST_MISS else MOST_MISS if miss > MOST_MISS else miss
    go_on = 1 - 1 / burst
    # Runs cannot be shorter than chance makes them.
    if go_on < share:
        go_on = share
    begin = share * (1 - go_on) / (1 - share)
    for lost in range(most + 1):
        good[lost] = bad[lost] = 0
    good[0] = 1 - share
    bad[1] = share
    n = 1
    while True:
        if n >= sources:
            arrived = 0
            for lost in range(n - sources + 1):
                arrived += good[lost] + bad[lost]
            if 1 - arrived <= miss or n - sources >= most:
                return n - sources
        for lost in range(most, 0, -1):
            stay = bad[lost - 1] * go_on + good[lost - 1] * begin
            good[lost] = good[lost] * (1 - begin) + bad[lost] * (1 - go_on)
            bad[lost] = stay
        good[0] = good[0] * (1 - begin)
        bad[0] = 0
        n += 1


cdef bint protection_wants(Conn* c, uint32_t* head, int64_t now_ns) noexcept nogil:
    cdef uint32_t full = c.datagram_bytes - HEADER_BYTES - TAG_BYTES, room, sources
    cdef uint64_t left
    cdef int64_t open_ns
    head[0] = repair_head_bytes(MAX_BLOCK_SOURCES, c.recovery.next)
    room = full - head[0]
    if c.datagrams_out.count and 5 + inbox_first_length(&c.datagrams_out) > room:
        # It would not fit beside the room that a REPAIR needs.
        return False
    if c.recovery.in_flight > <uint64_t> MOST_IN_FLIGHT * c.datagram_bytes:
        return False
    left = tail_bytes(c, <uint64_t> TAIL_PACKETS * room)
    if left == 0 or left > <uint64_t> TAIL_PACKETS * room:
        return False
    if c.copies != NULL and left <= COPY_BYTES and c.sending.first == NULL and (c.copies.mode == COPIES_ALL or c.copies.count):
        # Small messages that are copied need no parity.
        return False
    if c.repair_out != NULL and c.repair_out.count:
        head[0] = c.repair_out.head_limit
        return True
    if c.fec != FEC_ALWAYS and c.recovery.rtt.sampled and c.recovery.rtt.smoothed_ns < LEAST_ROUND_TRIP_NS:
        return False
    sources = <uint32_t> (left // room) + 1
    if sources > MAX_BLOCK_SOURCES:
        # Two even blocks: one of few sources would need almost as many parities.
        sources = (sources + 1) // 2 if sources <= TAIL_PACKETS else MAX_BLOCK_SOURCES
    if sources > c.peer.repair_sources:
        sources = <uint32_t> c.peer.repair_sources
    if protection_parities(c, sources) == 0:
        return False
    if c.repair_out == NULL:
        c.repair_out = repair_out_new()
        if c.repair_out == NULL:
            return False
    open_ns = c.recovery.rtt.smoothed_ns // 2
    repair_out_open(c.repair_out, sources, c.recovery.next, now_ns + (open_ns if open_ns > LEAST_OPEN_NS else LEAST_OPEN_NS))
    head[0] = c.repair_out.head_limit
    return True


cdef void protection_close(Conn* c, int64_t now_ns) noexcept nogil:
    """Make the parities of the open block, spaced so that what took a source has passed."""
    cdef int64_t round_trip = c.recovery.rtt.smoothed_ns, first, every
    if c.repair_out.count == 1:
        first = round_trip // 16
        first = LEAST_COPY_GAP_NS if first < LEAST_COPY_GAP_NS else MOST_COPY_GAP_NS if first > MOST_COPY_GAP_NS else first
        every = first
    else:
        first = every = round_trip // 64 if round_trip // 64 < MOST_PARITY_GAP_NS else MOST_PARITY_GAP_NS
    repair_out_close(c.repair_out, protection_parities(c, c.repair_out.count), now_ns + first, every, round_trip)
    c.repair_out.free_at_ns = now_ns + 3 * rtt_probe_timeout_ns(&c.recovery.rtt, c.recovery.max_ack_delay_ns)


cdef bint protection_poll(Conn* c, bint dry, int64_t now_ns) noexcept nogil:
    cdef WaitingRepair* repair
    cdef bint is_due = False
    c.repair_at_ns = 0
    if c.repair_out.count:
        if dry or c.repair_out.count == c.repair_out.wanted or c.repair_out.close_at_ns <= now_ns:
            protection_close(c, now_ns)
        else:
            c.repair_at_ns = c.repair_out.close_at_ns
    repair = repair_out_first(c.repair_out)
    while repair != NULL:
        if repair.stale_ns <= now_ns or c.recovery.first > repair.last_source:
            # Too late to be of use, or all that it could rebuild was acknowledged.
            repair_out_pop(c.repair_out)
            c.repair_out.repairs_dropped += 1
            repair = repair_out_first(c.repair_out)
            continue
        is_due = repair.due_ns <= now_ns
        if not is_due and (c.repair_at_ns == 0 or repair.due_ns < c.repair_at_ns):
            c.repair_at_ns = repair.due_ns
        break
    if repair == NULL and c.repair_out.count == 0:
        if c.repair_out.free_at_ns <= now_ns:
            c.stats.fec_blocks_sent += c.repair_out.blocks
            c.stats.fec_repairs_dropped += c.repair_out.repairs_dropped
            repair_out_free(c.repair_out)
            c.repair_out = NULL
        else:
            c.repair_at_ns = c.repair_out.free_at_ns
    return is_due
