"""`Address`: the plain struct that the core and the sockets share.

Everything here is inline C on plain memory: no object, no allocation, no Python. It knows nothing
of socket calls.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset


cdef struct Address:
    # Compare through the functions below only: a struct built by hand may hold junk in
    # its padding and, for family 4, in ip[4:16].
    uint8_t family      # 4 or 6; 0 is "no address"
    uint16_t port       # host order
    uint8_t ip[16]      # network order; family 4 uses the first four
    uint32_t scope      # IPv6 zone index, else 0


cdef inline void address_set_v4(Address* address, const uint8_t* ip, uint16_t port) noexcept nogil:
    """Write an IPv4 address; *ip* is four bytes in network order, *port* in host order."""
    memset(address, 0, sizeof(Address))
    address.family = 4
    address.port = port
    memcpy(address.ip, ip, 4)


cdef inline void address_set_v6(
    Address* address, const uint8_t* ip, uint16_t port, uint32_t scope
) noexcept nogil:
    """Write an IPv6 address; *ip* is sixteen bytes in network order, *port* in host order."""
    memset(address, 0, sizeof(Address))
    address.family = 6
    address.port = port
    address.scope = scope
    memcpy(address.ip, ip, 16)


cdef inline size_t address_ip_length(const Address* address) noexcept nogil:
    """Return how many bytes of `ip` count: 4, 16, or 0 for nobody."""
    if address.family == 4:
        return 4
    return 16 if address.family == 6 else 0


cdef inline bint address_equal(const Address* a, const Address* b) noexcept nogil:
    """Tell whether both name the same host, port and zone."""
    return (
        a.family == b.family
        and a.port == b.port
        and a.scope == b.scope
        and memcmp(a.ip, b.ip, address_ip_length(a)) == 0
    )
