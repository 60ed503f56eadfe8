"""The policy of copies.

How many: as many as make a loss of all of them rarer than one message in some thousands, and enough to
outlast a burst. When: the first one after an eighth of the one-way delay, the last one before half of it, so that
a message which only its last copy brought is not half as late again. The budget is in packets, acknowledgements
that come back included: each message earns, each packet that there is because of messages costs.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc

from cython_ext.core.loss_meter cimport meter_burst, meter_share
from cython_ext.core.outgoing cimport Lane, MessageOut, lane_entry, lane_has

cdef enum:
    MAX_COPIES = 3
    # A profile that starts protected is let go after so many packets of which none was lost.
    TRIAL_PACKETS = 1000
    # Before so many packets the meter does not ask for a third copy.
    SURE_PACKETS = 128
    MIN_ONE_WAY_NS = 8_000_000
    MAX_ONE_WAY_NS = 100_000_000

# Shares of lost packets from which one, two and three copies are wanted: with n copies, share^(n + 1) stays
# below 5 in 10,000.
cdef double ONE_COPY = 0.0005
cdef double TWO_COPIES = 0.0224
cdef double THREE_COPIES = 0.08
# Bursts count from this share on; below, a run is chance.
cdef double BURST_SHARE = 0.005
# Packets per message, all counted: what up to two copies may cost, and three.
cdef double ALLOWANCE = 2.97
cdef double WIDE_ALLOWANCE = 4.5


cdef Copies* copies_new(uint8_t mode) noexcept nogil:
    """Return the state of a connection that copies messages; NULL when memory ran out."""
    cdef Copies* copies = <Copies*> calloc(1, sizeof(Copies))
    if copies != NULL:
        copies.mode = mode
    return copies


cdef void copies_refresh(Copies* copies, const Recovery* r) noexcept nogil:
    """Take in what the path does at present."""
    cdef double share = meter_share(&r.losses), burst
    cdef int64_t one_way = (r.rtt.undelayed_ns if r.rtt.undelayed_ns else r.rtt.smoothed_ns) // 2
    copies.one_way_ns = one_way
    copies.horizon_ns = 2 * one_way
    if copies.horizon_ns < 2 * MIN_ONE_WAY_NS:
        copies.horizon_ns = 2 * MIN_ONE_WAY_NS
    if copies.mode == COPIES_ALL and r.packets_lost == 0:
        # Protected until the path has shown that it needs no protection.
        copies.wanted = 2 if r.losses.since_loss < TRIAL_PACKETS else 0
        return
    copies.wanted = 2 if share >= TWO_COPIES else 1 if share >= ONE_COPY else 0
    if r.losses.long_packets < SURE_PACKETS or share < BURST_SHARE:
        return
    if r.losses.long_lost >= THREE_COPIES * r.losses.long_packets:
        copies.wanted = MAX_COPIES
    # Rounded up rather than down: the mean of a hundred bursts is uncertain by a quarter.
    burst = meter_burst(&r.losses) + 0.6
    if burst > copies.wanted:
        copies.wanted = MAX_COPIES if burst >= MAX_COPIES else <uint32_t> burst


cdef inline int64_t offset_64ths(uint32_t wanted, uint32_t stage) noexcept nogil:
    # Of the one-way delay.
    if stage == 0:
        return 8
    if stage + 1 == wanted:
        return 29
    return 17


cdef int64_t due_at(const Copies* copies, const Young* y) noexcept nogil:
    """Return when the next copy of *y* is due, 0 for never."""
    cdef int64_t base = copies.one_way_ns, offset, last, latest
    if y.stage >= copies.wanted:
        return 0
    if base < MIN_ONE_WAY_NS:
        base = MIN_ONE_WAY_NS
    if base > MAX_ONE_WAY_NS:
        base = MAX_ONE_WAY_NS
    offset = base * offset_64ths(copies.wanted, y.stage) // 64
    if y.deadline_ns:
        # What arrives after the deadline is of no use: the copies move together.
        latest = y.deadline_ns - copies.one_way_ns - y.sent_ns
        if latest <= 0:
            return 0
        last = base * offset_64ths(copies.wanted, copies.wanted - 1) // 64
        if last > latest:
            offset = <int64_t> (<double> offset * <double> latest / <double> last)
    return y.sent_ns + offset


cdef void settle(Copies* copies) noexcept nogil:
    """Forget the old, and find the earliest due copy."""
    cdef uint32_t n
    cdef Young* y
    copies.due_ns = 0
    for n in range(copies.count):
        y = copies_young(copies, n)
        if y.due_ns and (copies.due_ns == 0 or y.due_ns < copies.due_ns):
            copies.due_ns = y.due_ns


cdef void copies_note_message(Copies* copies, uint8_t lane, uint64_t seq, uint64_t length, int64_t deadline_ns,
                              int64_t now_ns) noexcept nogil:
    """Note a message that leaves whole, for the first time."""
    cdef Young* y
    cdef double allowance
    cdef bint paused
    if copies.wanted == 0 or length > SMALL_BYTES or (copies.mode == COPIES_DEADLINE and deadline_ns == 0):
        return
    while copies.count and now_ns - copies.ring[copies.first].sent_ns > copies.horizon_ns:
        copies.first = (copies.first + 1) % YOUNG_MESSAGES
        copies.count -= 1
    paused = copies.count == 0
    if copies.count == YOUNG_MESSAGES:
        copies.first = (copies.first + 1) % YOUNG_MESSAGES
        copies.count -= 1
        copies.crowded_until_ns = now_ns + copies.horizon_ns
    copies.count += 1
    y = copies_young(copies, 0)
    y.seq = seq
    y.lane = lane
    y.stage = 0
    y.sent_ns = y.last_ns = now_ns
    y.deadline_ns = deadline_ns
    y.due_ns = 0
    if now_ns < copies.crowded_until_ns:
        return
    y.due_ns = due_at(copies, y)
    allowance = WIDE_ALLOWANCE if copies.wanted == MAX_COPIES else ALLOWANCE
    copies.tokens += allowance
    # After a pause there is a full budget: what is rare is cheap.
    if copies.tokens > 2 * allowance or paused:
        copies.tokens = 2 * allowance
    settle(copies)


cdef bint copies_are_due(Copies* copies, const Outgoing* o, const Recovery* r, int64_t now_ns) noexcept nogil:
    """Tell whether a packet should leave for the copies that are due."""
    cdef uint32_t n
    cdef Young* y
    cdef const Lane* lane
    cdef MessageOut* m
    cdef bint due = False
    # The last copy is what is saved when the budget is short.
    cdef double price = 1
    if copies.due_ns == 0 or copies.due_ns > now_ns:
        return False
    for n in range(copies.count):
        y = copies_young(copies, n)
        if y.due_ns == 0 or y.due_ns > now_ns:
            continue
        lane = o.lanes[y.lane]
        if y.seq >= lane.first:
            m = lane_entry(lane, y.seq)
            if not lane_has(lane, m.start, m.start + m.length + 1) and copies_is_useful(copies, y, now_ns):
                due = True
                if (<uint32_t> y.stage) + 1 < copies.wanted or copies.wanted == 1:
                    price = 0
                continue
        y.due_ns = 0
    # A quarter of the window stays for what is new: acknowledgements may be lost in a row.
    if not due or copies.tokens < price or r.in_flight > r.controller.window // 4 * 3:
        copies_pass(copies, now_ns)
        return False
    return True


cdef bint copies_is_useful(const Copies* copies, const Young* y, int64_t now_ns) noexcept nogil:
    """Tell whether repeating *y* now may still help."""
    if copies.wanted == 0 or now_ns < copies.crowded_until_ns or now_ns - y.sent_ns > copies.horizon_ns:
        return False
    if y.deadline_ns and now_ns + copies.one_way_ns > y.deadline_ns:
        return False
    # What left a moment ago shares its fate with what leaves now.
    return now_ns - y.last_ns >= copies.one_way_ns // 16 or (y.due_ns != 0 and y.due_ns <= now_ns)


cdef void copies_note_copy(Copies* copies, Young* y, uint64_t bytes, int64_t now_ns) noexcept nogil:
    """Note that *y* was repeated; a copy that is nearly due is done with it."""
    copies.sent += 1
    copies.bytes += bytes
    y.last_ns = now_ns
    while y.due_ns and y.due_ns <= now_ns + copies.one_way_ns // 16:
        y.stage += 1
        y.due_ns = due_at(copies, y)


cdef void copies_pass(Copies* copies, int64_t now_ns) noexcept nogil:
    """Go on to the next stage where a copy was due and did not leave."""
    cdef uint32_t n
    cdef Young* y
    for n in range(copies.count):
        y = copies_young(copies, n)
        while y.due_ns and y.due_ns <= now_ns:
            y.stage += 1
            y.due_ns = due_at(copies, y)
    copies.blocked = False
    settle(copies)
