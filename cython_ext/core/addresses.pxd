"""Addresses as Python writes them, and queues of datagrams with their addresses."""

from libc.stdint cimport uint8_t, uint32_t

from cython_ext.abi.datagram cimport Address
from cython_ext.core.inbox cimport Inbox

cdef object address_to_python(const Address* a)
cdef bint address_from_python(Address* a, object address) except False
cdef bytes address_key(const Address* a)
cdef bint push_addressed(Inbox* box, const Address* peer, const uint8_t* data, uint32_t length) noexcept nogil
cdef bint pop_addressed(Inbox* box, Address* peer, uint8_t* out, uint32_t* length) noexcept nogil
