"""The stubs of the native modules tell the truth: they are compared with the modules as built."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUBS = sorted((ROOT / "cython_ext").rglob("*.pyi"))
FACADES = sorted(p for p in (ROOT / "cython_ext").rglob("__init__.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("stub", STUBS, ids=module)
def test_a_stub_stands_beside_its_source(stub: Path) -> None:
    assert stub.with_suffix(".pyx").exists()


@pytest.mark.parametrize("facade", FACADES, ids=lambda p: module(p.parent))
def test_what_a_facade_offers_has_a_stub(facade: Path) -> None:
    for node in ast.walk(ast.parse(facade.read_text())):
        if isinstance(node, ast.ImportFrom):
            source = ROOT / (node.module or "").replace(".", "/")
            assert source.with_suffix(".pyi").exists() or source.with_suffix(".py").exists()


def test_stubs_agree_with_the_built_modules() -> None:
    names = [module(stub) for stub in STUBS]
    options = ["--allowlist", "stubtest.allow", "--ignore-unused-allowlist", "--concise"]
    # Every cdef class is a disjoint base; saying so in each stub would tell a reader nothing.
    options.append("--ignore-disjoint-bases")
    command = [sys.executable, "-m", "mypy.stubtest", *names, *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
