"""The primitives of the handshake, through ``cryptography`` (docs/protocol.md section 3).

With the GIL and once per connection; the packet path is `aead` and `keys`. Randomness is an
argument.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

AES_256_GCM = 1
CHACHA20_POLY1305 = 2
SUITES = (AES_256_GCM, CHACHA20_POLY1305)
X25519 = 1
ZERO = bytes(32)
EMPTY_HASH = hashlib.sha256(b"").digest()


def extract(salt: bytes, key_material: bytes) -> bytes:
    """Return HKDF-Extract with SHA-256 (RFC 5869): 32 bytes."""
    return HKDF.extract(SHA256(), salt, key_material)


def expand_label(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """Return Label(secret, label, context, length) of section 3.1."""
    name = b"quantum2 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(name)]) + name + bytes([len(context)]) + context
    return HKDFExpand(SHA256(), length, info).derive(secret)


def derive(secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Return Derive(secret, label, hash) of section 3.1: 32 bytes."""
    return expand_label(secret, label, transcript_hash, 32)


def mac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA256: 32 bytes."""
    return hmac.digest(key, data, "sha256")


def equal(a: bytes, b: bytes) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(a, b)


def x25519_public(private: bytes) -> bytes:
    """Return the X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519_shared(private: bytes, public: bytes) -> bytes | None:
    """Return the shared secret, None when it would be all zero."""
    # The library refuses low-order points: ValueError.
    # = 3.2: An endpoint MUST drop a hello whose X25519 key leads to a shared secret of all zero.
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        return None


def ed25519_public(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the 64-byte Ed25519 signature of *message*."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether *signature* is *public*'s over *message*."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
