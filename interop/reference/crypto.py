"""Section 3: labels, key schedule, sealing; and the keyed hashes of sections 4.2 and 6.5.

Primitives come from `cryptography` and the standard library. Knows no packet layout and no state.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

PREFIX = b"quantum2 "
ZERO_KEY = bytes(32)
EMPTY_HASH = hashlib.sha256(b"").digest()


class Suite(IntEnum):
    """Ciphers (section 3.1)."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


GROUP_X25519 = 1


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869)."""
    return hmac.digest(salt, ikm, "sha256")


def expand(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869)."""
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([counter]), "sha256")
        out += block
        counter += 1
    return out[:length]


def label_info(label: str, context: bytes, length: int) -> bytes:
    """Return the HkdfLabel structure of RFC 8446 section 7.1 with this protocol's prefix."""
    full = PREFIX + label.encode()
    return length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context


def label(secret: bytes, name: str, context: bytes, length: int) -> bytes:
    """``Label`` of section 3.1."""
    return expand(secret, label_info(name, context, length), length)


def derive(secret: bytes, name: str, transcript_hash: bytes) -> bytes:
    """``Derive`` of section 3.1."""
    return label(secret, name, transcript_hash, 32)


def x25519_public(private: bytes) -> bytes:
    """Return the public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519_shared(private: bytes, public: bytes) -> bytes | None:
    """Return the shared secret, or None when it is all zero."""
    try:
        key = X25519PrivateKey.from_private_bytes(private)
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # what the library says of an all-zero result
        return None


def ed25519_public(seed: bytes) -> bytes:
    """Return the public key of an Ed25519 seed: the server's pin."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, text: bytes) -> bytes:
    """Sign *text* with Ed25519."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(text)


def signature_is_valid(public: bytes, signature: bytes, text: bytes) -> bool:
    """Tell whether *signature* of *text* is by *public*."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class PacketKeys:
    """One direction and phase of packet protection (section 3.3)."""

    suite: Suite
    secret: bytes
    key: bytes = field(init=False)
    iv: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", label(self.secret, "key", b"", 32))
        object.__setattr__(self, "iv", label(self.secret, "iv", b"", 12))

    def nonce(self, number: int) -> bytes:
        """Return the nonce of packet *number*: the IV XOR the left-padded number."""
        return bytes(a ^ b for a, b in zip(self.iv, number.to_bytes(12, "big"), strict=True))

    def seal(self, number: int, associated: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext and tag."""
        return self._cipher().encrypt(self.nonce(number), plaintext, associated)

    def open(self, number: int, associated: bytes, sealed: bytes) -> bytes | None:
        """Return the plaintext, or None when the packet is not authentic."""
        if len(sealed) < 16:
            return None
        try:
            return self._cipher().decrypt(self.nonce(number), sealed, associated)
        except InvalidTag:
            return None

    def next(self) -> "PacketKeys":
        """Return the keys of the next phase (section 4.7)."""
        return PacketKeys(self.suite, label(self.secret, "ku", b"", 32))

    def _cipher(self) -> AESGCM | ChaCha20Poly1305:
        if self.suite is Suite.AES_256_GCM:
            return AESGCM(self.key)
        return ChaCha20Poly1305(self.key)


class KeySchedule:
    """The key schedule of section 3.2, step by step; every step stays readable."""

    def __init__(self, shared_secret: bytes) -> None:
        self.early = extract(ZERO_KEY, ZERO_KEY)
        self.early_derived = derive(self.early, "derived", EMPTY_HASH)
        self.hs = extract(self.early_derived, shared_secret)
        self.hs_derived = derive(self.hs, "derived", EMPTY_HASH)
        self.master = extract(self.hs_derived, ZERO_KEY)

    def handshake_secrets(self, hash_ch_sh: bytes) -> tuple[bytes, bytes]:
        """Return (c_hs, s_hs)."""
        return derive(self.hs, "c hs", hash_ch_sh), derive(self.hs, "s hs", hash_ch_sh)

    def traffic_secrets(self, hash_to_sf: bytes) -> tuple[bytes, bytes, bytes]:
        """Return (c_ap, s_ap, exp)."""
        return (
            derive(self.master, "c ap", hash_to_sf),
            derive(self.master, "s ap", hash_to_sf),
            derive(self.master, "exp", hash_to_sf),
        )


def finished(secret: bytes, transcript_hash: bytes) -> bytes:
    """Return a Finished MAC under the finished key of *secret*."""
    return hmac.digest(label(secret, "finished", b"", 32), transcript_hash, "sha256")


def export(exp: bytes, name: str, length: int) -> bytes:
    """``exporter`` of section 3.2."""
    return label(derive(exp, name, EMPTY_HASH), "exporter", EMPTY_HASH, length)


def key_id(pin: bytes) -> bytes:
    """Return the 8 bytes by which a client hello names the server's key."""
    return hashlib.sha256(pin).digest()[:8]


def mac1(pin: bytes, text: bytes) -> bytes:
    """Return mac1 of a client hello: *text* is header and payload without mac1."""
    return hmac.digest(extract(b"quantum2 mac1", pin), text, "sha256")[:16]


def reset_token(seed: bytes, connection_id: bytes) -> bytes:
    """Return the stateless reset token of *connection_id* (section 6.5)."""
    return hmac.digest(extract(b"quantum2 reset", seed), connection_id, "sha256")[:16]


def equal(a: bytes, b: bytes) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(a, b)
