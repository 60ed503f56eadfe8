"""RecvBatch and SendBatch: whole trains of datagrams in one system call each way.

Memory is taken once, at construction. Nothing here allocates, raises or takes the GIL per
datagram. Neither class owns the descriptor, and neither knows what a datagram means.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from cython_ext.abi.datagram cimport Address
from cython_ext.abi.posix cimport iovec, mmsghdr, sockaddr_in6


cdef struct Train:
    # Borrowed: valid, and writable in place, until the next receive() of its batch.
    uint8_t* data
    uint32_t length     # bytes in the whole train, never 0
    uint32_t segment    # bytes per datagram; only the last may be shorter; == length without GRO
    Address peer        # an IPv4 peer of a dual-stack socket is family 4 here
    uint8_t ecn         # the two ECN bits of the (first) packet


cdef struct RecvCounts:
    uint64_t calls          # recvmmsg calls that returned at least one train
    uint64_t trains
    uint64_t datagrams
    uint64_t bytes
    uint64_t truncated      # trains larger than a slot: dropped whole
    uint64_t unaddressed    # trains whose sender has no IP address, or of no bytes: dropped
    uint64_t refused        # ICMP errors that the socket reported in place of data


cdef struct SendCounts:
    uint64_t calls          # sendmmsg calls that moved something
    uint64_t messages       # what the kernel was handed: one GSO run counts once
    uint64_t datagrams
    uint64_t bytes
    uint64_t would_block    # flushes that ended with EAGAIN; the rest was kept
    uint64_t no_buffers     # flushes that ended with ENOBUFS or ENOMEM; the rest was kept
    uint64_t too_big        # datagrams dropped with EMSGSIZE
    uint64_t unreachable    # datagrams dropped with any other error of their own
    uint64_t refused        # ICMP errors of earlier datagrams, reported by a send; nothing dropped
    uint64_t denied         # EPERM answers; the first for a datagram is tried again
    uint64_t split          # GSO runs that had to be sent datagram by datagram
    uint64_t gso_lost       # 1 once GSO was given up on this socket


cdef struct Message:
    uint32_t start      # offset of the first byte in the arena
    uint32_t length     # bytes committed so far
    uint32_t sent       # bytes already with the kernel; a multiple of segment, or length
    uint32_t segments
    uint16_t segment    # size of every datagram but the last
    uint8_t ecn
    bint sealed         # nothing can join: a shorter datagram ended the run
    bint split          # the kernel refused it as a run
    bint is_v6          # what the IP layer will emit, which is what chooses the ECN option
    Address peer
    uint32_t name_length
    sockaddr_in6 name   # large enough for sockaddr_in too


@cython.final
cdef class RecvBatch:
    cdef Train* trains          # `count` of them are valid
    cdef int count
    cdef RecvCounts counts
    cdef readonly int slots
    cdef int _used              # headers that the last call consumed and that must be reset
    cdef size_t _slot_bytes
    cdef uint8_t* _buffers
    cdef uint8_t* _controls
    cdef sockaddr_in6* _names
    cdef iovec* _vectors
    cdef mmsghdr* _headers

    # One recvmmsg, never blocking. Returns the number of trains; 0 if none wait; -errno if the
    # socket is unusable. Every train of the previous call is invalid afterwards.
    cdef int receive(self, int fd) noexcept nogil
    cdef bint _accept(self, int slot, Train* train) noexcept nogil


@cython.final
cdef class SendBatch:
    cdef SendCounts counts
    cdef readonly int slots
    cdef readonly int max_segments
    cdef readonly bint gso
    cdef int blocked_by             # errno that kept the last flush from finishing, else 0
    cdef bint _is_v6
    cdef bint _connected
    cdef uint8_t* _arena
    cdef uint32_t _arena_bytes
    cdef uint32_t _used             # bytes committed
    cdef uint32_t _reserved         # capacity of the open reservation
    cdef Message* _messages         # slots + 1: the spare takes what could not join the last run
    cdef int _count
    cdef int _first                 # first message not yet wholly sent
    cdef bint _retried              # the datagram at the head has had its second chance
    cdef Address _peer              # of the open reservation
    cdef uint8_t* _controls
    cdef iovec* _vectors
    cdef mmsghdr* _headers

    # Room to write one datagram of at most `capacity` bytes to `peer`, in place; NULL when the
    # batch is full or capacity exceeds 65,507. A second reserve without a commit forgets the first.
    cdef uint8_t* reserve(self, const Address* peer, uint32_t capacity) noexcept nogil
    # Send the first `length` bytes of what was reserved; 0 gives the room back. A datagram joins
    # the previous one's GSO run if peer and ECN are equal and it is no longer than the segment.
    cdef void commit(self, uint32_t length, uint8_t ecn) noexcept nogil
    # Hand everything to the kernel, never blocking. Returns messages still pending (`blocked_by`
    # says why), 0 when all went out or were dropped with a count, -errno if the socket is unusable.
    cdef int flush(self, int fd) noexcept nogil
    cdef int pending(self) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef int _build(self) noexcept nogil
    cdef void _advance(self, int sent) noexcept nogil
    cdef int _overcome(self, int error) noexcept nogil
    cdef void _drop_head(self, uint64_t* counter) noexcept nogil
    cdef void _name(self, Message* message) noexcept nogil
