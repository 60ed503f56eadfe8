"""Life cycle, logs and metrics."""

import asyncio
import io
import json
import logging
import os
import signal
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
import structlog

from svckit import logs
from svckit.lifecycle import Lifecycle, Phase, TaskFailed
from svckit.metrics import Metrics


@pytest.fixture
def quiet() -> Iterator[io.StringIO]:
    """Logging to a string, put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


async def test_steps_run_in_reverse_order_drains_before_stops(quiet: io.StringIO) -> None:
    done: list[str] = []

    def step(name: str, fails: bool = False) -> object:
        async def run() -> None:
            done.append(name)
            if fails:
                raise RuntimeError(name)

        return run

    phases: list[Phase] = []
    async with Lifecycle(signals=False) as life:
        assert not life.is_ready
        life.on_phase(phases.append)
        life.on_stop(step("stop 1"))  # type: ignore[arg-type]
        life.on_drain(step("drain 1"))  # type: ignore[arg-type]
        life.on_drain(step("drain 2", fails=True))  # type: ignore[arg-type]
        life.on_stop(step("stop 2"))  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(life.stop)
        await life.run()
    assert done == ["drain 2", "drain 1", "stop 2", "stop 1"]
    assert phases == [Phase.READY, Phase.DRAINING, Phase.STOPPED]
    assert "step failed" in quiet.getvalue()


async def test_a_signal_stops_the_process(quiet: io.StringIO) -> None:
    async with Lifecycle() as life:
        life.on_phase(lambda phase: os.kill(os.getpid(), signal.SIGTERM) if life.is_ready else None)
        async with asyncio.timeout(5):
            await life.run()
    assert '"reason": "SIGTERM"' in quiet.getvalue()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_task_that_fails_stops_the_process_and_says_which(quiet: io.StringIO) -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def broken() -> None:
        raise LookupError("gone")

    async def process() -> None:
        async with Lifecycle(signals=False) as life:
            life.spawn(endless(), name="endless")
            life.spawn(broken(), name="sweeper")
            async with asyncio.timeout(5):
                await life.run()

    with pytest.raises(TaskFailed, match="'sweeper' failed") as failed:
        await process()
    assert isinstance(failed.value.__cause__, LookupError)
    assert cancelled.is_set()


async def test_a_step_that_hangs_is_given_up(quiet: io.StringIO) -> None:
    async with Lifecycle(signals=False, drain_timeout_s=0.01) as life:
        life.on_drain(asyncio.Event().wait)
    assert life.phase is Phase.STOPPED
    assert "TimeoutError" in quiet.getvalue()


def test_logs_of_both_libraries_are_one_kind_of_json(quiet: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(trace_id="t-1"):
        logs.logger("ours").info("hello", n=1)
        logging.getLogger("theirs").warning("old %s", "style")
    ours, theirs = (json.loads(line) for line in quiet.getvalue().splitlines())
    assert (ours["event"], ours["n"], ours["level"]) == ("hello", 1, "info")
    assert (theirs["event"], theirs["logger"]) == ("old style", "theirs")
    assert ours["trace_id"] == theirs["trace_id"] == "t-1"


def test_a_level_that_is_unknown_is_said() -> None:
    with pytest.raises(ValueError, match="'loud' is unknown"):
        logs.configure(level="loud")


def test_metrics_are_the_processs_own_and_are_served() -> None:
    first, second = Metrics("app"), Metrics("app")
    first.counter("edits", "Edits.", ["kind"]).labels("move").inc(3)
    second.counter("edits", "Edits.")
    first.gauge("open", "Open.").set(2)
    first.histogram("wait_seconds", "Waiting.").observe(0.3)
    server = first.serve("127.0.0.1", 0)
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.close()
    assert 'app_edits_total{kind="move"} 3.0' in text
    assert "app_open 2.0" in text
    assert 'app_wait_seconds_bucket{le="0.5"} 1.0' in text
    assert b'kind="move"' not in second.exposition()[0]


def test_plain_numbers_are_read_when_they_are_asked_for() -> None:
    counts = {"a": 1.0}
    metrics = Metrics("app")
    metrics.read("seen", "Seen.", lambda: counts, "what")
    metrics.read("held", "Held.", lambda: {"x": 5.0}, "what", "gauge")
    counts["b"] = 2.0
    text = metrics.exposition()[0].decode()
    assert 'app_seen_total{what="a"} 1.0' in text
    assert 'app_seen_total{what="b"} 2.0' in text
    assert 'app_held{what="x"} 5.0' in text
