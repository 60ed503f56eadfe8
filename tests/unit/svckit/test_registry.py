"""Names for plug-ins."""

import sys

import pytest

from svckit.registry import Registry, UnknownName

TABLE: Registry[object] = Registry("store", "quantum.test", {"list": "builtins:list", "b": "x:Y"})


def test_a_name_is_loaded_when_it_is_asked_for() -> None:
    assert TABLE.load("list") is list
    assert list(TABLE) == ["list", "b"]
    assert "x" not in sys.modules


def test_an_unknown_name_says_what_is_known() -> None:
    with pytest.raises(UnknownName, match="no store is called 'c'; known: b, list"):
        TABLE.load("c")
