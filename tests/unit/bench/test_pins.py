"""The report names versions that the lock files pin, whether or not a toolchain is here."""

import re

import pytest

from bench.peers.pins import PinError, go_pins, rust_pins
from bench.peers.program import NativeProgram, PythonProgram
from bench.peers.registry import PEERS

NATIVE = [peer.name for peer in PEERS.values() if isinstance(peer.program, NativeProgram)]


@pytest.mark.parametrize("name", [name for name in NATIVE if name != "tls-go"])
def test_a_peer_in_another_language_has_pinned_versions(name: str) -> None:
    versions = PEERS[name].program.versions()
    assert versions
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())


def test_a_module_is_called_by_its_name_and_not_by_its_major_version() -> None:
    assert list(go_pins("github.com/xtaci/kcp-go/v5")) == ["kcp-go"]


@pytest.mark.parametrize("pins", [go_pins, rust_pins])
def test_what_no_lock_file_pins_is_an_error(pins: object) -> None:
    assert callable(pins)
    with pytest.raises(PinError, match="does not pin"):
        pins("example.com/nothing")


def test_a_peer_that_is_not_installed_says_how_to_mend_that() -> None:
    by_group = PythonProgram("bench.peers.absent", ("no-such-distribution",))
    apart = PythonProgram("bench.peers.absent", ("no-such-distribution",), install="pip it")
    assert by_group.missing() == (
        "no-such-distribution is not installed; pip install 'quantum-gateway[bench-peers]'"
    )
    assert apart.missing() == "no-such-distribution is not installed; pip it"
