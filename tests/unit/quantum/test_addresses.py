"""What `connect` takes for an address, and what it says of what is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import ConfigurationError, Identity, connect
from quantum.client import split_address

PIN = Identity(bytes(32)).pin


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:4433", ("127.0.0.1", 4433)),
        ("game.example:1", ("game.example", 1)),
        ("[::1]:4433", ("::1", 4433)),
        ("::1:4433", ("::1", 4433)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        (("localhost", 4433), ("localhost", 4433)),
        (("::1", 4433, 0, 0), ("::1", 4433)),
    ],
)
def test_every_usual_form_is_taken(address: Any, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "", ":", "host", "host:", ":4433", "[]:4433", "host:0", "host:65536", "host:-1",
        "host:+1", "host:4433 ", "host:http", "host:４４３３", "host:" + "9" * 5_000,
        ("host",), (), ("", 1), ("host", 0), ("host", "x"), (None, 1), (b"host", 1), None, 4433,
        ["host", 4433],
    ],
    ids=lambda address: str(address)[:20],
)  # fmt: skip
def test_what_is_none_is_told_what_one_looks_like(address: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no address; write host:port, for example"):
        split_address(address)


@given(st.text())
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    try:
        host, port = split_address(text)
    except ConfigurationError:
        return
    assert host
    assert 0 < port < 65536


def test_mistakes_are_told_before_anything_is_awaited() -> None:
    with pytest.raises(ConfigurationError, match="a pin is the server's Ed25519 public key"):
        connect("host:1", pin="nonsense")
    with pytest.raises(ConfigurationError, match="handshake_timeout = -1 is not between"):
        connect("host:1", pin=PIN, timeout=-1)
    with pytest.raises(ConfigurationError, match="name has at most 255 bytes"):
        connect("host:1", pin=PIN, server_name="x" * 256)
