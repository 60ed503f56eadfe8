"""What a package offers is said once, in ``__all__``; and a name says what is inside."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("quantum", "cython_ext", "gateway", "session", "statesync", "svckit", "interop")
PACKAGES = sorted(p for top in SHIPPED for p in (ROOT / top).rglob("__init__.py"))
MODULES = sorted(
    p for top in SHIPPED for p in (ROOT / top).rglob("*.py*") if p.suffix in {".py", ".pyx"}
)
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def offered(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def bound(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names that an ``__init__`` takes from our own modules, and all that it binds."""
    ours: set[str] = set()
    every: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            every |= names
            if (node.module or "").split(".")[0] in SHIPPED:
                ours |= names
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            every.add(node.name)
        elif isinstance(node, ast.Assign):
            every |= {ast.unparse(target) for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            every.add(ast.unparse(node.target))
    return ours, every


@pytest.mark.parametrize("path", PACKAGES, ids=name)
def test_a_facade_lists_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text())
    ours, every = bound(tree)
    names = offered(tree)
    if names is None:
        assert path.parts[-3] != "cython_ext" or not ours, "a facade needs __all__"
        return
    assert len(names) == len(set(names)), "a name is offered twice"
    assert set(names) <= every, f"offered, not bound: {set(names) - every}"


@pytest.mark.parametrize("top", ["quantum", "session", "statesync"])
def test_a_public_package_is_its_names_and_nothing_else(top: str) -> None:
    tree = ast.parse((ROOT / top / "__init__.py").read_text())
    ours, _ = bound(tree)
    assert ours == {n for n in offered(tree) or [] if not n.startswith("__")}
    imports = ast.Import | ast.ImportFrom
    extra = [n for n in tree.body if not isinstance(n, imports | ast.Assign | ast.Expr)]
    assert not extra, "the package's own file binds names; it computes nothing"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [name(path) for path in MODULES if path.stem in SAYS_NOTHING]
