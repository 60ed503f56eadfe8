"""The traffic keys of one connection and their phases (docs/protocol.md section 4.7)."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cython_ext.crypto.aead cimport Aead

cdef enum:
    # Design limits: an update is due after 2^20 packets and forced before 2^23 (AES-GCM's bound, RFC 9001 6.6).
    UPDATE_AFTER_PACKETS = 1 << 20
    SEAL_LIMIT_PACKETS = 1 << 23

cpdef enum KeyResult:
    OPENED = 0
    NOT_OPENED = 1
    OPENED_NEXT = 2         # the peer moved to the next phase, and so did we


cdef struct TrafficKeys:
    uint8_t suite
    uint8_t phase               # flag URG of what is sealed and of what open_now opens
    bint installed
    Aead seal
    Aead open_now
    Aead open_next              # held ready, so that a flipped bit costs one failed opening and no derivation
    Aead open_previous          # without a key when there is none
    int64_t previous_until_ns
    uint8_t[32] seal_secret
    uint8_t[32] open_next_secret
    uint64_t sealed             # packets sealed with the present key
    uint64_t failures           # packets that did not open, over all keys
    uint64_t updates
    uint64_t phase_first_sent   # lowest packet number sealed in this phase; UINT64_MAX before any
    uint64_t phase_lowest_opened    # lowest number opened in this phase; UINT64_MAX before any
    uint64_t phase_highest_opened   # 0 before any
    uint64_t update_after       # configurable for tests; UPDATE_AFTER_PACKETS

cdef bint keys_install(TrafficKeys* keys, uint8_t suite, const uint8_t* seal_secret, const uint8_t* open_secret) noexcept nogil
cdef void keys_rest(TrafficKeys* keys) noexcept nogil
cdef void keys_clear(TrafficKeys* keys) noexcept nogil
cdef bint keys_seal(TrafficKeys* keys, uint64_t number, const uint8_t* header, uint8_t* text, size_t length) noexcept nogil
cdef KeyResult keys_open(TrafficKeys* keys, uint64_t number, uint8_t phase, const uint8_t* header, uint8_t* text,
                         size_t length, int64_t now_ns, int64_t keep_previous_ns) noexcept nogil
cdef bint keys_update(TrafficKeys* keys, int64_t now_ns, int64_t keep_previous_ns) noexcept nogil
cdef bint keys_update_due(const TrafficKeys* keys, uint64_t largest_acked) noexcept nogil
cdef bint keys_exhausted(const TrafficKeys* keys) noexcept nogil
