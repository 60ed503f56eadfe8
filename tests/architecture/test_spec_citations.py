"""Code cites docs/protocol.md; the citations must be true and the MUSTs complete.

A citation is a comment ``#= <section>: <sentence>`` above the code that obeys it; a long sentence
goes on in further comments that begin so. The formatter of Python files writes ``# =``.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATION = ROOT / "docs/protocol.md"
DRIVER = ROOT / "cython_ext/driver/pump.pyx"
HEADING = re.compile(r"^#+ (\d+(?:\.\d+)*) .*$", re.M)
COMMENTS = re.compile(r"(?:^[ \t]*# ?=.*\n?)+", re.M)
CITATION = re.compile(r"^([\d.]+): (.+)$")
# "where no MUST stands" speaks about the word; it demands nothing.
DEMAND = re.compile(r"(?<!\bno )\bMUST\b")

Citation = tuple[str, str]


def flat(text: str) -> str:
    return " ".join(text.split())


def sections(text: str) -> dict[str, str]:
    _, *parts = HEADING.split(text)
    return {number: flat(body) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def demands(text: str) -> list[Citation]:
    """Return every (section, sentence) of the specification that has a MUST."""
    return [
        (number, sentence)
        for number, body in sections(text).items()
        for sentence in re.split(r"(?<=[.:]) (?=[A-Z|])", body)
        if DEMAND.search(sentence)
    ]


def citations(text: str) -> set[Citation]:
    """Return the citations in one source file, their continuation lines joined."""
    found: list[Citation] = []
    for block in COMMENTS.findall(text):
        for line in block.splitlines():
            words = flat(line.strip().removeprefix("#").lstrip().removeprefix("="))
            if match := CITATION.match(words):
                found.append((match[1], match[2]))
            elif found:
                found[-1] = (found[-1][0], f"{found[-1][1]} {words}")
    return set(found)


def uncited(text: str, cited: set[Citation]) -> list[Citation]:
    return [
        (number, sentence)
        for number, sentence in demands(text)
        if not any(
            number == section and "MUST" in quote and (quote in sentence or sentence in quote)
            for section, quote in cited
        )
    ]


def sources() -> list[Path]:
    native = [p for e in ("pyx", "pxd", "py", "c", "h") for p in ROOT.glob(f"cython_ext/**/*.{e}")]
    return [*native, *ROOT.glob("quantum/**/*.py")]


def all_citations() -> set[Citation]:
    return {hit for path in sources() for hit in citations(path.read_text())}


def test_every_citation_is_in_its_section() -> None:
    text = sections(SPECIFICATION.read_text())
    assert not [c for c in sorted(all_citations()) if c[1] not in text.get(c[0], "")]


def test_every_must_is_cited() -> None:
    assert not uncited(SPECIFICATION.read_text(), all_citations())


SAMPLE = """# T\n\n## 1 One\n\nA receiver MUST drop it. Where no MUST stands, none is meant.

### 1.1 Two\n\n| a | b |\n|---|---|\n| c | d |\n\nA sender\nMUST NOT send it.\n"""


def test_a_demand_without_a_citation_is_found() -> None:
    assert [number for number, _ in demands(SAMPLE)] == ["1", "1.1"]
    cited = citations("    #= 1.1: A sender MUST NOT\n    # = send it.\n    x = 1\n")
    assert cited == {("1.1", "A sender MUST NOT send it.")}
    assert uncited(SAMPLE, cited) == [("1", "A receiver MUST drop it.")]


def test_a_citation_of_another_section_does_not_count() -> None:
    assert len(uncited(SAMPLE, {("1.1", "A receiver MUST drop it.")})) == 2
