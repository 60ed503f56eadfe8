"""Traffic keys: derivation of the next phase, and which key opens a packet.

The next receive keys are always derived ahead, so no packet makes us run the key schedule.
"""

from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from cython_ext.abi.openssl cimport EVP_sha256, HMAC, OPENSSL_cleanse
from cython_ext.crypto.aead cimport (
    SUITE_CHACHA20_POLY1305, Aead, aead_clear, aead_install, aead_open, aead_rest, aead_seal,
)


cdef void expand_label(const uint8_t* secret, const char* label, uint8_t label_bytes, uint8_t* out, uint8_t length) noexcept nogil:
    # HKDF-Expand of at most one block is one HMAC over info || 0x01 (RFC 5869 section 2.3).
    cdef uint8_t[64] info
    cdef uint8_t[32] block
    cdef unsigned int n = 32
    info[0] = 0
    info[1] = length
    info[2] = 9 + label_bytes
    memcpy(&info[3], b"quantum2 ", 9)
    memcpy(&info[12], label, label_bytes)
    info[12 + label_bytes] = 0
    info[13 + label_bytes] = 1
    HMAC(EVP_sha256(), secret, 32, info, 14 + label_bytes, block, &n)
    memcpy(out, block, length)
    OPENSSL_cleanse(block, 32)


cdef bint install(Aead* aead, uint8_t suite, const uint8_t* secret, bint seal) noexcept nogil:
    cdef uint8_t[32] key
    cdef uint8_t[12] iv
    cdef bint fits
    expand_label(secret, b"key", 3, key, 32)
    expand_label(secret, b"iv", 2, iv, 12)
    fits = aead_install(aead, suite, key, iv, seal)
    OPENSSL_cleanse(key, 32)
    return fits


cdef void next_secret(const uint8_t* secret, uint8_t* out) noexcept nogil:
    cdef uint8_t[32] fresh
    expand_label(secret, b"ku", 2, fresh, 32)
    memcpy(out, fresh, 32)
    OPENSSL_cleanse(fresh, 32)


cdef bint keys_install(TrafficKeys* keys, uint8_t suite, const uint8_t* seal_secret, const uint8_t* open_secret) noexcept nogil:
    """Install phase 0 of both directions and derive the next receive keys."""
    cdef uint64_t update_after = keys.update_after
    memset(keys, 0, sizeof(TrafficKeys))
    keys.suite = suite
    keys.update_after = update_after if update_after else UPDATE_AFTER_PACKETS
    keys.phase_first_sent = UINT64_MAX
    keys.phase_lowest_opened = UINT64_MAX
    memcpy(keys.seal_secret, seal_secret, 32)
    next_secret(open_secret, keys.open_next_secret)
    keys.installed = (install(&keys.seal, suite, seal_secret, True)
                      and install(&keys.open_now, suite, open_secret, False)
                      and install(&keys.open_next, suite, keys.open_next_secret, False))
    return keys.installed


cdef void keys_rest(TrafficKeys* keys) noexcept nogil:
    """Give back what the keys need only while packets come and go."""
    aead_rest(&keys.seal)
    aead_rest(&keys.open_now)
    aead_rest(&keys.open_next)
    aead_rest(&keys.open_previous)


cdef void keys_clear(TrafficKeys* keys) noexcept nogil:
    aead_clear(&keys.seal)
    aead_clear(&keys.open_now)
    aead_clear(&keys.open_next)
    aead_clear(&keys.open_previous)
    OPENSSL_cleanse(keys, sizeof(TrafficKeys))


cdef bint keys_seal(TrafficKeys* keys, uint64_t number, const uint8_t* header, uint8_t* text, size_t length) noexcept nogil:
    #= 4.7: A sender MUST start an update before it has sealed 2^23 packets with one key; it should after 2^20.
    if keys.sealed >= SEAL_LIMIT_PACKETS:
        return False
    keys.sealed += 1
    if keys.phase_first_sent == UINT64_MAX:
        keys.phase_first_sent = number
    return aead_seal(&keys.seal, number, header, 32, text, length)


cdef bint keys_update(TrafficKeys* keys, int64_t now_ns, int64_t keep_previous_ns) noexcept nogil:
    """Move both directions to the next phase."""
    cdef Aead spare = keys.open_previous
    next_secret(keys.seal_secret, keys.seal_secret)
    if not install(&keys.seal, keys.suite, keys.seal_secret, True):
        return False
    keys.open_previous = keys.open_now
    keys.open_now = keys.open_next
    keys.open_next = spare
    next_secret(keys.open_next_secret, keys.open_next_secret)
    if not install(&keys.open_next, keys.suite, keys.open_next_secret, False):
        return False
    keys.previous_until_ns = now_ns + keep_previous_ns
    keys.phase ^= 1
    keys.sealed = 0
    keys.updates += 1
    keys.phase_first_sent = UINT64_MAX
    keys.phase_lowest_opened = UINT64_MAX
    keys.phase_highest_opened = 0
    return True


cdef KeyResult keys_open(TrafficKeys* keys, uint64_t number, uint8_t phase, const uint8_t* header, uint8_t* text,
                         size_t length, int64_t now_ns, int64_t keep_previous_ns) noexcept nogil:
    """Open a packet with the key that its phase bit and number point to.

    A failed opening leaves garbage in *text*, so exactly one key is tried.
    """
    if phase == keys.phase:
        if aead_open(&keys.open_now, number, header, 32, text, length):
            if keys.phase_lowest_opened == UINT64_MAX:
                # The peer has followed: from here on the previous keys run out.
                keys.previous_until_ns = now_ns + keep_previous_ns
            if number < keys.phase_lowest_opened:
                keys.phase_lowest_opened = number
            if number > keys.phase_highest_opened:
                keys.phase_highest_opened = number
            return OPENED
    elif keys.updates and keys.phase_lowest_opened == UINT64_MAX:
        # We started this phase and the peer has not followed: its flag can only be the previous one.
        if aead_open(&keys.open_previous, number, header, 32, text, length):
            return OPENED
    elif keys.updates and number < keys.phase_lowest_opened and now_ns < keys.previous_until_ns:
        if aead_open(&keys.open_previous, number, header, 32, text, length):
            return OPENED
    elif keys.phase_lowest_opened != UINT64_MAX and number > keys.phase_highest_opened:
        if aead_open(&keys.open_next, number, header, 32, text, length):
            if not keys_update(keys, now_ns, keep_previous_ns):
                return NOT_OPENED
            keys.phase_lowest_opened = number
            keys.phase_highest_opened = number
            return OPENED_NEXT
    keys.failures += 1
    return NOT_OPENED


cdef bint keys_update_due(const TrafficKeys* keys, uint64_t largest_acked) noexcept nogil:
    """Tell whether this end should start an update: enough was sealed, and the peer has this phase."""
    return (keys.sealed >= keys.update_after and keys.phase_first_sent <= largest_acked
            and keys.phase_lowest_opened != UINT64_MAX)


cdef bint keys_exhausted(const TrafficKeys* keys) noexcept nogil:
    """Tell whether a bound on forgeries or on sealed packets is reached (RFC 9001 section 6.6)."""
    if keys.sealed >= SEAL_LIMIT_PACKETS:
        return True
    return keys.failures >> (36 if keys.suite == SUITE_CHACHA20_POLY1305 else 52) != 0


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    """Return Label(secret, label, "", length) of docs/protocol.md section 3.1; at most 32 bytes.

    The packet path's own derivation, open to tests that compare it with `suite.expand_label`.
    """
    cdef uint8_t[32] out
    if len(secret) != 32 or not 0 < length <= 32 or len(label) > 40:
        raise ValueError("expand takes a 32-byte secret, a label of at most 40 bytes and a length of 1 to 32")
    expand_label(secret, label, len(label), out, length)
    return out[:length]
