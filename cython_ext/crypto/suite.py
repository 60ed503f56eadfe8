"""The primitives of the handshake, through ``cryptography`` and ``hmac`` (docs/protocol.md section
3).

With the GIL and once per connection; the packet path is `aead` and `keys`. Randomness is an
argument.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

AES_256_GCM = 1
CHACHA20_POLY1305 = 2
SUITES = (AES_256_GCM, CHACHA20_POLY1305)
X25519 = 1
ZERO = bytes(32)
EMPTY_HASH = hashlib.sha256(b"").digest()


def extract(salt: bytes, key_material: bytes) -> bytes:
    """Return HKDF-Extract with SHA-256 (RFC 5869): 32 bytes."""
    return hmac.digest(salt, key_material, "sha256")


def expand_label(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """Return Label(secret, label, context, length) of section 3.1."""
    name = b"quantum2 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(name)]) + name + bytes([len(context)]) + context
    # HKDF-Expand; nearly always one block.
    block = out = hmac.digest(secret, info + b"\x01", "sha256")
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def derive(secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Return Derive(secret, label, hash) of section 3.1: 32 bytes."""
    return expand_label(secret, label, transcript_hash, 32)


def mac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA256: 32 bytes."""
    return hmac.digest(key, data, "sha256")


def equal(a: bytes, b: bytes) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(a, b)


class KeyShare:
    """An X25519 key pair, of 32 private bytes; made once per handshake, since making it costs as
    much as using it."""

    def __init__(self, private: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, public: bytes) -> bytes | None:
        """Return the secret shared with the owner of *public*, None when it would be all zero."""
        # The library refuses low-order points: ValueError.
        # = 3.2: An endpoint MUST drop a hello whose X25519 key leads to a shared secret of all zero.
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            return None


class Signer:
    """An Ed25519 key pair, of a 32-byte seed; made once per server."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of *message*."""
        return self._key.sign(message)


def ed25519_public(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a 32-byte seed."""
    return Signer(seed).public


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether *signature* is *public*'s over *message*."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
