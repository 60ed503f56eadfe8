"""The documentation points at things that exist: files, verbs of make, places in the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT, ROOT / "docs", ROOT / "docs/adr", ROOT / "cython_ext"]
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# Code that begins with make, in a line of its own or inline; settings may stand before the verb.
VERB = re.compile(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z]+)\b", re.M)
TARGET = re.compile(r"^([a-z]+):", re.M)
ADR = re.compile(r"^(\d{4})-[a-z0-9-]+\.md$")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_link_leads_somewhere(page: Path) -> None:
    assert not [t for t in LINK.findall(page.read_text()) if not (page.parent / t).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_verb_of_make_exists(page: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    assert not set(VERB.findall(page.read_text())) - targets


def test_decisions_are_numbered_without_a_gap_and_fit_a_page() -> None:
    records = sorted(p for p in (ROOT / "docs/adr").glob("*.md") if p.name != "README.md")
    numbers = [int(match[1]) for p in records if (match := ADR.match(p.name))]
    assert numbers == list(range(1, len(records) + 1))
    assert not [name(p) for p in records if len(p.read_text().split()) > 600]
    index = (ROOT / "docs/adr/README.md").read_text()
    assert not [p.name for p in records if p.name not in index]
