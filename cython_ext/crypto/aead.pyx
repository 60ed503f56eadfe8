"""AES-256-GCM and ChaCha20-Poly1305 through OpenSSL's EVP (docs/protocol.md section 3.3).

A context holds its key as long as it is used: per packet only the nonce is set. Knows nothing of packets.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from cython_ext.abi.openssl cimport (
    EVP_CIPHER_CTX_ctrl, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new, EVP_CTRL_AEAD_GET_TAG,
    EVP_CTRL_AEAD_SET_TAG, EVP_CipherFinal_ex, EVP_CipherInit_ex, EVP_CipherUpdate,
    EVP_aes_256_gcm, EVP_chacha20_poly1305, OPENSSL_cleanse,
)


cdef bint set_key(Aead* aead) noexcept nogil:
    if aead.suite == SUITE_CHACHA20_POLY1305:
        return EVP_CipherInit_ex(aead.ctx, EVP_chacha20_poly1305(), NULL, aead.key, aead.iv, aead.seals) == 1
    return EVP_CipherInit_ex(aead.ctx, EVP_aes_256_gcm(), NULL, aead.key, aead.iv, aead.seals) == 1


cdef bint wake(Aead* aead) noexcept nogil:
    """Make the context, which is a KiB; False without a key or without memory."""
    if aead.suite == 0:
        return False
    aead.ctx = EVP_CIPHER_CTX_new()
    return aead.ctx != NULL and set_key(aead)


cdef bint aead_install(Aead* aead, uint8_t suite, const uint8_t* key, const uint8_t* iv, bint seal) noexcept nogil:
    """Set the key; False when memory ran out. The context is kept when there already is one."""
    memcpy(aead.key, key, KEY_BYTES)
    memcpy(aead.iv, iv, IV_BYTES)
    aead.suite = suite
    aead.seals = seal
    return aead.ctx == NULL or set_key(aead)


cdef void aead_rest(Aead* aead) noexcept nogil:
    """Give the context back until it is used again, at the price of one key schedule."""
    EVP_CIPHER_CTX_free(aead.ctx)
    aead.ctx = NULL


cdef void aead_clear(Aead* aead) noexcept nogil:
    EVP_CIPHER_CTX_free(aead.ctx)
    OPENSSL_cleanse(aead, sizeof(Aead))


cdef inline bint start(Aead* aead, uint64_t number, const uint8_t* associated, size_t associated_bytes) noexcept nogil:
    cdef uint8_t[12] nonce
    cdef int n, done
    memcpy(nonce, aead.iv, IV_BYTES)
    for n in range(8):
        nonce[4 + n] ^= <uint8_t> (number >> (56 - 8 * n))
    # enc = -1 keeps the direction and the key; only the nonce is new.
    if EVP_CipherInit_ex(aead.ctx, NULL, NULL, NULL, nonce, -1) != 1:
        return False
    return EVP_CipherUpdate(aead.ctx, NULL, &done, associated, <int> associated_bytes) == 1


cdef bint aead_seal(Aead* aead, uint64_t number, const uint8_t* associated, size_t associated_bytes,
                    uint8_t* text, size_t length) noexcept nogil:
    """Seal *length* bytes in place and write 16 bytes of tag behind them."""
    cdef int done
    if aead.ctx == NULL and not wake(aead):
        return False
    if not start(aead, number, associated, associated_bytes):
        return False
    if length and EVP_CipherUpdate(aead.ctx, text, &done, text, <int> length) != 1:
        return False
    if EVP_CipherFinal_ex(aead.ctx, text + length, &done) != 1:
        return False
    return EVP_CIPHER_CTX_ctrl(aead.ctx, EVP_CTRL_AEAD_GET_TAG, 16, text + length) == 1


cdef bint aead_open(Aead* aead, uint64_t number, const uint8_t* associated, size_t associated_bytes,
                    uint8_t* text, size_t length) noexcept nogil:
    """Open *length* bytes, tag included, in place; False when they are not authentic."""
    cdef int done
    if length < 16 or (aead.ctx == NULL and not wake(aead)):
        return False
    if not start(aead, number, associated, associated_bytes):
        return False
    length -= 16
    if EVP_CIPHER_CTX_ctrl(aead.ctx, EVP_CTRL_AEAD_SET_TAG, 16, text + length) != 1:
        return False
    if length and EVP_CipherUpdate(aead.ctx, text, &done, text, <int> length) != 1:
        return False
    return EVP_CipherFinal_ex(aead.ctx, text + length, &done) == 1


cdef class PacketKey:
    """One key in one direction, for handshake packets, tests and tools; not for the packet path."""

    cdef Aead aead

    def __cinit__(self, suite: int, key: bytes, iv: bytes, seal: bool):
        if suite not in (SUITE_AES_256_GCM, SUITE_CHACHA20_POLY1305):
            raise ValueError(f"unknown suite {suite}; known: 1 (AES-256-GCM), 2 (ChaCha20-Poly1305)")
        if len(key) != KEY_BYTES or len(iv) != IV_BYTES:
            raise ValueError(f"a key has 32 bytes and an IV 12, not {len(key)} and {len(iv)}")
        if not aead_install(&self.aead, suite, key, iv, seal):
            raise MemoryError

    def __dealloc__(self):
        aead_clear(&self.aead)

    def seal(self, number: int, associated: bytes, plaintext: bytes) -> bytes:
        """Return the ciphertext followed by the 16-byte tag."""
        text = bytearray(plaintext) + bytearray(16)
        cdef uint8_t* at = text
        if not aead_seal(&self.aead, number, associated, len(associated), at, len(plaintext)):
            raise MemoryError
        return bytes(text)

    def open(self, number: int, associated: bytes, sealed: bytes) -> bytes | None:
        """Return the plaintext, None when it is not authentic."""
        text = bytearray(sealed)
        cdef uint8_t* at = text
        if not aead_open(&self.aead, number, associated, len(associated), at, len(sealed)):
            return None
        return bytes(text[:len(sealed) - 16])
