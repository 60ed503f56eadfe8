"""Addresses between Python's (host, port) and the core's struct, and datagrams that wait with theirs."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from cython_ext.abi.datagram cimport Address, address_set_v4, address_set_v6
from cython_ext.core.inbox cimport Inbox, inbox_first_length, inbox_pop, inbox_push

import socket


cdef object address_to_python(const Address* a):
    """Return (host, port)."""
    if a.family == 4:
        return socket.inet_ntop(socket.AF_INET, (<const uint8_t*> a.ip)[:4]), a.port
    return socket.inet_ntop(socket.AF_INET6, (<const uint8_t*> a.ip)[:16]), a.port


cdef bint address_from_python(Address* a, object address) except False:
    """Fill *a* from (host, port), or (host, port, flow info, scope); hosts are numeric."""
    cdef bytes packed
    host = address[0]
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        address_set_v6(a, <const uint8_t*> PyBytes_AS_STRING(packed), address[1], address[3] if len(address) > 3 else 0)
    else:
        packed = socket.inet_pton(socket.AF_INET, host)
        address_set_v4(a, <const uint8_t*> PyBytes_AS_STRING(packed), address[1])
    return True


cdef bytes address_key(const Address* a):
    """Return bytes that are equal exactly for equal addresses."""
    return (<const uint8_t*> a.ip)[:4 if a.family == 4 else 16] + a.port.to_bytes(2, "big")


cdef bint push_addressed(Inbox* box, const Address* peer, const uint8_t* data, uint32_t length) noexcept nogil:
    """Append Address || datagram; datagrams above 1,500 bytes are no handshake of ours."""
    cdef uint8_t[2048] record
    if length > 1500:
        return False
    memcpy(record, peer, sizeof(Address))
    memcpy(&record[sizeof(Address)], data, length)
    return inbox_push(box, record, <uint32_t> sizeof(Address) + length)


cdef bint pop_addressed(Inbox* box, Address* peer, uint8_t* out, uint32_t* length) noexcept nogil:
    """Move the oldest datagram to *out*, which has room for 1,500 bytes; False when there is none."""
    cdef uint8_t[2048] record
    if box.count == 0:
        return False
    length[0] = inbox_first_length(box) - <uint32_t> sizeof(Address)
    inbox_pop(box, record)
    memcpy(peer, record, sizeof(Address))
    memcpy(out, &record[sizeof(Address)], length[0])
    return True
