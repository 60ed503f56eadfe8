"""The tree of errors: what catches what, and what every one of them tells."""

import pytest

import quantum
from quantum import errors

CONNECTION = [
    quantum.HandshakeError,
    quantum.ConnectionClosed,
    quantum.TransportFailure,
    quantum.IdleTimeout,
    quantum.StatelessReset,
]
STREAM = [quantum.StreamReset, quantum.StreamStopped, quantum.StreamFinished]


@pytest.mark.parametrize("kind", CONNECTION)
def test_every_end_of_a_connection_is_one_family(kind: type[quantum.ConnectionFailed]) -> None:
    error = kind("the reason", code=5, remote=True)
    assert isinstance(error, quantum.ConnectionFailed)
    assert isinstance(error, quantum.QuantumError)
    assert isinstance(error, ConnectionError)
    assert (str(error), error.reason, error.code, error.remote) == (
        "the reason",
        "the reason",
        5,
        True,
    )


@pytest.mark.parametrize("kind", STREAM)
def test_every_end_of_a_stream_names_it(kind: type[quantum.StreamError]) -> None:
    error = kind("the reason", stream_id=8, code=5, remote=True)
    assert isinstance(error, quantum.QuantumError)
    assert not isinstance(error, quantum.ConnectionFailed)
    assert (str(error), error.stream_id, error.code, error.remote) == ("the reason", 8, 5, True)


def test_what_a_caller_did_wrong_is_also_what_python_calls_it() -> None:
    assert issubclass(quantum.ConfigurationError, ValueError)
    assert issubclass(quantum.AddressError, OSError)
    assert issubclass(quantum.AddressError, quantum.ConfigurationError)
    assert issubclass(quantum.IdleTimeout, TimeoutError)


def test_by_default_nobody_is_to_blame_and_a_close_is_the_applications() -> None:
    error = quantum.ConnectionClosed("x")
    assert (error.code, error.remote, error.is_application) == (0, False, True)


def test_every_error_is_offered_by_the_package() -> None:
    every = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.QuantumError)
    }
    assert every <= set(quantum.__all__)
