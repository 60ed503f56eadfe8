"""One AEAD key in one direction: seal or open in place, without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cython_ext.abi.openssl cimport EVP_CIPHER_CTX

cdef enum:
    SUITE_AES_256_GCM = 1
    SUITE_CHACHA20_POLY1305 = 2
    KEY_BYTES = 32
    IV_BYTES = 12


cdef struct Aead:
    EVP_CIPHER_CTX* ctx         # owned; made when it is first used, and given back by aead_rest
    uint8_t[32] key
    uint8_t[12] iv
    uint8_t suite               # 0 when no key is installed
    bint seals

cdef bint aead_install(Aead* aead, uint8_t suite, const uint8_t* key, const uint8_t* iv, bint seal) noexcept nogil
cdef void aead_rest(Aead* aead) noexcept nogil
cdef void aead_clear(Aead* aead) noexcept nogil
cdef bint aead_seal(Aead* aead, uint64_t number, const uint8_t* associated, size_t associated_bytes,
                    uint8_t* text, size_t length) noexcept nogil
cdef bint aead_open(Aead* aead, uint64_t number, const uint8_t* associated, size_t associated_bytes,
                    uint8_t* text, size_t length) noexcept nogil
