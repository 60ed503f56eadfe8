"""Texts that are kept in tests/snapshots and compared with what the code says now."""

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "snapshots"


def assert_snapshot(name: str, text: str) -> None:
    """Assert that *text* is what the snapshot holds; UPDATE_SNAPSHOTS=1 writes it instead."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{path} is missing; run once with UPDATE_SNAPSHOTS=1 and read it"
    assert path.read_text() == text, f"{path.name} changed; if rightly, set UPDATE_SNAPSHOTS=1"
