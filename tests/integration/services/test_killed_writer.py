"""Nothing that was acknowledged from disk is lost when the process is killed."""

import asyncio
import random
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from statesync.config import StateSyncConfig
from tests.support.acknowledging_child import ACTOR
from tests.support.services import documents

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 4


async def acknowledged_before_a_kill(path: Path, turn: int, count: int) -> list[list[str]]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.acknowledging_child",
        str(path),
        f"r{turn}",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(count)]
    child.kill()
    # What is in the pipe was acknowledged too; a torn last line was not written whole.
    lines += (await child.stdout.read()).splitlines(keepends=True)
    assert await child.wait() == -9
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


@pytest.mark.integration
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    told: dict[str, dict[int, tuple[str, int]]] = defaultdict(dict)
    for turn in range(ROUNDS):
        for doc_id, client_id, seq, version in await acknowledged_before_a_kill(
            tmp_path / "documents.db", turn, dice.randrange(50, 400)
        ):
            told[doc_id][int(version)] = (client_id, int(seq))
    assert sum(map(len, told.values())) >= 50 * ROUNDS, f"seed {seed}"
    async with documents("local-sqlite", tmp_path, StateSyncConfig(snapshot_every=20)) as door:
        for doc_id, acknowledged in told.items():
            log = []
            while page := (await door.service.operations_since(ACTOR, doc_id, len(log))).operations:
                log += page
            assert [o.version for o in log] == list(range(1, len(log) + 1)), f"seed {seed}"
            for version, name in acknowledged.items():
                found = log[version - 1]
                assert (found.client_id, found.client_seq) == name, f"seed {seed}"
            names = [(o.client_id, o.client_seq) for o in log]
            assert len(set(names)) == len(names), f"seed {seed}"
            expected: dict[str, dict[str, object]] = {}
            for operation in log:
                client, slot = operation.target
                expected.setdefault(client, {})[slot] = operation.payload
            snapshot = await door.service.get_document(ACTOR, doc_id)
            assert snapshot.content == expected, f"seed {seed}"
