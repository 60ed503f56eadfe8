"""A plug-in is a file and a line: the files in a folder and the lines in its table agree."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "session", "statesync", "svckit", "quantum")
PLUGIN_FOLDERS = {"stores", "strategies", "transports", "codecs", "discoveries", "balancers"}
TARGET = re.compile(r"^([\w.]+):\w+$")
FOLDERS = sorted(
    path.parent
    for package in PACKAGES
    for path in (ROOT / package).rglob("__init__.py")
    if path.parent.name in PLUGIN_FOLDERS
)
CONTROLLERS = ROOT / "cython_ext/core/controllers"
TABLE = ROOT / "cython_ext/core/controller.pyx"


def modules(folder: Path) -> set[str]:
    files = {p.stem for p in folder.glob("*.py")} | {
        p.parent.name for p in folder.glob("*/__init__.py")
    }
    return files - {"__init__"}


def registered(text: str, package: str) -> set[str]:
    """Return the modules directly under *package* that the table in *text* names."""
    strings = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]
    targets = [match[1] for s in strings if isinstance(s, str) and (match := TARGET.match(s))]
    return {t.removeprefix(f"{package}.").split(".")[0] for t in targets if t.startswith(package)}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_lines_agree(folder: Path) -> None:
    package = ".".join(folder.relative_to(ROOT).parts)
    assert registered((folder / "__init__.py").read_text(), package) == modules(folder)


def test_every_congestion_controller_is_in_the_table() -> None:
    # A controller may have helpers beside it that carry its name: bbr_model is bbr's.
    stems = {path.stem for path in CONTROLLERS.glob("*.pyx")}
    files = {stem for stem in stems if stem.rpartition("_")[0] not in stems}
    (table,) = re.findall(r"^CONTROLLERS = (\([^)]*\))", TABLE.read_text(), re.M)
    assert set(ast.literal_eval(table)) == files


def test_a_forgotten_line_is_seen() -> None:
    table = 'STORES = Registry("store", "g", {"memory": "session.stores.memory:MemoryStore"})'
    assert registered(table, "session.stores") == {"memory"}
    assert registered("STORES = {}", "session.stores") == set()
