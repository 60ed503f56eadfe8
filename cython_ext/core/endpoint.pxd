"""Many connections behind one address: routing, handshakes, timers. Sans-IO."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cython_ext.abi.datagram cimport Address
from cython_ext.core.conn cimport Conn
from cython_ext.core.connection cimport Connection
from cython_ext.core.inbox cimport Inbox
from cython_ext.core.params cimport Params
from cython_ext.core.table cimport ConnectionTable
from cython_ext.wire.header cimport VERDICTS, Header, Verdict


cdef class Endpoint(ConnectionTable):
    cdef Params params
    cdef object entropy
    cdef bytes seed                     # Ed25519 private seed; None when this endpoint only connects
    cdef object signer                  # of the seed; None like it
    cdef bytes pin
    cdef bytes mac_key
    cdef bytes reset_secret
    cdef bytes offer                    # our parameters, encoded
    cdef dict handles                   # serial -> Connection, until the connection is CLOSED
    cdef dict hellos                    # address bytes || client id -> Connection, server side
    cdef uint64_t serials
    cdef uint32_t half_open
    cdef uint32_t clients               # connections that we opened; servers search none for a reset
    cdef Inbox backlog                  # handshake datagrams that wait for the GIL: Address || datagram
    cdef Inbox outbox                   # datagrams of no connection, or of a handshake: Address || datagram
    cdef int64_t answers_refilled_ns    # rate of version negotiations and stateless resets
    cdef double answers_left
    cdef readonly bint is_closed
    cdef uint64_t[VERDICTS] drops
    cdef uint64_t datagrams_received
    cdef uint64_t version_negotiated

    cdef void handle_train(self, uint8_t* data, uint32_t length, uint32_t segment, const Address* peer, uint8_t ecn,
                           int64_t now_ns) noexcept nogil
    cdef Verdict handle_one(self, uint8_t* data, uint32_t length, const Address* peer, uint8_t ecn, int64_t now_ns) noexcept nogil
    cdef Verdict route(self, const Header* header, uint8_t* data, uint32_t length, const Address* peer, uint8_t ecn,
                       int64_t now_ns) noexcept nogil
    cdef void handle_timers(self, int64_t now_ns) noexcept nogil
    cdef int64_t next_timer(self) noexcept nogil
    cdef bint take_outbox(self, Address* peer, uint8_t* out, uint32_t* length) noexcept nogil
    cdef bint may_answer(self, int64_t now_ns) noexcept nogil
    cdef void send_reset(self, const Header* header, const Address* peer) noexcept
    cdef bint post(self, const Address* peer, bytes datagram)
    cdef Verdict handle_version_negotiation(self, const Header* header, const uint8_t* data, uint32_t length,
                                            const Address* peer) noexcept nogil
    cdef Verdict handle_reset(self, const Header* header, const uint8_t* data, uint32_t length, const Address* peer,
                              int64_t now_ns) noexcept nogil
    cdef int negotiate_version(self, bytes id, const Address* peer) except -1
    cdef bytes new_id(self, int64_t now_ns, bint server)
    cdef Connection new_connection(self, bytes own_id, const Address* peer, bint is_client, int64_t now_ns)
    cdef int send_hello(self, Connection handle, int64_t now_ns) except -1
    cdef Verdict handle_hello(self, bytes datagram, const Address* peer, int64_t now_ns) except *
    cdef int answer_hello(self, Connection handle, uint64_t number, int64_t now_ns) except -1
    cdef Verdict handle_server_hello(self, bytes datagram, const Address* peer, int64_t now_ns) except *
    cdef int start(self, Connection handle, bytes seal_secret, bytes open_secret, int64_t now_ns) except -1
    cdef Verdict handle_finished(self, bytes datagram, const Address* peer, int64_t now_ns) except *
    cdef void repeat(self, uint64_t serial, int64_t now_ns) noexcept
    cdef int forget(self, Connection handle) except -1
    cpdef object process_backlog(self, int64_t now_ns)
    cpdef object reap(self)
