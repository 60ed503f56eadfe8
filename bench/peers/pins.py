"""The versions that the lock files of the peers in Go and Rust pin. Knows no peer."""

import tomllib
from pathlib import Path

GO = Path(__file__).parent / "go" / "go.mod"
RUST = Path(__file__).parent / "rust" / "Cargo.lock"


class PinError(Exception):
    """A lock file does not pin what it is asked for."""


def go_pins(*modules: str) -> dict[str, str]:
    """Return the versions of *modules*, by the last part of their names that is no version.

    Raises:
        PinError: one of them is not in ``go.mod``.
    """
    pinned: dict[str, str] = {}
    for line in GO.read_text().splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in modules:
            parts = [part for part in words[0].split("/") if part != "v5"]
            pinned[parts[-1]] = words[1].removeprefix("v")
    if len(pinned) != len(modules):
        raise PinError(f"{GO.name} does not pin all of {', '.join(modules)}")
    return pinned


def rust_pins(*crates: str) -> dict[str, str]:
    """Return the versions of *crates*.

    Raises:
        PinError: one of them is not in ``Cargo.lock``.
    """
    packages = tomllib.loads(RUST.read_text())["package"]
    pinned = {each["name"]: str(each["version"]) for each in packages if each["name"] in crates}
    if len(pinned) != len(crates):
        raise PinError(f"{RUST.name} does not pin all of {', '.join(crates)}")
    return pinned
