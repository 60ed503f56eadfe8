"""``proto/`` holds .proto files only: an ``__init__.py`` in it would hide proto-plus."""

import re
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[2] / "proto"
FILES = sorted(PROTO.rglob("*.proto"))
IMPORT = re.compile(r'^import (?:public )?"([^"]+)";', re.M)
PACKAGE = re.compile(r"^package ([\w.]+);", re.M)


def name(path: Path) -> str:
    return str(path.relative_to(PROTO))


def test_no_python_lies_in_proto() -> None:
    assert not list(PROTO.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_an_import_is_written_with_the_generated_name(path: Path) -> None:
    for target in IMPORT.findall(path.read_text()):
        assert target.startswith(("quantum_pb/", "google/protobuf/")), target


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_package_is_versioned_and_follows_the_path(path: Path) -> None:
    (package,) = PACKAGE.findall(path.read_text())
    assert package.endswith(".".join(path.relative_to(PROTO).parent.parts)), package
    assert re.search(r"\.v\d+$", package)
