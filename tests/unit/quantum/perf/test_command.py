"""Bad usage of ``quantum perf`` gets one clear sentence and status 2."""

import pytest

from quantum.perf import main
from quantum.perf.bench import Plan, steps
from quantum.perf.peers import PEERS, load_peer


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--peers", "tcp,carrier-pigeon"], "nothing is called 'carrier-pigeon'; known: "),
        (["--measures", "mood"], "nothing is called 'mood'; known: bulk"),
        (["--rounds", "0"], "a whole number from 1 is needed, not '0'"),
        (["--seconds", "long"], "seconds from 0.01 to 30 are needed, not 'long'"),
        (["--loop", "trio"], "invalid choice"),
    ],
)
def test_bad_usage_says_what_would_be_good(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", PEERS)
def test_every_registered_peer_can_be_loaded(name: str) -> None:
    peer = load_peer(name)
    assert callable(peer.serve)
    assert callable(peer.connect)


def test_steps_count_calibration_too() -> None:
    assert steps(Plan(peers=["tcp", "tls"], measures=["bulk"], rounds=3)) == 8
