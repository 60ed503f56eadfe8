"""The command line: good use, and bad use that gets one clear sentence."""

import json
import re
import stat
from pathlib import Path

import pytest

from quantum.__main__ import main

PIN = "ab" * 32


def test_doctor_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"name", "verdict", "seen", "remedy"} == set(findings[0])


def test_version_names_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.match(r"quantum .+, Python 3\.\d+\.\d+.*, native modules in", capsys.readouterr().out)


def test_keygen_writes_a_key_for_its_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.key"
    assert main(["keygen", str(file)]) == 0
    pin = capsys.readouterr().out.strip()
    assert len(bytes.fromhex(pin)) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert main(["keygen", "--show", str(file)]) == 0
    assert capsys.readouterr().out.strip() == pin


def test_keygen_leaves_an_existing_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.key"
    file.write_text("precious")
    assert main(["keygen", str(file)]) == 1
    assert "was left alone" in capsys.readouterr().err
    assert file.read_text() == "precious"


@pytest.mark.parametrize("arguments", [["--show", "missing.key"], ["no/such/folder/server.key"]])
def test_keygen_says_which_file_it_cannot_use(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keygen", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert arguments[-1] in line


def test_keygen_refuses_a_file_that_is_no_identity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.key"
    file.write_bytes(b"precious")
    assert main(["keygen", "--show", str(file)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: VERB"),
        (["sing"], "invalid choice: 'sing'"),
        (["keygen"], "required: file"),
        (["ping", "127.0.0.1:4433"], "required: --pin"),
        (["ping", "127.0.0.1", "--pin", PIN], "is not HOST:PORT"),
        (["ping", ":4433", "--pin", PIN], "is not HOST:PORT"),
        (["ping", "::1:4433", "--pin", PIN], "is not HOST:PORT"),
        (["ping", "127.0.0.1:0", "--pin", PIN], "is not a port"),
        (["ping", "127.0.0.1:65536", "--pin", PIN], "is not a port"),
        (["ping", "127.0.0.1:http", "--pin", PIN], "is not a port"),
        (["ping", "127.0.0.1:4433", "--pin", "abc"], "is not a pin"),
        (["ping", "127.0.0.1:4433", "--pin", PIN[:-2]], "is not a pin"),
        (["ping", "127.0.0.1:4433", "--pin", PIN, "--count", "0"], "is not a number"),
        (["ping", "127.0.0.1:4433", "--pin", PIN, "--count", "-1"], "is not a number"),
        (["ping", "127.0.0.1:4433", "--pin", PIN, "--timeout", "nan"], "is not a duration"),
        (["ping", "127.0.0.1:4433", "--pin", PIN, "--interval", "soon"], "is not a duration"),
    ],
)
def test_wrong_usage_gets_one_sentence_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error.splitlines()[-1]
    assert "Traceback" not in error


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in ("keygen", "ping", "doctor", "perf", "version"))
