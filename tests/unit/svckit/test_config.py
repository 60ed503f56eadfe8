"""Configuration from a file and the environment."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from svckit.config import ConfigError, load


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    limit: int = 5
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("limit must not be negative")


@dataclass(frozen=True)
class Outer:
    host: str = "localhost"
    port: int = 1
    inner: Inner = field(default_factory=Inner)


def loaded(tmp_path: Path, text: str = "", name: str = "c.yaml", **environment: str) -> Outer:
    file = tmp_path / name
    file.write_text(text)
    return load(
        Outer,
        prefix="APP__",
        file=file,
        environment={f"APP__{k}": v for k, v in environment.items()},
    )


def test_defaults_stand_where_nothing_is_said() -> None:
    assert load(Outer, prefix="APP__", environment={"OTHER": "1"}) == Outer()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "host: there\nport: 2\ninner:\n  limit: 9\n"),
        ("c.toml", 'host = "there"\nport = 2\n[inner]\nlimit = 9\n'),
    ],
)
def test_the_environment_wins_over_the_file(tmp_path: Path, name: str, text: str) -> None:
    found = loaded(tmp_path, text, name, PORT="3", INNER__COLOUR="blue")
    assert found == Outer("there", 3, Inner(9, Colour.BLUE))
    overridden = load(
        Outer, prefix="APP__", file=tmp_path / name, environment={}, overrides={"port": 7}
    )
    assert overridden.port == 7


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("prot: 2", {}, "'prot' .* did you mean 'port'"),
        ("inner: {limt: 2}", {}, "'inner.limt' .* did you mean 'limit'"),
        ("", {"PROT": "2"}, "'prot' .* did you mean 'port'"),
        ("", {"INNER__LIMT": "2"}, "'inner.limt' .* did you mean 'limit'"),
        ("zzz: 2", {}, "known: host, inner, port"),
        ("port: many", {}, "'port' is wrong.*'many'"),
        ("inner: {colour: green}", {}, "'inner.colour' is wrong.*'red' or 'blue'"),
        ("inner: {limit: -1}", {}, "limit must not be negative"),
        ("inner: 5", {}, "'inner' is wrong"),
        ("a: [", {}, "cannot be read|not valid YAML"),
    ],
)
def test_a_fault_is_named_with_what_would_be_right(
    tmp_path: Path, text: str, environment: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, text, **environment)


def test_files_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(Outer, prefix="APP__", file=tmp_path / "no.yaml", environment={})
    with pytest.raises(ConfigError, match="must end in"):
        loaded(tmp_path, "", "c.ini")
    with pytest.raises(ConfigError, match="cannot be read"):
        loaded(tmp_path, "= broken", "c.toml")
