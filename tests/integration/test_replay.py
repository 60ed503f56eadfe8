"""The replay example, end to end, on traces made by the test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.traces import make_trace, write_trace

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "replay.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize("transport", ["quantum", "websocket", "mixed"])
def test_a_trace_of_two_authors_ends_equal_over_a_bad_network(
    transport: str, tmp_path: Path
) -> None:
    path = write_trace(tmp_path / "trace.json.gz", make_trace(5, 120))
    numbers = tmp_path / "numbers.json"
    done = run(
        str(path), "--loss", "5%", "--delay", "2ms", "--transport", transport,
        "--json", str(numbers),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EQUAL" in done.stdout
    result = json.loads(numbers.read_text())
    assert (result["equal"], result["transactions"]) == (True, 120)


def test_a_gateway_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.json.gz", make_trace(6, 400))
    numbers = tmp_path / "numbers.json"
    done = run(
        str(path), "--loss", "2%", "--delay", "2ms", "--transport", "mixed", "--kill", "2",
        "--json", str(numbers),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(numbers.read_text())["kills"] == 2


def test_an_end_that_cannot_be_is_said_and_exits_with_1(tmp_path: Path) -> None:
    trace = make_trace(7, 20)
    trace["endContent"] += "!"
    done = run(str(write_trace(tmp_path / "trace.json.gz", trace)), "--transport", "websocket")
    assert done.returncode == 1
    assert "NOT EQUAL" in done.stdout


def test_help_says_what_it_does_and_what_the_status_means() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "exactly up to the parents" in done.stdout.replace("\n", " ")
    assert "exit status is 0 only" in done.stdout
