"""Editing traces made up on the spot, in the format of recorded ones."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

from statesync.strategies.text import TextContent

LETTERS = ["a", "b", " ", "\u00e9", "\U0001f600", "word "]


def make_trace(seed: int, steps: int, authors: int = 2) -> dict[str, Any]:
    """Return a trace whose authors merge at random times, with the end text that a CRDT gives."""
    rng = Random(seed)
    copies = [TextContent(client_id=index + 1) for index in range(authors)]
    sent: list[list[list[bytes]]] = [[] for _ in range(authors)]
    seen = [[0] * authors for _ in range(authors)]
    last: list[list[int]] = [[] for _ in range(authors)]
    transactions: list[dict[str, Any]] = []
    for number in range(steps):
        author = rng.randrange(authors)
        parents = [last[author][-1]] if last[author] else []
        for other in range(authors):
            if other != author and len(sent[other]) > seen[author][other] and rng.random() < 0.3:
                until = rng.randint(seen[author][other] + 1, len(sent[other]))
                for updates in sent[other][seen[author][other] : until]:
                    for update in updates:
                        copies[author].apply(update)
                seen[author][other] = until
                parents.append(last[other][until - 1])
        patches, updates = [], []
        for _ in range(rng.randint(1, 3)):
            length = len(copies[author].text())
            at = rng.randint(0, length)
            cut = min(rng.choice([0, 0, 0, 1, 2]), length - at)
            text = rng.choice(LETTERS)
            patches.append([at, cut, text])
            updates.append(copies[author].edit(at, cut, text))
        sent[author].append(updates)
        last[author].append(number)
        transactions.append({"parents": parents, "agent": author, "patches": patches})
    for author, copy in enumerate(copies):
        for other in range(authors):
            if other != author:
                for updates in sent[other][seen[author][other] :]:
                    for update in updates:
                        copy.apply(update)
    assert len({copy.text() for copy in copies}) == 1
    return {"kind": "concurrent", "txns": transactions, "endContent": copies[0].text()}


def write_trace(path: Path, trace: object) -> Path:
    """Write a trace as .json.gz."""
    with gzip.open(path, "wt") as file:
        json.dump(trace, file)
    return path
