"""The command line: every verb, and one sentence for everything that is wrong."""

import io
from pathlib import Path

import pytest

from gateway.__main__ import main

Capsys = pytest.CaptureFixture[str]


def run(capsys: Capsys, *arguments: str) -> tuple[int, str, str]:
    """Run a verb; returns status, output and errors."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    output, errors = capsys.readouterr()
    return status, output, errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: VERB"),
        (["dance"], "invalid choice: 'dance'"),
        (["serve", "--http-port", "99999"], "'99999' is not a port"),
        (["serve", "--config", "no-such.yaml"], "no-such.yaml does not exist"),
        (["validate"], "required: file"),
        (["validate", "no-such.yaml"], "no-such.yaml does not exist"),
        (["user", "add"], "required: name"),
        (["token", "alice", "--seconds", "-1"], "at least 1"),
        (["token", "nobody"], "there is no user 'nobody'"),
        (["user", "disable", "nobody"], "there is no user 'nobody'"),
        (["user", "add", "carol"], "--password-stdin"),
    ],
)
def test_a_wrong_command_line_gives_one_sentence_and_status_2(
    capsys: Capsys, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    if (arguments[:1] in (["user"], ["token"]) and len(arguments) > 2) or arguments[:1] == [
        "token"
    ]:
        arguments = [*arguments, "--data-dir", str(tmp_path)]
    status, _, errors = run(capsys, *arguments)
    assert status == 2
    assert sentence in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("htpp: {port: 1}", "did you mean 'http'"),
        ("http: {prot: 1}", "did you mean 'port'"),
        ("http: {port: many}", "'http.port' is wrong"),
        ("http: {port: 70000}", "http.port must be from 0 to 65535"),
        ("mode: dev\nhttp: {host: 0.0.0.0}", "may listen on loopback only"),
        ("services: {session: 'tcp://x'}", "grpc://host:port"),
        ("client: {policy: shrug}", "'client.policy' is wrong"),
        ("client: {outbox_bytes: 0}", "must be above 0"),
        ("quantum: {enabled: false}\nhttp: {enabled: false}", "nothing would listen"),
        ("[", "not valid YAML"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(
    capsys: Capsys, tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    status, _, errors = run(capsys, "validate", str(file))
    assert status == 2
    assert sentence in errors
    assert "Traceback" not in errors


def test_the_generated_configuration_is_valid(capsys: Capsys, tmp_path: Path) -> None:
    status, text, _ = run(capsys, "genconfig")
    assert status == 0
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    assert (run(capsys, "validate", str(file)))[:2] == (0, f"{file} is valid\n")


def test_users_are_added_listed_and_disabled(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ["--data-dir", str(tmp_path)]
    monkeypatch.setattr("sys.stdin", io.StringIO("a good password\n"))
    assert run(capsys, "user", "add", "carol", "--admin", "--password-stdin", *place)[0] == 0
    status, listed, _ = run(capsys, "user", "list", *place)
    assert (status, "carol" in listed, "admin" in listed) == (0, True, True)
    status, token, _ = run(capsys, "token", "carol", *place)
    assert (status, token.count(".")) == (0, 2)
    assert (run(capsys, "user", "disable", "carol", *place))[0] == 0
    assert "disabled" in (run(capsys, "user", "list", *place))[1]


def test_help_and_version_are_printed(capsys: Capsys) -> None:
    status, text, _ = run(capsys, "--help")
    assert status == 0
    assert "serve" in text
    assert "examples:" in text
    assert (run(capsys, "version"))[1].startswith("quantum-gateway ")
