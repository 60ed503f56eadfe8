"""No obese file: a module above 600 lines is split, or an ADR exempts it by name and says why.

An ADR exempts with a line ``Exempt from the size limit: `path`.``
"""

import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600
SHIPPED = (
    "quantum",
    "cython_ext",
    "gateway",
    "session",
    "statesync",
    "svckit",
    "interop",
    "examples",
)
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h"}
EXEMPT = re.compile(r"^Exempt from the size limit: `([^`]+)`", re.M)


def exempt() -> set[str]:
    records = [path.read_text() for path in (ROOT / "docs/adr").glob("*.md")]
    return {name for text in records for name in EXEMPT.findall(text)}


def oversized(root: Path, folders: Iterable[str], exempted: set[str]) -> list[str]:
    files = [p for folder in folders for p in (root / folder).rglob("*") if p.suffix in SUFFIXES]
    long = {str(p.relative_to(root)) for p in files if p.read_text().count("\n") > LIMIT}
    return sorted(long - exempted)


def test_no_file_is_longer_than_the_limit() -> None:
    assert not oversized(ROOT, SHIPPED, exempt())


def test_an_exempted_file_exists_and_needs_the_exemption() -> None:
    assert exempt() <= set(oversized(ROOT, SHIPPED, set()))


def test_a_long_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "quantum").mkdir()
    (tmp_path / "quantum/connection.py").write_text("x = 1\n" * (LIMIT + 1))
    (tmp_path / "quantum/stream.py").write_text("x = 1\n" * LIMIT)
    assert oversized(tmp_path, SHIPPED, set()) == ["quantum/connection.py"]
    assert not oversized(tmp_path, SHIPPED, {"quantum/connection.py"})
