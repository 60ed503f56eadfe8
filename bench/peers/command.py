"""The two verbs of a peer written in Python, ``serve`` and ``run``; the README has the contract."""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.peers.line import ContentError, Line, Offer, Options, Transport
from bench.peers.program import TASKS
from bench.peers.tasks import (
    answer_task,
    run_bulk,
    run_handshake,
    run_messages,
    run_realtime,
    run_request,
    run_response,
)

# Where growing begins; small enough for the slowest transport.
FIRST_COUNT = {"messages": 1000, "request": 200, "handshake": 20}
RUN_TIMEOUT_S = 120.0
CONNECT_AT_ONCE = 32


def main(transport: Transport, failures: tuple[type[Exception], ...] = ()) -> int:
    """Serve or run a task as the command line says; return the exit status.

    *failures* are the transport's own exceptions that a run may end with.
    """
    # An interrupt of the terminal reaches every process; whoever started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_many_files()
    options = _parser().parse_args()
    expected: tuple[type[Exception], ...] = (
        ContentError,
        OSError,
        EOFError,
        TimeoutError,
        ValueError,
        *failures,
    )
    with asyncio.Runner(loop_factory=_loop_factory(options.loop)) as runner:
        try:
            if options.verb == "serve":
                runner.run(_serve(transport, options, expected))
            else:
                runner.run(_run(transport, options))
        except expected as failure:
            return _failed(failure)
        except ExceptionGroup as failures_together:
            # Of several connections; one reason is enough, if all are of the expected kinds.
            foreign = failures_together.split(expected)[1]
            if foreign is not None:
                raise
            return _failed(_first(failures_together))
    return 0


def _failed(failure: BaseException) -> int:
    say({"error": f"{type(failure).__name__}: {failure}"})
    return 1


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def say(value: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="A peer of the bench; see bench/peers/README.md.")
    found.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    verbs = found.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve")
    serve.add_argument("--listen", type=_address, required=True, metavar="ADDR:PORT")
    run = verbs.add_parser("run")
    run.add_argument("task", choices=TASKS)
    run.add_argument("--connect", type=_address, required=True, metavar="ADDR:PORT")
    run.add_argument("--offer", type=json.loads, required=True, metavar="JSON")
    run.add_argument("--seconds", type=float, default=1.0)
    run.add_argument("--count", type=int, default=0)
    run.add_argument("--size", type=int, default=20480)
    run.add_argument("--rate", type=float, default=60.0, help="messages per second")
    run.add_argument("--pause", type=float, default=0.0, help="seconds between responses")
    run.add_argument("--parallel", type=int, default=1)
    for verb in (serve, run):
        verb.add_argument("--congestion", default="")
        verb.add_argument("--profile", default="")
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    import uvloop

    return uvloop.new_event_loop


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ---- serve ----


async def _serve(
    transport: Transport, options: argparse.Namespace, expected: tuple[type[Exception], ...]
) -> None:
    async def handle(line: Line) -> None:
        # The client reports what went wrong; here the connection just ends.
        with contextlib.suppress(*expected):
            await answer_task(line)

    host, port = options.listen
    async with transport.serve(handle, host, port, _options(options)) as offer:
        say(offer)
        await _end_of_input()


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def on_readable() -> None:
        if not os.read(0, 4096) and not ended.done():
            ended.set_result(None)

    # A pipe, always: whoever starts a peer holds its other end.
    loop.add_reader(0, on_readable)
    try:
        await ended
    finally:
        loop.remove_reader(0)


# ---- run ----


async def _run(transport: Transport, options: argparse.Namespace) -> None:
    task = options.task
    host, port = options.connect
    offer: Offer = options.offer

    def connect() -> contextlib.AbstractAsyncContextManager[Line]:
        return transport.connect(host, port, offer, _options(options))

    if task == "hold":
        await _hold(transport, options)
        return
    if task == "bulk":
        start_ns = time.monotonic_ns()
        async with asyncio.timeout(options.seconds + RUN_TIMEOUT_S), connect() as line:
            say(await run_bulk(line, start_ns, options.seconds))
        return
    if task in FIRST_COUNT:
        say(await _grown(connect, options))
        return
    async with connect() as line:
        if task == "realtime":
            count = options.count or int(options.seconds * options.rate)
            say(await run_realtime(line, count, options.rate))
        else:
            say(await run_response(line, options.count or 100, options.size, options.pause))


async def _grown(
    connect: Callable[[], contextlib.AbstractAsyncContextManager[Line]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Run with the count asked for, or with one that takes about the seconds asked for."""

    async def once(count: int) -> dict[str, Any]:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            if options.task == "handshake":
                return await _handshakes(connect, count, options.parallel)
            async with connect() as line:
                if options.task == "messages":
                    return await run_messages(line, count)
                return await run_request(line, count)

    if options.count:
        return await once(options.count)
    count = FIRST_COUNT[options.task]
    while True:
        outcome = await once(count)
        if outcome["seconds"] >= options.seconds / 4:
            break
        # Short runs tell little of the pace; never trust one for more than a factor of eight.
        wanted = options.seconds / 2 / max(outcome["seconds"], 1e-6)
        count = int(count * min(8.0, max(2.0, wanted)))
    return await once(max(1, int(count * options.seconds / outcome["seconds"])))


async def _handshakes(
    connect: Callable[[], contextlib.AbstractAsyncContextManager[Line]], count: int, parallel: int
) -> dict[str, Any]:
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            async with connect() as line:
                await run_handshake(line)

    began = time.monotonic_ns()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(parallel):
            tasks.create_task(one_after_another())
    seconds = (time.monotonic_ns() - began) / 1e9
    return {"count": count, "seconds": seconds, "ok": True}


async def _hold(transport: Transport, options: argparse.Namespace) -> None:
    host, port = options.connect
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)
    async with contextlib.AsyncExitStack() as held:

        async def one() -> None:
            async with gate:
                await held.enter_async_context(
                    transport.hold(host, port, options.offer, _options(options))
                )

        async with asyncio.TaskGroup() as tasks:
            for _ in range(options.count):
                tasks.create_task(one())
        say({"held": options.count, "ok": True})
        await _end_of_input()


def _options(options: argparse.Namespace) -> Options:
    return Options(options.congestion, options.profile)
