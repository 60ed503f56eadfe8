"""What is repaired, and with how much: the policy of docs/adr/0011.

Bulk is left to retransmission; its tail, what leaves last before the sender runs dry, is protected. How many parities a
block gets follows from the measured share and runs of losses and from the round trip. No state of its own: the
block stands in `Conn.repair_out`.
"""

from libc.stdint cimport int64_t, uint32_t

from cython_ext.core.conn cimport Conn
from cython_ext.core.params cimport FEC_ALWAYS

# Whether anything may have to be protected at all: one look, for every packet of every connection.
cdef inline bint protection_is_on(const Conn* c) noexcept nogil:
    return c.fec and (c.recovery.losses.long_lost > 0 or c.fec == FEC_ALWAYS)

# Parities for a block of *sources*, so that it fails rarely enough; 0: it needs none.
cdef uint32_t protection_parities(const Conn* c, uint32_t sources) noexcept nogil
# The same from the share of packets lost, their mean run and the round trip; *sources* is at most MAX_BLOCK_SOURCES.
cdef uint32_t parities_for(double share, double burst, int64_t round_trip_ns, uint32_t sources) noexcept nogil

# Tell whether the packet that is built next is to be in a block, and open one when none is. *head* receives how
# many bytes it leaves free.
cdef bint protection_wants(Conn* c, uint32_t* head, int64_t now_ns) noexcept nogil

# Close the open block when its time has come (or, with *dry*, when nothing is left to send), and drop parities
# that help nobody any more. True when one is due. Sets `Conn.repair_at_ns`, and frees what was quiet for long.
cdef bint protection_poll(Conn* c, bint dry, int64_t now_ns) noexcept nogil
cdef void protection_close(Conn* c, int64_t now_ns) noexcept nogil
