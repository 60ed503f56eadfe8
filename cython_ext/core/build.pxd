"""A packet while it is being built: where the next byte goes, and what went in so far."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cython_ext.core.conn cimport Conn
from cython_ext.core.recovery cimport recovery_add_frame
from cython_ext.wire.cursor cimport Writer, writer_left

cdef enum:
    # More frames than this do not go into one packet; the ledger reserves so many at once.
    MAX_FRAMES = 64
    # A control frame takes at most so many bytes; below that room nothing more is tried.
    MIN_ROOM = 32


cdef struct Build:
    Writer w
    uint32_t frames             # entered into the ledger
    bint eliciting
    bint anything
    bint has_messages           # MESSAGE, MESSAGE_PART or MESSAGE_EXPIRED
    bint has_stream


cdef inline bint room(const Build* b) noexcept nogil:
    return b.frames < MAX_FRAMES and writer_left(&b.w) >= MIN_ROOM


cdef inline void enter(Conn* c, Build* b, uint8_t kind, uint64_t id, uint64_t low, uint64_t high) noexcept nogil:
    """Note a frame in the ledger."""
    recovery_add_frame(&c.recovery, kind, id, low, high)
    b.frames += 1
    b.eliciting = True
    b.anything = True
