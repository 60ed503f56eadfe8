from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from examples import replay
from tests.support.traces import make_trace, write_trace


def test_parents_become_how_much_of_each_author_was_seen() -> None:
    step = {"patches": [[0, 0, "x"]]}
    raw = {
        "endContent": "xxxx",
        "txns": [
            {**step, "agent": 0, "parents": []},
            {**step, "agent": 1, "parents": []},
            {**step, "agent": 1, "parents": [1]},
            {**step, "agent": 0, "parents": [0, 2]},
        ],
    }
    trace = replay.read_trace(raw)
    assert [item.seen for item in trace.transactions] == [(0, 0), (0, 0), (0, 1), (1, 2)]


def test_a_trace_of_one_author_needs_no_parents() -> None:
    raw = {"endContent": "ba", "txns": [{"patches": [[0, 0, "a"]]}, {"patches": [[0, 0, "b"]]}]}
    trace = replay.read_trace(raw)
    assert (trace.authors, trace.transactions[1].seen) == (1, (1,))


def test_a_limit_computes_the_end_that_is_due() -> None:
    raw = {"endContent": "ba", "txns": [{"patches": [[0, 0, "a"]]}, {"patches": [[0, 0, "b"]]}]}
    assert replay.read_trace(raw, 1).end == "a"


def test_an_author_who_forgot_their_own_past_is_refused() -> None:
    raw = {"endContent": "", "txns": [{"parents": [], "agent": 0, "patches": []}] * 2}
    with pytest.raises(replay.BadTrace, match="transaction 1 does not follow"):
        replay.read_trace(raw)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"endContent": ""}, "KeyError"),
        ({"txns": [], "endContent": ""}, "no transactions"),
        ({"txns": [{"agent": 5, "parents": [], "patches": []}], "endContent": ""}, "6 authors"),
        ({"txns": [{"agent": 0, "parents": [9], "patches": []}], "endContent": ""}, "IndexError"),
        ([1], "TypeError"),
    ],
)
def test_a_file_that_is_no_trace_is_named_in_one_sentence(
    tmp_path: Path, content: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_trace(tmp_path / "bad.json.gz", content)
    assert replay.main([str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_missing_or_unpacked_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main([str(tmp_path / "none.json.gz")]) == 2
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "plain.json").write_text("{}")
    assert replay.main([str(tmp_path / "plain.json")]) == 2
    assert "not a gzipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--loss", "105%"], ["--loss", "much"], ["--delay", "25"], ["--kill", "-1"], ["--burst", "0"]],
)
def test_wrong_options_exit_with_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_trace(tmp_path / "t.json.gz", make_trace(1, 3))
    try:
        status = replay.main([str(path), *arguments])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_units_are_read() -> None:
    assert replay.share("5%") == replay.share("0.05") == 0.05
    assert [replay.duration_ns(t) for t in ("25ms", "0.5s", "10us")] == [
        25_000_000,
        500_000_000,
        10_000,
    ]
    with pytest.raises(ArgumentTypeError):
        replay.duration_ns("ms")
