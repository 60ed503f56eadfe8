"""A server's Ed25519 identity: made once, kept in a file that only its owner reads, pinned by
clients."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cython_ext.core import ed25519_public
from quantum.errors import ConfigurationError


class Identity:
    """An Ed25519 key pair. `pin` is what clients need to know; the seed never leaves the process
    unasked."""

    def __init__(self, seed: bytes) -> None:
        """Take a 32-byte private seed; ConfigurationError for any other length."""
        if len(seed) != 32:
            raise ConfigurationError(f"an identity's seed has 32 bytes, not {len(seed)}")
        self.seed = seed
        self.public_key = ed25519_public(seed)

    def __repr__(self) -> str:
        return f"Identity(pin={self.pin!r})"

    @property
    def pin(self) -> str:
        """The public key in hex: what `connect(..., pin=...)` takes."""
        return self.public_key.hex()

    @classmethod
    def generate(cls) -> "Identity":
        """Return a fresh identity from the system's randomness."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Identity":
        """Read a PKCS#8 PEM file. Raises ConfigurationError when it is no Ed25519 key, OSError
        when unreadable."""
        try:
            key = load_pem_private_key(Path(path).read_bytes(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(
                f"{os.fspath(path)} holds no unencrypted Ed25519 key in PEM; "
                f"make one with: quantum keygen {os.fspath(path)}"
            )
        return cls(key.private_bytes_raw())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PKCS#8 PEM file with mode 0600; FileExistsError rather than overwrite one."""
        pem = Ed25519PrivateKey.from_private_bytes(self.seed).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())


def parse_pin(pin: str | bytes) -> bytes:
    """Return the 32 bytes of a pin given in hex or raw; ConfigurationError says what a pin is."""
    try:
        raw = bytes.fromhex(pin) if isinstance(pin, str) else bytes(pin)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ConfigurationError(
            "a pin is the server's Ed25519 public key: 64 hex digits, as the server prints it"
        )
    return raw
