"""How many packets a path loses, and how many in a row: what redundancy is chosen from.

Counts packets of one direction, those with nothing but ACK included; knows nothing of time, bytes or
congestion. Two windows are kept. The short one notices within tens of packets that losses began, the long one
knows rare losses. The share is the larger of both, because too much redundancy for a while costs less
than too little.
"""

from libc.stdint cimport uint64_t

cdef enum:
    # A window that holds twice so many packets is halved: it remembers between one and two of them.
    FIRST_PACKETS = 32
    SHORT_WINDOW_PACKETS = 128
    LONG_WINDOW_PACKETS = 2048
    # An empty window says nothing: fewer packets than FIRST_PACKETS count as part of so many.
    # So many packets without a loss, and there is no loss on this path.
    CLEAN_PACKETS = 8192
    # So many, when there never was one, and what was assumed is taken back.
    TRUST_PACKETS = 512


cdef struct LossMeter:
    double short_packets        # acknowledged or lost, in the short window
    double short_lost
    double long_packets         # the same in the long one
    double long_lost
    double runs                 # runs of consecutive losses in the long window
    uint64_t since_loss         # packets acknowledged since the last loss
    bint assumed                # nothing was lost yet: the share is an assumption


cdef inline void meter_init(LossMeter* m, double share, double burst) noexcept nogil:
    """Start as if *share* of a short window had been lost in runs of *burst*; 0: assume nothing."""
    m.short_packets = m.long_packets = SHORT_WINDOW_PACKETS if share > 0 else 0
    m.short_lost = m.long_lost = share * SHORT_WINDOW_PACKETS
    m.runs = m.long_lost / burst if burst > 1 else m.long_lost
    m.since_loss = 0
    m.assumed = share > 0


cdef inline void meter_forget(LossMeter* m) noexcept nogil:
    if m.short_packets >= 2 * SHORT_WINDOW_PACKETS:
        m.short_packets /= 2
        m.short_lost /= 2
    if m.long_packets >= 2 * LONG_WINDOW_PACKETS:
        m.long_packets /= 2
        m.long_lost /= 2
        m.runs /= 2


cdef inline void meter_on_acked(LossMeter* m, uint64_t packets) noexcept nogil:
    """Note that so many packets arrived."""
    m.short_packets += <double> packets
    m.long_packets += <double> packets
    m.since_loss += packets
    if m.since_loss >= CLEAN_PACKETS or (m.assumed and m.since_loss >= TRUST_PACKETS):
        m.short_lost = m.long_lost = m.runs = 0
        m.assumed = False
    meter_forget(m)


cdef inline void meter_on_lost(LossMeter* m, uint64_t packets, uint64_t runs) noexcept nogil:
    """Note that so many packets were lost, and so many runs of consecutive losses began with them."""
    m.short_packets += <double> packets
    m.short_lost += <double> packets
    m.long_packets += <double> packets
    m.long_lost += <double> packets
    m.runs += <double> runs
    m.since_loss = 0
    m.assumed = False
    meter_forget(m)


cdef inline void meter_on_spurious(LossMeter* m) noexcept nogil:
    """Take one loss back: the packet was late."""
    cdef double long_lost = m.long_lost
    # The packet itself stays counted: it arrived.
    m.short_lost = m.short_lost - 1 if m.short_lost > 1 else 0
    m.long_lost = long_lost - 1 if long_lost > 1 else 0
    m.runs = m.runs * m.long_lost / long_lost if long_lost > 0 else 0


cdef inline double meter_share(const LossMeter* m) noexcept nogil:
    """Return the smoothed share of packets lost, 0 to 1."""
    cdef double brief = m.short_lost / (m.short_packets if m.short_packets > FIRST_PACKETS else FIRST_PACKETS)
    cdef double lasting = m.long_lost / (m.long_packets if m.long_packets > FIRST_PACKETS else FIRST_PACKETS)
    cdef double share = brief if brief > lasting else lasting
    return share if share < 1 else 1


cdef inline double meter_burst(const LossMeter* m) noexcept nogil:
    """Return the mean number of packets lost in a row, at least 1."""
    return m.long_lost / m.runs if m.runs > 0 and m.long_lost > m.runs else 1
