"""The import graph inside cython_ext, which import-linter cannot see.

Rule 1: a module names only its own layer and the layers listed beneath it.
Rule 2: sans-IO layers name no clock, socket, random source, logger or asyncio.
Rule 3: no cycles, and no textual ``include``.
"""

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "cython_ext"
BENEATH: dict[str, set[str]] = {
    "abi": set(),
    "guuid": set(),
    "wire": {"abi"},
    "crypto": {"abi"},
    "fec": {"abi"},
    "core": {"abi", "wire", "crypto", "fec", "guuid"},
    "udp": {"abi"},
    "driver": {"abi", "core", "udp"},
    "probe": {"abi", "wire", "crypto", "fec", "core"},
    "controller_probe": {"core"},
}
SANS_IO = {"wire", "crypto", "fec", "guuid", "core"}
IO_HEADS = {"asyncio", "socket", "select", "time", "random", "secrets", "os", "logging"}
IO_HEADS |= {"threading", "posix", "uuid"}
IO_NAMES = {"libc.time", "cpython.time", "cython_ext.abi.posix"}
IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+))", re.M)
GENERATED = {ROOT / "__init__.py", ROOT / "build_info.py"}
SOURCES = sorted(p for ext in ("pyx", "pxd", "py") for p in ROOT.rglob(f"*.{ext}"))
SOURCES = [path for path in SOURCES if path not in GENERATED]


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


def imports(text: str) -> set[str]:
    return {a or b for a, b in IMPORT.findall(text)}


def violations(layer: str, text: str) -> Iterator[str]:
    """Yield what is wrong with the imports of a module of *layer*."""
    if layer not in BENEATH:
        yield f"{layer} is no layer: give it a place in BENEATH"
        return
    for name in sorted(imports(text)):
        head, *rest = name.split(".")
        if not head:
            yield "a relative import: say the whole name"
        elif name == "cython_ext":
            yield "the bare package: say which module"
        elif head == "cython_ext" and rest[0] != layer and rest[0] not in BENEATH[layer]:
            yield f"{layer} may not import {name}"
        if layer in SANS_IO and (head in IO_HEADS or name in IO_NAMES):
            yield f"sans-IO code may not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_module_keeps_to_its_layer(path: Path) -> None:
    assert not list(violations(module(path).split(".")[1], path.read_text()))


def test_modules_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        own = module(path)
        named = {n for n in imports(path.read_text()) if n.startswith("cython_ext.") and n != own}
        graph.setdefault(own, set()).update(named)
    TopologicalSorter(graph).prepare()


def test_nothing_is_included_as_text() -> None:
    assert not [p for p in SOURCES if re.search(r'^\s*include\s+"', p.read_text(), re.M)]


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("wire", "from cython_ext.core.state cimport State"),
        ("wire", "from cython_ext.abi.posix cimport recvmmsg"),
        ("crypto", "from cython_ext.wire.header cimport Header"),
        ("fec", "cimport cython_ext.core.connection"),
        ("core", "from cython_ext.udp.batch cimport SendBatch"),
        ("core", "import time"),
        ("core", "    from libc.time cimport time_t"),
        ("core", "from posix.time cimport clock_gettime"),
        ("core", "import os"),
        ("core", "from .state cimport State"),
        ("core", "import logging"),
        ("guuid", "from uuid import UUID"),
        ("udp", "from cython_ext.core.endpoint cimport Endpoint"),
        ("driver", "from cython_ext.wire.header cimport Header"),
        ("attic", "import math"),
    ],
)
def test_a_planted_import_is_refused(layer: str, line: str) -> None:
    assert list(violations(layer, f"cdef int x\n{line}\n"))
