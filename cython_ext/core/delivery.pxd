"""Delivery-rate samples from send-time snapshots (draft-ietf-ccwg-bbr section 4.1).

The snapshot is taken when a packet leaves, so compressed ACKs cannot inflate the rate.
"""

from libc.stdint cimport int64_t, uint64_t


cdef struct Snapshot:
    uint64_t delivered          # bytes delivered when the packet left
    uint64_t lost               # bytes declared lost when it left
    int64_t delivered_ns        # when `delivered` last grew
    int64_t first_sent_ns       # when the flight that it belongs to began
    uint64_t in_flight          # bytes in flight just after it left
    bint app_limited


cdef struct Delivery:
    uint64_t delivered
    uint64_t lost
    int64_t delivered_ns
    int64_t first_sent_ns
    uint64_t app_limited_until  # app-limited until `delivered` passes it; 0 = not


cdef struct RateSample:
    bint valid
    uint64_t rate               # bytes per second
    uint64_t prior_delivered    # `delivered` when the newest packet acknowledged was sent
    uint64_t delivered          # bytes delivered over the sample
    uint64_t lost               # bytes lost between the send of that packet and now
    uint64_t in_flight          # bytes in flight when it was sent
    int64_t interval_ns
    int64_t sent_ns             # of the newest packet acknowledged; chooses among those of one ACK
    bint app_limited
    Snapshot snapshot


cdef inline void delivery_on_sent(Delivery* d, Snapshot* s, int64_t now_ns, uint64_t in_flight_before, uint64_t bytes) noexcept nogil:
    if in_flight_before == 0:
        d.first_sent_ns = now_ns
        d.delivered_ns = now_ns
    s.delivered = d.delivered
    s.lost = d.lost
    s.delivered_ns = d.delivered_ns
    s.first_sent_ns = d.first_sent_ns
    s.in_flight = in_flight_before + bytes
    s.app_limited = d.app_limited_until != 0


cdef inline void delivery_on_acked(Delivery* d, RateSample* sample, const Snapshot* s, int64_t sent_ns, uint64_t bytes, int64_t now_ns) noexcept nogil:
    d.delivered += bytes
    d.delivered_ns = now_ns
    # The packet sent last decides: it has the freshest snapshot.
    if not sample.valid or s.delivered > sample.prior_delivered or (
            s.delivered == sample.prior_delivered and sent_ns > sample.sent_ns):
        sample.valid = True
        sample.prior_delivered = s.delivered
        sample.sent_ns = sent_ns
        sample.app_limited = s.app_limited
        sample.in_flight = s.in_flight
        sample.snapshot = s[0]
        d.first_sent_ns = sent_ns


cdef inline void delivery_finish(Delivery* d, RateSample* sample, int64_t minimum_rtt_ns) noexcept nogil:
    """Turn what one ACK brought into a rate; intervals below the minimum round trip are no samples."""
    cdef int64_t send_ns, ack_ns
    if d.app_limited_until and d.delivered > d.app_limited_until:
        d.app_limited_until = 0
    if not sample.valid:
        return
    send_ns = sample.sent_ns - sample.snapshot.first_sent_ns
    ack_ns = d.delivered_ns - sample.snapshot.delivered_ns
    sample.interval_ns = send_ns if send_ns > ack_ns else ack_ns
    sample.delivered = d.delivered - sample.prior_delivered
    sample.lost = d.lost - sample.snapshot.lost
    if sample.interval_ns < minimum_rtt_ns or sample.interval_ns <= 0:
        sample.rate = 0
        return
    sample.rate = <uint64_t> (<double> sample.delivered * 1e9 / <double> sample.interval_ns)
