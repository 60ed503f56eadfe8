"""`Address` and `Datagram`: the plain structs that the core and the sockets share.

Everything here is inline C on plain memory: no object, no allocation, no Python. It knows nothing
of socket calls or of what a datagram means.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset


cdef struct Address:
    # Compare and hash through the functions below only: a struct built by hand may hold junk in
    # its padding and, for family 4, in ip[4:16].
    uint8_t family      # 4 or 6; 0 is "no address"
    uint16_t port       # host order
    uint8_t ip[16]      # network order; family 4 uses the first four
    uint32_t scope      # IPv6 zone index, else 0


cdef struct Datagram:
    uint8_t* data
    uint32_t length
    Address peer
    uint8_t ecn         # the two ECN bits: 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE


cdef inline void address_clear(Address* address) noexcept nogil:
    """Make *address* the one that names nobody."""
    memset(address, 0, sizeof(Address))


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


cdef inline bint address_same_host(const Address* a, const Address* b) noexcept nogil:
    """Tell whether both name the same host, whatever the port."""
    return (
        a.family == b.family
        and a.scope == b.scope
        and memcmp(a.ip, b.ip, address_ip_length(a)) == 0
    )


cdef inline uint64_t address_hash(const Address* address, uint64_t seed) noexcept nogil:
    """Mix *address* into 64 bits.

    The seed belongs to the process and stays secret: it keeps a peer who picks source ports from
    aiming at one bucket. It is no MAC.
    """
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    cdef uint64_t h
    if address.family == 4:
        memcpy(&low, address.ip, 4)
    elif address.family == 6:
        memcpy(&low, address.ip, 8)
        memcpy(&high, address.ip + 8, 8)
    h = seed ^ (<uint64_t> address.port << 40) ^ (<uint64_t> address.family << 32) ^ address.scope
    h = _mix(h ^ low)
    h = _mix(h ^ high)
    return _mix(h ^ seed)


cdef inline uint64_t _mix(uint64_t h) noexcept nogil:
    # The finaliser of MurmurHash3: every input bit reaches every output bit.
    h ^= h >> 33
    h *= <uint64_t> 0xFF51AFD7ED558CCD
    h ^= h >> 33
    h *= <uint64_t> 0xC4CEB9FE1A85EC53
    h ^= h >> 33
    return h
