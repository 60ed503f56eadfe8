import pytest

from gateway.sdk import InvalidCall
from gateway.sdk.address import parse

PIN = "ab" * 32


def test_a_quantum_address_has_host_port_and_pin() -> None:
    address = parse("quantum://example.org:4433", PIN)
    assert (address.scheme, address.authority, address.pin) == ("quantum", "example.org:4433", PIN)


def test_the_pin_may_come_in_the_url() -> None:
    assert parse(f"quantum://127.0.0.1:1?pin={PIN.upper()}").pin == PIN


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert parse("ws://[::1]:8080").url == "ws://[::1]:8080/ws"


@pytest.mark.parametrize(
    ("url", "pin", "words"),
    [
        ("http://127.0.0.1", "", "quantum://host:port"),
        ("127.0.0.1:4433", "", "is no gateway address"),
        ("quantum://127.0.0.1:4433", "", "64 hex digits"),
        ("quantum://127.0.0.1:4433", "zz" * 32, "64 hex digits"),
        ("quantum://127.0.0.1:99999", PIN, "no valid port"),
        ("quantum://:4433", PIN, "lacks a host"),
        ("ws://example.org/ws", "", "in clear over the network"),
        ("ws://10.0.0.1/ws", "", "in clear over the network"),
    ],
)
def test_a_wrong_address_is_refused_with_what_to_write(url: str, pin: str, words: str) -> None:
    with pytest.raises(InvalidCall, match=words):
        parse(url, pin)
