"""Every import contract bites: one forbidden import is planted for each in a copy of the tree.

A contract that cannot fail proves nothing, and wildcards are easy to get wrong.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
NAMES = [contract["name"] for contract in CONFIG["contracts"]]
PLANTED = {
    "The house": ("session/service.py", "import statesync.api"),
    "Services live without": ("svckit/registry.py", "import quantum"),
    "Native code is reached": ("gateway/hub.py", "import cython_ext.core"),
    "Facades only": ("quantum/stream.py", "from cython_ext.core.planted import Planted"),
    "Only quantum.endpoint": ("quantum/connection.py", "import cython_ext.udp"),
    "Generated code": ("gateway/hub.py", "import quantum_pb"),
    "The oracle": ("interop/planted.py", "import quantum.errors"),
    "The product does not run": ("quantum/server.py", "import quantum.testing.network"),
    "Inside quantum": ("quantum/errors.py", "import quantum.connection"),
    "Inside session": ("session/api.py", "import session.store"),
    "Inside statesync": ("statesync/clock.py", "import statesync.document"),
    "Inside gateway": ("gateway/messages.py", "import gateway.hub"),
    "The client kit": ("gateway/sdk/planted.py", "import gateway.hub"),
    "Plug-ins": ("session/stores/planted.py", "import session.stores.memory"),
    "A service does not know": ("statesync/service.py", "import statesync.stores.memory"),
    "Rules and documents": ("statesync/api.py", "import asyncio"),
}


def planted_for(contract: str) -> tuple[str, str]:
    (found,) = [plant for prefix, plant in PLANTED.items() if contract.startswith(prefix)]
    return found


def lint(folder: Path) -> str:
    command = "from importlinter.cli import lint_imports_command as run; run()"
    result = subprocess.run(
        [sys.executable, "-c", command, "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "500"},
        capture_output=True,
        text=True,
    )
    return result.stdout + result.stderr


def plant(folder: Path, name: str, text: str) -> None:
    """Append *text* to a module of the copy, making the module and its packages where missing."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for package in path.relative_to(folder).parents:
        if package.name:
            (folder / package / "__init__.py").touch()
    with path.open("a") as file:
        file.write(f"\n{text}\n")


@pytest.fixture(scope="module")
def broken_tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the linter says about a copy of the tree in which every contract is violated."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.pyx", "*.pxd", "*.pyi", "*.c", "*.h")
    for package in CONFIG["root_packages"]:
        if (ROOT / package).is_dir():
            shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    for name, _ in PLANTED.values():
        plant(folder, name, "")
    for line in {line for _, line in PLANTED.values()}:
        target = re.sub(r"^(?:from|import) ([\w.]+).*", r"\1", line)
        ours = target.split(".")[0] in CONFIG["root_packages"] and "planted" not in target
        if ours and not (folder / target.replace(".", "/")).is_dir():
            plant(folder, target.replace(".", "/") + ".py", "")
    for name, line in PLANTED.values():
        plant(folder, name, line)
    return lint(folder)


def test_the_tree_keeps_every_contract() -> None:
    report = lint(ROOT)
    assert f"{len(NAMES)} kept, 0 broken" in report, report


@pytest.mark.parametrize("contract", NAMES)
def test_a_planted_import_breaks_its_contract(contract: str, broken_tree: str) -> None:
    _, _, details = broken_tree.partition("Broken contracts")
    sections = re.split(r"\n([^\n]+)\n-{3,}\n", details)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    importer = planted_for(contract)[0].removesuffix(".py").replace("/", ".")
    assert importer in texts.get(contract, ""), texts.get(contract, broken_tree)
