"""``quantum perf`` with its real processes, briefly."""

import json
from pathlib import Path

import pytest

from quantum.perf import main
from quantum.perf.bench import BenchError, Plan, run
from quantum.perf.peers import PEERS

pytestmark = pytest.mark.integration


def test_every_peer_is_measured_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "perf.json"
    assert main(["--seconds", "0.02", "--rounds", "1", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "| one stream, bulk" in out
    assert "[1/" in err
    written = json.loads(file.read_text())
    assert {(r["peer"], r["measure"]) for r in written["results"]} == {
        (peer, measure) for peer in PEERS for measure in ("bulk", "messages", "requests")
    }
    assert all(r["median"] > 0 for r in written["results"])


async def test_a_process_that_dies_is_reported() -> None:
    plan = Plan(peers=["nobody"], measures=["bulk"])
    with pytest.raises(BenchError, match="the server of nobody has ended"):
        await run(plan, lambda text: None)


def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "missing" / "perf.json"
    assert main(["--json", str(file)]) == 1
    assert capsys.readouterr().err == (
        f"quantum perf: there is no folder {file.parent} to write to\n"
    )
