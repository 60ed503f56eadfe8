"""Loss detection after RFC 9002 and RACK, on one number space.

An ACK frame is processed in steps that the connection drives: begin, the range of each (marks packets),
largest (round-trip sample), end (losses, controller). The header's ack goes through begin, range and end
without largest: it neither samples nor lets older packets be lost.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cython_ext.core.controller cimport controller_clear, controller_init, controller_switch
from cython_ext.core.delivery cimport delivery_finish, delivery_on_acked, delivery_on_sent
from cython_ext.core.ecn cimport ecn_on_counts, ecn_on_no_counts, ecn_on_probe_timeout
from cython_ext.core.loss_meter cimport meter_on_acked, meter_on_lost, meter_on_spurious
from cython_ext.core.pacer cimport pacer_init, pacer_limit_burst, pacer_set_rate, pacer_spend
from cython_ext.core.ranges cimport ranges_add, ranges_clear, ranges_find, ranges_remove_below
from cython_ext.core.rtt cimport rtt_init, rtt_probe_timeout_ns, rtt_update

cdef enum:
    INITIAL_PACKET_THRESHOLD = 3
    MAX_PACKET_THRESHOLD = 4096
    # 9/8 of the round trip at first (RFC 9002 6.1.2), up to 2 when losses keep proving spurious.
    INITIAL_TIME_EIGHTHS = 1
    MAX_TIME_EIGHTHS = 8
    # Thresholds that grew fall back after so many packets without reordering.
    REORDER_MEMORY_PACKETS = 10_000
    # Expiries of the probe timer before it backs off, and the most probes of one expiry. Losses in
    # bursts are outlasted by trying often; all probes but two are PINGs, so that trying costs little.
    STEADY_EXPIRIES = 10
    MAX_PROBES = 8
    # The part of a round trip, one of so many, for which a source of a repair block is waited for longer.
    REPAIR_GRACE = 4
    # What may leave at once where a policer counts.
    SMALL_BURST_PACKETS = 3
    FIRST_PACKETS = 16
    FIRST_FRAMES = 32


ctypedef bint (*Mark)(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil


cdef inline SentPacket* packet(const Recovery* r, uint64_t number) noexcept nogil:
    return &r.packets[number & (r.packet_capacity - 1)]


cdef bint recovery_init(Recovery* r, uint8_t controller, uint64_t datagram_bytes, int64_t now_ns,
                        int64_t initial_rtt_ns, uint64_t seed) noexcept nogil:
    """Start an empty ledger; False when memory ran out."""
    rtt_init(&r.rtt, initial_rtt_ns)
    pacer_init(&r.pacer, 10.0 * datagram_bytes, now_ns)
    r.packet_threshold = INITIAL_PACKET_THRESHOLD
    r.time_threshold_8th = INITIAL_TIME_EIGHTHS
    r.skip_step = 256
    r.skip_at = r.next + 64 + seed % 192
    r.first = r.next
    if not controller_init(&r.controller, controller, datagram_bytes, now_ns, initial_rtt_ns, seed):
        return False
    pacer_set_rate(&r.pacer, r.controller.pacing_rate, datagram_bytes, now_ns)
    return True


cdef void recovery_clear(Recovery* r) noexcept nogil:
    controller_clear(&r.controller)
    free(r.packets)
    free(r.frames)
    ranges_clear(&r.acked)
    ranges_clear(&r.recovered)
    r.packets = NULL
    r.frames = NULL
    r.packet_capacity = r.frame_capacity = 0


cdef bint resize_packets(Recovery* r, uint64_t capacity) noexcept nogil:
    cdef uint64_t n
    cdef SentPacket* moved = <SentPacket*> malloc(capacity * sizeof(SentPacket))
    if moved == NULL:
        return False
    for n in range(r.first, r.next):
        moved[n & (capacity - 1)] = packet(r, n)[0]
    free(r.packets)
    r.packets = moved
    r.packet_capacity = capacity
    return True


cdef bint resize_frames(Recovery* r, uint64_t capacity) noexcept nogil:
    cdef uint64_t n
    cdef SentFrame* moved = <SentFrame*> malloc(capacity * sizeof(SentFrame))
    if moved == NULL:
        return False
    for n in range(r.frame_first, r.frame_next):
        moved[n & (capacity - 1)] = r.frames[n & (r.frame_capacity - 1)]
    free(r.frames)
    r.frames = moved
    r.frame_capacity = capacity
    return True


cdef uint64_t capacity_for(uint64_t count, uint64_t least) noexcept nogil:
    while least < count:
        least *= 2
    return least


cdef bint recovery_reserve(Recovery* r, uint32_t frames) noexcept nogil:
    """Make room for one more packet with *frames* frames, so that nothing can fail once it is written."""
    cdef uint64_t wanted = r.frame_next + frames - r.frame_first
    if r.next - r.first >= r.packet_capacity and not resize_packets(r, capacity_for(r.next - r.first + 1, FIRST_PACKETS)):
        return False
    return wanted <= r.frame_capacity or resize_frames(r, capacity_for(wanted, FIRST_FRAMES))


cdef void recovery_rest(Recovery* r) noexcept nogil:
    """Give back the room of the ledger that nothing is in; what fails for want of memory may stay."""
    cdef uint64_t count = r.next - r.first, capacity = capacity_for(count, 1)
    if count == 0:
        free(r.packets)
        free(r.frames)
        r.packets = NULL
        r.frames = NULL
        r.packet_capacity = r.frame_capacity = 0
    elif capacity < r.packet_capacity:
        resize_packets(r, capacity)
    count = r.frame_next - r.frame_first
    capacity = capacity_for(count, 1)
    if count and capacity < r.frame_capacity:
        resize_frames(r, capacity)
    if r.acked.count == 0:
        ranges_clear(&r.acked)


cdef void recovery_add_frame(Recovery* r, uint8_t kind, uint64_t id, uint64_t low, uint64_t high) noexcept nogil:
    """Note a frame of the packet being built; recovery_reserve made the room."""
    cdef SentFrame* frame = &r.frames[r.frame_next & (r.frame_capacity - 1)]
    frame.kind = kind
    frame.id = id
    frame.low = low
    frame.high = high
    r.frame_next += 1


cdef void recovery_on_sent(Recovery* r, uint32_t datagram_bytes, uint32_t frame_count, bint eliciting, bint app_limited, int64_t now_ns) noexcept nogil:
    """Enter the packet number `next`, whose last *frame_count* frames were just added."""
    cdef SentPacket* p = packet(r, r.next)
    p.first_frame = r.frame_next - frame_count
    p.frame_count = frame_count
    p.sent_ns = now_ns
    p.bytes = 0
    p.flags = PACKET_ECT if r.ecn.sends else 0
    p.state = SENT_IN_FLIGHT
    if eliciting:
        p.flags |= PACKET_ELICITING
        p.bytes = datagram_bytes
        r.controller.algorithm.on_sent(&r.controller, now_ns, datagram_bytes, r.in_flight, app_limited)
        delivery_on_sent(&r.delivery, &p.snapshot, now_ns, r.in_flight, datagram_bytes)
        r.in_flight += datagram_bytes
        r.eliciting_in_flight += 1
        r.last_eliciting_ns = now_ns
        pacer_spend(&r.pacer, datagram_bytes)
    r.next += 1


cdef void recovery_mark_source(Recovery* r) noexcept nogil:
    """Note that the packet just entered is in a repair block."""
    packet(r, r.next - 1).flags |= PACKET_SOURCE


cdef bint recovery_skip(Recovery* r, bint on_purpose) noexcept nogil:
    """Use up a number without a packet in the ledger; False when memory ran out."""
    cdef SentPacket* p
    if not recovery_reserve(r, 0):
        return False
    p = packet(r, r.next)
    memset(p, 0, sizeof(SentPacket))
    p.first_frame = r.frame_next
    p.flags = PACKET_SKIPPED if on_purpose else 0
    r.next += 1
    if on_purpose and r.next > r.skip_at:
        # quic-go's schedule: the period doubles from 256 to 128 Ki.
        if r.skip_step < 131072:
            r.skip_step *= 2
        r.skip_at = r.next + r.skip_step
    return True


cdef bint recovery_skip_due(const Recovery* r) noexcept nogil:
    return r.next >= r.skip_at


cdef void advance(Recovery* r, int64_t now_ns) noexcept nogil:
    # Lost packets stay for three round trips and their spread, so that a late acknowledgement is known to be one.
    cdef SentPacket* p
    cdef int64_t keep_ns = 3 * r.rtt.smoothed_ns + 12 * r.rtt.variation_ns
    while r.first < r.next:
        p = packet(r, r.first)
        if p.state == SENT_IN_FLIGHT:
            break
        if p.state >= SENT_LOST and now_ns - p.sent_ns < keep_ns:
            break
        # A skipped number is remembered until the peer cannot plausibly acknowledge it any more.
        if p.state == SENT_NOTHING and p.flags & PACKET_SKIPPED and r.first > r.largest_acked:
            break
        r.frame_first = p.first_frame + p.frame_count
        r.first += 1
    if r.acked.count and r.acked.items[0].low < r.first:
        ranges_remove_below(&r.acked, r.first)
    if r.recovered.count:
        ranges_remove_below(&r.recovered, r.first)


cdef void for_frames(Recovery* r, const SentPacket* p, bint acked) noexcept nogil:
    cdef uint64_t n
    for n in range(p.first_frame, p.first_frame + p.frame_count):
        r.sink(r.owner, &r.frames[n & (r.frame_capacity - 1)], acked)


cdef void recovery_ack_begin(Recovery* r, int64_t now_ns) noexcept nogil:
    memset(&r.event, 0, sizeof(AckEvent))
    r.event_ect_packets = 0
    r.event.now_ns = now_ns
    r.event.prior_in_flight = r.in_flight


cdef void on_spurious(Recovery* r, uint64_t number, int64_t now_ns) noexcept nogil:
    cdef uint64_t distance = r.largest_acked - number + 1 if r.largest_acked > number else 1
    r.packets_spurious += 1
    meter_on_spurious(&r.losses)
    r.reorder_seen_at = r.next
    if distance > MAX_PACKET_THRESHOLD:
        distance = MAX_PACKET_THRESHOLD
    if distance + distance // 2 > r.packet_threshold:
        r.packet_threshold = <uint32_t> (distance + distance // 2)
    if r.time_threshold_8th < MAX_TIME_EIGHTHS:
        r.time_threshold_8th += 1
    r.controller.algorithm.on_spurious(&r.controller, now_ns)


cdef bint follows_a_loss(const Recovery* r, uint64_t number) noexcept nogil:
    """Tell whether the packet sent before *number* was lost as well."""
    cdef const SentPacket* p
    while number > r.first:
        number -= 1
        p = packet(r, number)
        if p.state != SENT_NOTHING:
            return p.state >= SENT_LOST
    return False


cdef void note_lost(Recovery* r, const SentPacket* p) noexcept nogil:
    """Count an ack-eliciting packet that was in flight as lost."""
    r.in_flight -= p.bytes
    r.eliciting_in_flight -= 1
    r.packets_lost += 1
    r.bytes_lost += p.bytes
    r.delivery.lost += p.bytes
    r.event.lost_bytes += p.bytes
    r.event.lost_packets += 1
    r.event.newest_lost_bytes = p.bytes
    r.event.newest_lost_in_flight = p.snapshot.in_flight
    r.event.newest_lost_since = r.delivery.lost - p.snapshot.lost
    r.event.newest_lost_app_limited = p.snapshot.app_limited
    if p.sent_ns > r.event.largest_sent_ns:
        r.event.largest_sent_ns = p.sent_ns


cdef bint mark_acked(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil:
    """Mark [low, high), none of which was acknowledged before; False at a number skipped on purpose."""
    cdef uint64_t n, arrived = 0
    cdef SentPacket* p
    cdef bint rebuilt
    for n in range(low, high):
        p = packet(r, n)
        if p.state == SENT_ACKED:
            continue
        if p.state == SENT_NOTHING:
            if p.flags & PACKET_SKIPPED:
                return False
            continue
        rebuilt = p.state == SENT_RECOVERED
        if p.state >= SENT_LOST:
            on_spurious(r, n, now_ns)
        else:
            arrived += 1
            if p.flags & PACKET_ELICITING:
                r.in_flight -= p.bytes
                r.eliciting_in_flight -= 1
        p.state = SENT_ACKED
        r.packets_acked += 1
        if p.flags & PACKET_ECT:
            r.ecn.acked += 1
            r.event_ect_packets += 1
            r.event.ecn_acked_bytes += p.bytes
        if p.bytes:
            r.event.acked_bytes += p.bytes
            delivery_on_acked(&r.delivery, &r.event.sample, &p.snapshot, p.sent_ns, p.bytes, now_ns)
            if p.sent_ns > r.event.largest_sent_ns:
                r.event.largest_sent_ns = p.sent_ns
        if not rebuilt:
            for_frames(r, p, True)
    meter_on_acked(&r.losses, arrived)
    return True


cdef bint mark_recovered(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil:
    """Mark [low, high): lost for the controller, and delivered for those whose frames they carried."""
    cdef uint64_t n, lost = 0, runs = 0
    cdef SentPacket* p
    for n in range(low, high):
        p = packet(r, n)
        if p.state == SENT_NOTHING and p.flags & PACKET_SKIPPED:
            return False
        if p.state != SENT_IN_FLIGHT and p.state != SENT_LOST:
            continue
        if p.state == SENT_IN_FLIGHT:
            lost += 1
            if not follows_a_loss(r, n):
                runs += 1
                r.event.lost_runs += 1
            if p.flags & PACKET_ELICITING:
                note_lost(r, p)
        p.state = SENT_RECOVERED
        r.packets_recovered += 1
        for_frames(r, p, True)
    if lost:
        meter_on_lost(&r.losses, lost, runs)
    return True


cdef bint recovery_ack_range(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil:
    """Mark [low, high] as acknowledged; False when a number in it was never used, or was skipped on purpose.

    Costs what is new in the range, and a search: not what earlier ACKs said already.
    """
    #= 5.2: An endpoint MUST close with PROTOCOL_VIOLATION when it receives an acknowledgement, in a frame or in the header, of a packet number that it has not sent or has skipped on purpose.
    if high >= r.next:
        return False
    return mark_new(r, &r.acked, mark_acked, low, high + 1, now_ns)


cdef bint recovery_recovered_range(Recovery* r, uint64_t low, uint64_t high, int64_t now_ns) noexcept nogil:
    """Mark [low, high] as lost and rebuilt; False as for recovery_ack_range, which comes first for all of an ACK."""
    #= 5.2: This holds for recovered ranges too.
    if high >= r.next:
        return False
    return mark_new(r, &r.recovered, mark_recovered, low, high + 1, now_ns)


cdef bint mark_new(Recovery* r, RangeSet* known, Mark mark, uint64_t low, uint64_t end, int64_t now_ns) noexcept nogil:
    """Mark what of [low, end) is not in *known*, and enter it there."""
    cdef unsigned int at
    cdef uint64_t stop, next
    if low < r.first:
        low = r.first
    if low >= end:
        return True
    next = low
    at = ranges_find(known, low)
    while next < end:
        stop = end
        if at < known.count:
            if known.items[at].low <= next:
                next = known.items[at].high
                at += 1
                continue
            if known.items[at].low < stop:
                stop = known.items[at].low
        if not mark(r, next, stop, now_ns):
            return False
        next = stop
    # Without memory the numbers are only looked at again.
    ranges_add(known, low, end)
    return True


cdef void recovery_ack_largest(Recovery* r, uint64_t largest, int64_t ack_delay_ns, int64_t now_ns) noexcept nogil:
    """Take the round-trip sample of an ACK frame; called before its ranges are marked."""
    cdef SentPacket* p
    if largest >= r.first and largest < r.next:
        p = packet(r, largest)
        if p.state == SENT_IN_FLIGHT and p.flags & PACKET_ELICITING:
            if ack_delay_ns > r.max_ack_delay_ns:
                ack_delay_ns = r.max_ack_delay_ns
            rtt_update(&r.rtt, now_ns - p.sent_ns, ack_delay_ns)
            r.event.latest_rtt_ns = r.rtt.latest_ns
    if not r.acked_any or largest > r.largest_acked:
        r.acked_any = True
        r.largest_acked = largest


cdef void recovery_ack_counts(Recovery* r, bint is_newest, const uint64_t* counts) noexcept nogil:
    """Take the ECN counts of an ACK frame, NULL for none; *is_newest* tells whether it raised `largest`.

    Called after its ranges. An older ACK that comes late says nothing: its counts are smaller, rightly.
    """
    cdef uint64_t more
    if not is_newest:
        return
    if counts == NULL:
        ecn_on_no_counts(&r.ecn)
        return
    more = ecn_on_counts(&r.ecn, counts)
    if more == 0:
        return
    # The counts are in packets, a controller's in bytes: what was marked is as large as what was acknowledged.
    if r.event_ect_packets and more <= r.event_ect_packets:
        r.event.marked_bytes = r.event.ecn_acked_bytes * more // r.event_ect_packets
    else:
        r.event.marked_bytes = more * r.controller.datagram_bytes
    if r.event.ecn_acked_bytes < r.event.marked_bytes:
        r.event.ecn_acked_bytes = r.event.marked_bytes


cdef bint recovery_set_controller(Recovery* r, uint8_t controller, int64_t now_ns) noexcept nogil:
    """Go on with another controller, from the present window and round trip; False without memory."""
    if not controller_switch(&r.controller, controller, now_ns, r.rtt.smoothed_ns, r.next):
        return False
    pacer_set_rate(&r.pacer, r.controller.pacing_rate, r.controller.datagram_bytes, now_ns)
    return True


cdef void detect_losses(Recovery* r, int64_t now_ns) noexcept nogil:
    cdef int64_t base = r.rtt.smoothed_ns if r.rtt.smoothed_ns > r.rtt.latest_ns else r.rtt.latest_ns
    cdef int64_t delay = base + base * r.time_threshold_8th // 8, lost_before
    # When the first packet of the present run of losses left, 0 between runs; and the longest run.
    cdef int64_t run_from = 0, longest = 0, grace
    cdef uint64_t n, end, lost = 0, runs = 0
    cdef SentPacket* p
    r.loss_ns = 0
    if not r.acked_any:
        return
    if delay < 1_000_000:
        delay = 1_000_000
    if r.packet_threshold > INITIAL_PACKET_THRESHOLD and r.next - r.reorder_seen_at > REORDER_MEMORY_PACKETS:
        r.packet_threshold = INITIAL_PACKET_THRESHOLD
        r.time_threshold_8th = INITIAL_TIME_EIGHTHS
    lost_before = now_ns - delay
    end = r.largest_acked if r.largest_acked < r.next else r.next
    if r.first_in_flight < r.first:
        r.first_in_flight = r.first
    for n in range(r.first_in_flight, end):
        p = packet(r, n)
        if p.state != SENT_IN_FLIGHT:
            if n == r.first_in_flight:
                r.first_in_flight += 1
            if p.state == SENT_ACKED and p.flags & PACKET_ELICITING:
                run_from = 0
            continue
        # A source of a repair block is not sent again before its repairs can have been reported.
        grace = base // REPAIR_GRACE if p.flags & PACKET_SOURCE else 0
        if p.sent_ns + grace <= lost_before or (grace == 0 and r.largest_acked - n >= r.packet_threshold):
            p.state = SENT_LOST
            lost += 1
            runs += not follows_a_loss(r, n)
            if p.flags & PACKET_ELICITING:
                note_lost(r, p)
                if run_from == 0:
                    run_from = p.sent_ns
                    r.event.lost_runs += 1
                if p.sent_ns - run_from > longest:
                    longest = p.sent_ns - run_from
            for_frames(r, p, False)
        else:
            # Sent in order, so the first one that is not late is the next to become late, sources apart.
            if r.loss_ns == 0 or p.sent_ns + grace + delay < r.loss_ns:
                r.loss_ns = p.sent_ns + grace + delay
            if grace == 0:
                break
    if lost:
        meter_on_lost(&r.losses, lost, runs)
    # Persistent congestion (RFC 9002 7.6): everything sent over more than three probe timeouts was lost.
    # The ACK that shows it acknowledges something later, so what is acknowledged now does not count.
    if longest and r.rtt.sampled and longest > 3 * rtt_probe_timeout_ns(&r.rtt, r.max_ack_delay_ns):
        r.persistent_events += 1
        r.controller.algorithm.on_persistent(&r.controller, now_ns)


cdef void finish(Recovery* r, int64_t now_ns) noexcept nogil:
    r.event.in_flight = r.in_flight
    r.event.delivered = r.delivery.delivered
    r.event.smoothed_rtt_ns = r.rtt.smoothed_ns
    r.event.minimum_rtt_ns = r.rtt.minimum_ns
    if r.event.acked_bytes or r.event.lost_bytes:
        delivery_finish(&r.delivery, &r.event.sample, r.rtt.minimum_ns)
        r.controller.algorithm.on_ack(&r.controller, &r.event)
        # Below a millisecond of round trip the window paces well enough, and timers do not.
        pacer_set_rate(&r.pacer, 0 if r.rtt.sampled and r.rtt.smoothed_ns < 1_000_000 else r.controller.pacing_rate,
                       r.controller.datagram_bytes, now_ns)
        if r.controller.small_bursts:
            pacer_limit_burst(&r.pacer, SMALL_BURST_PACKETS * r.controller.datagram_bytes)
    advance(r, now_ns)


cdef void recovery_ack_end(Recovery* r, bint from_frame, int64_t now_ns) noexcept nogil:
    """Declare losses (for ACK frames) and tell the controller."""
    if r.event.acked_bytes:
        r.probe_count = 0
        r.probes_owed = 0
    if from_frame:
        detect_losses(r, now_ns)
    finish(r, now_ns)


cdef void recovery_on_loss_timer(Recovery* r, int64_t now_ns) noexcept nogil:
    recovery_ack_begin(r, now_ns)
    detect_losses(r, now_ns)
    finish(r, now_ns)


cdef void recovery_on_probe_timer(Recovery* r, int64_t now_ns) noexcept nogil:
    """Owe 1, 2, 4, then 8 probes, with the oldest unacknowledged content queued again for two of them."""
    cdef uint64_t n
    cdef unsigned int queued = 0
    cdef SentPacket* p
    r.probe_count += 1
    ecn_on_probe_timeout(&r.ecn, r.probe_count)
    r.probes_owed = 1 << (r.probe_count - 1) if r.probe_count < 4 else MAX_PROBES
    for n in range(r.first, r.next):
        p = packet(r, n)
        if p.state == SENT_IN_FLIGHT and p.flags & PACKET_ELICITING:
            for_frames(r, p, False)
            queued += 1
            if queued >= r.probes_owed or queued >= FULL_PROBES:
                break


cdef int64_t recovery_probe_timeout_ns(const Recovery* r) noexcept nogil:
    """Return the probe timeout with its back-off, late and capped as section 7 says."""
    cdef int64_t timeout = rtt_probe_timeout_ns(&r.rtt, r.max_ack_delay_ns)
    cdef int64_t cap = 3 * r.rtt.smoothed_ns
    cdef uint32_t doublings = r.probe_count - STEADY_EXPIRIES if r.probe_count > STEADY_EXPIRIES else 0
    if cap < r.probe_cap_ns:
        cap = r.probe_cap_ns
    if cap < timeout:
        cap = timeout
    while doublings:
        doublings -= 1
        timeout *= 2
        if timeout >= cap:
            return cap
    return timeout


cdef int64_t recovery_timer_ns(const Recovery* r) noexcept nogil:
    """Return when loss detection or a probe is due, 0 for never."""
    if r.loss_ns:
        return r.loss_ns
    if r.eliciting_in_flight == 0:
        return 0
    return r.last_eliciting_ns + recovery_probe_timeout_ns(r)
