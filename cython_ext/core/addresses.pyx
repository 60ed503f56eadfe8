"""Addresses between Python's (host, port) and the core's struct, and datagrams that wait with theirs."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from cython_ext.abi.datagram cimport Address, address_set_v4, address_set_v6
from cython_ext.abi.inet cimport AF_INET, AF_INET6, inet_ntop, inet_pton
from cython_ext.core.inbox cimport Inbox, inbox_first_length, inbox_pop, inbox_push


cdef object address_to_python(const Address* a):
    """Return (host, port)."""
    cdef char[64] text
    inet_ntop(AF_INET if a.family == 4 else AF_INET6, a.ip, text, sizeof(text))
    return (<bytes> text).decode("ascii"), a.port


cdef bint address_from_python(Address* a, object address) except False:
    """Fill *a* from (host, port), or (host, port, flow info, scope); hosts are numeric, else ValueError."""
    cdef uint8_t[16] packed
    cdef bytes host = address[0].partition("%")[0].encode()
    if inet_pton(AF_INET, host, packed) == 1:
        address_set_v4(a, packed, address[1])
    elif inet_pton(AF_INET6, host, packed) == 1:
        address_set_v6(a, packed, address[1], address[3] if len(address) > 3 else 0)
    else:
        raise ValueError(f"{address[0]!r} is no numeric IP address")
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
