"""Identities: made once, kept private, never overwritten; and the pins of them."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from quantum import ConfigurationError, Identity
from quantum.identity import parse_pin


def test_an_identity_survives_its_file(tmp_path: Path) -> None:
    identity = Identity.generate()
    file = tmp_path / "identity.pem"
    identity.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Identity.load(str(file))
    assert (again.seed, again.pin, again.public_key) == (
        identity.seed,
        identity.pin,
        identity.public_key,
    )


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "identity.pem"
    file.write_text("precious")
    with pytest.raises(FileExistsError):
        Identity.generate().save(file)
    assert file.read_text() == "precious"


def test_two_identities_differ_and_one_seed_gives_one_pin() -> None:
    assert Identity.generate().pin != Identity.generate().pin
    # RFC 8032 section 7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    pin = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert Identity(seed).pin == pin


def test_an_identity_does_not_show_its_seed() -> None:
    identity = Identity(bytes(range(32)))
    assert repr(identity) == f"Identity(pin={identity.pin!r})"
    assert bytes(range(32)).hex() not in repr(identity)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"seed has 32 bytes, not {size}"):
        Identity(bytes(size))


def wrong_files() -> dict[str, bytes]:
    form = (Encoding.PEM, PrivateFormat.PKCS8)
    own = load_pem_private_key(identity_pem(), password=None)
    return {
        "empty": b"",
        "noise": bytes(range(256)),
        "cut": identity_pem()[:60],
        "rsa": generate_private_key(65_537, 1_024).private_bytes(*form, NoEncryption()),
        "x25519": X25519PrivateKey.generate().private_bytes(*form, NoEncryption()),
        "encrypted": own.private_bytes(*form, BestAvailableEncryption(b"secret")),
    }


def identity_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize("kind", ["empty", "noise", "cut", "rsa", "x25519", "encrypted"])
def test_a_file_that_holds_no_identity_says_how_to_make_one(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"{kind}.pem"
    file.write_bytes(wrong_files()[kind])
    with pytest.raises(ConfigurationError) as caught:
        Identity.load(file)
    assert str(caught.value) == (
        f"{file} holds no unencrypted Ed25519 key in PEM; make one with: quantum keygen {file}"
    )


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Identity.load(tmp_path / "missing.pem")


def test_a_pin_is_taken_in_hex_and_raw() -> None:
    raw = bytes(range(32))
    assert parse_pin(raw.hex()) == parse_pin(raw.hex().upper()) == parse_pin(raw) == raw
    assert parse_pin(bytearray(raw)) == raw  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pin", ["", "ab" * 31, "ab" * 33, "xy" * 32, b"", bytes(31), "ab" * 31 + "a"]
)
def test_what_is_no_pin_is_told_what_one_is(pin: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="64 hex digits, as the server prints it"):
        parse_pin(pin)
