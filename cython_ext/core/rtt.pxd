"""The round-trip estimator of RFC 6298 with RFC 9002's ack delay, and without a one-second floor."""

from libc.stdint cimport int64_t

cdef enum:
    # The clock of the datagram path is finer than this; it keeps the probe timeout above scheduling noise.
    GRANULARITY_NS = 1_000_000


cdef struct Rtt:
    int64_t latest_ns
    int64_t smoothed_ns         # the initial value until the first sample
    int64_t variation_ns
    int64_t minimum_ns          # over the life of the connection; 0 before any sample
    int64_t undelayed_ns        # the same without the delays that the peer reported: its word is taken for them
    bint sampled


cdef inline void rtt_init(Rtt* rtt, int64_t initial_ns) noexcept nogil:
    rtt.latest_ns = 0
    rtt.smoothed_ns = initial_ns
    rtt.variation_ns = initial_ns // 2
    rtt.minimum_ns = 0
    rtt.undelayed_ns = 0
    rtt.sampled = False


cdef inline void rtt_update(Rtt* rtt, int64_t sample_ns, int64_t ack_delay_ns) noexcept nogil:
    """Take in a sample; the delay is taken out unless that falls below the minimum (RFC 9002 5.3)."""
    cdef int64_t error
    if sample_ns < 1:
        sample_ns = 1
    if sample_ns > ack_delay_ns and (rtt.undelayed_ns == 0 or sample_ns - ack_delay_ns < rtt.undelayed_ns):
        rtt.undelayed_ns = sample_ns - ack_delay_ns
    if rtt.minimum_ns == 0 or sample_ns < rtt.minimum_ns:
        rtt.minimum_ns = sample_ns
    if sample_ns - ack_delay_ns >= rtt.minimum_ns:
        sample_ns -= ack_delay_ns
    rtt.latest_ns = sample_ns
    if not rtt.sampled:
        rtt.sampled = True
        rtt.smoothed_ns = sample_ns
        rtt.variation_ns = sample_ns // 2
        return
    error = rtt.smoothed_ns - sample_ns
    if error < 0:
        error = -error
    # beta = 1/4, alpha = 1/8 (RFC 6298 section 2.3)
    rtt.variation_ns += (error - rtt.variation_ns) // 4
    rtt.smoothed_ns += (sample_ns - rtt.smoothed_ns) // 8


cdef inline int64_t rtt_probe_timeout_ns(const Rtt* rtt, int64_t max_ack_delay_ns) noexcept nogil:
    """Return smoothed + max(4 x variation, 1 ms) + max_ack_delay (docs/protocol.md section 7)."""
    cdef int64_t spread = 4 * rtt.variation_ns
    if spread < GRANULARITY_NS:
        spread = GRANULARITY_NS
    return rtt.smoothed_ns + spread + max_ack_delay_ns
