"""Explicit congestion notification: whether to mark what leaves, and what the peer's counts say.

Knows counts and not packets. A path that drops or rewrites marks is found out, and is sent none any more
(docs/protocol.md section 5.2, RFC 9000 section 13.4.2).
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    # Expiries of the probe timer, before any mark was confirmed, that are put down to the marks.
    SUSPICIOUS_EXPIRIES = 2


cdef struct Ecn:
    bint sends              # packets leave with ECT(0)
    bint validated          # the peer's counts have confirmed some
    bint failed             # they, or silence, said that the path does not carry marks
    uint64_t[3] reported    # the peer's newest counts: ECT(0), ECT(1), CE
    uint64_t marked         # CE in all


cdef inline void ecn_fail(Ecn* ecn) noexcept nogil:
    ecn.sends = False
    ecn.failed = True


cdef inline uint64_t ecn_on_counts(Ecn* ecn, const uint64_t* counts, uint64_t acked) noexcept nogil:
    """Take the counts of an ACK that raised `largest` and newly acknowledged *acked* marked packets; return how many CE are new.

    What headers and late ACKs acknowledged is not in *acked*, so neither makes the counts look too small.
    """
    cdef uint64_t more
    cdef int n
    if ecn.failed:
        return 0
    for n in range(3):
        if counts[n] < ecn.reported[n]:
            ecn_fail(ecn)
            return 0
    # Every packet acknowledged was opened, with the mark it left with or with CE in its place. Varints: no sum overflows.
    if counts[0] + counts[2] - ecn.reported[0] - ecn.reported[2] < acked:
        ecn_fail(ecn)
        return 0
    more = counts[2] - ecn.reported[2]
    for n in range(3):
        ecn.reported[n] = counts[n]
    ecn.validated = ecn.validated or counts[0] + counts[2] > 0
    ecn.marked += more
    return more


cdef inline void ecn_on_no_counts(Ecn* ecn, uint64_t acked) noexcept nogil:
    """An ACK that raised `largest` had no counts: then none of the *acked* packets may have left marked."""
    if acked and not ecn.failed:
        ecn_fail(ecn)


cdef inline void ecn_on_probe_timeout(Ecn* ecn, uint32_t expiries) noexcept nogil:
    if ecn.sends and not ecn.validated and expiries >= SUSPICIOUS_EXPIRIES:
        ecn_fail(ecn)
