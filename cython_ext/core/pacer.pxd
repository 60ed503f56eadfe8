"""A catch-up token bucket: what a late timer missed may be sent at once, up to one burst."""

from libc.stdint cimport int64_t, uint64_t


cdef struct Pacer:
    double tokens_bytes         # what may leave now; at most burst_bytes, negative after an overdraft
    double rate                 # bytes per nanosecond; 0 = unpaced
    double burst_bytes
    int64_t refilled_ns


cdef inline void pacer_init(Pacer* pacer, double burst_bytes, int64_t now_ns) noexcept nogil:
    pacer.tokens_bytes = burst_bytes
    pacer.rate = 0
    pacer.burst_bytes = burst_bytes
    pacer.refilled_ns = now_ns


cdef inline void pacer_refill(Pacer* pacer, int64_t now_ns) noexcept nogil:
    if now_ns <= pacer.refilled_ns:
        return
    if pacer.rate > 0:
        pacer.tokens_bytes += <double> (now_ns - pacer.refilled_ns) * pacer.rate
    if pacer.rate == 0 or pacer.tokens_bytes > pacer.burst_bytes:
        pacer.tokens_bytes = pacer.burst_bytes
    pacer.refilled_ns = now_ns


cdef inline void pacer_set_rate(Pacer* pacer, uint64_t bytes_per_s, uint64_t datagram_bytes, int64_t now_ns) noexcept nogil:
    """Change the rate; tokens earned so far were earned at the old one.

    A burst is 2 ms of traffic, at least 10 packets (quinn, quic-go) and at most one 64-KiB GSO send per
    millisecond of timer lateness.
    """
    cdef double burst
    pacer_refill(pacer, now_ns)
    pacer.rate = <double> bytes_per_s / 1e9
    burst = pacer.rate * 2e6
    if burst < 10.0 * datagram_bytes:
        burst = 10.0 * datagram_bytes
    pacer.burst_bytes = burst


cdef inline void pacer_limit_burst(Pacer* pacer, double burst_bytes) noexcept nogil:
    """Allow no burst above *burst_bytes*, until the rate is set again."""
    if pacer.burst_bytes > burst_bytes:
        pacer.burst_bytes = burst_bytes
        if pacer.tokens_bytes > burst_bytes:
            pacer.tokens_bytes = burst_bytes


cdef inline bint pacer_allows(Pacer* pacer, int64_t now_ns) noexcept nogil:
    pacer_refill(pacer, now_ns)
    return pacer.rate == 0 or pacer.tokens_bytes > 0


cdef inline void pacer_spend(Pacer* pacer, uint64_t bytes) noexcept nogil:
    if pacer.rate > 0:
        pacer.tokens_bytes -= bytes


cdef inline int64_t pacer_next_ns(const Pacer* pacer, uint64_t datagram_bytes) noexcept nogil:
    """Return when half a burst, but at least one packet, has been earned: fewer, larger sends."""
    cdef double wanted = pacer.burst_bytes / 2
    if pacer.rate <= 0:
        return pacer.refilled_ns
    if wanted < datagram_bytes:
        wanted = datagram_bytes
    return pacer.refilled_ns + <int64_t> ((wanted - pacer.tokens_bytes) / pacer.rate) + 1
