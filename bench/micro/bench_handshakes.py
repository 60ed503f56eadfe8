"""How many handshakes one core does: each side's share without sockets, the server's over loopback.

    python bench/micro/bench_handshakes.py [--count N] [--rounds N] [--json FILE]

Without sockets a client endpoint and a server endpoint of the core stand in one process, and the
time that each spends is added up by itself. Over loopback `quantum.serve` runs in a process of its
own, and its CPU time, system calls and the end of each connection included, is divided by the
handshakes. Every handshake is checked: both ends must export the same secret.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from time import perf_counter_ns, process_time_ns, thread_time_ns

import quantum
from cython_ext.core import Connection, Endpoint, Params

CLIENT = ("127.0.0.1", 40_000)
SERVER = ("127.0.0.1", 4433)
# A listener forgets connections that nobody ends only after a while: few at a time.
TOGETHER = 16


class Clock:
    """Adds up the CPU time of blocks."""

    def __init__(self) -> None:
        self.spent_ns = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the CPU time of this thread in the block."""
        began = thread_time_ns()
        yield
        self.spent_ns += thread_time_ns() - began


def core_shares(count: int) -> tuple[float, float]:
    """Return the microseconds of CPU that one handshake costs (server, client)."""
    identity = quantum.Identity.generate()
    server = Endpoint(Params(), os.urandom, identity.seed)
    server_clock, client_clock = Clock(), Clock()
    for number in range(count):
        now_ns = 1_000_000_000 + number
        client = Endpoint(Params(), os.urandom)
        with client_clock.running():
            near = client.connect(SERVER, identity.public_key, now_ns)
            hello = client.poll_datagrams(now_ns)
        with server_clock.running():
            for _, datagram in hello:
                server.handle_datagram(datagram, CLIENT, now_ns)
            answer = server.poll_datagrams(now_ns)
        with client_clock.running():
            for _, datagram in answer:
                client.handle_datagram(datagram, SERVER, now_ns)
            finished = client.poll_datagrams(now_ns)
        with server_clock.running():
            for _, datagram in finished:
                server.handle_datagram(datagram, CLIENT, now_ns)
            done = server.poll_datagrams(now_ns)
        with client_clock.running():
            for _, datagram in done:
                client.handle_datagram(datagram, SERVER, now_ns)
        far = server.connections()[0]
        check(near, far)
        far.close(0, b"", True, now_ns)
        server.poll_datagrams(now_ns)
        server.handle_timeout(now_ns + 3_600_000_000_000)
        server.poll_datagrams(now_ns)
        server.poll_connections()
    return server_clock.spent_ns / count / 1e3, client_clock.spent_ns / count / 1e3


def check(near: Connection, far: Connection) -> None:
    """Raise SystemExit unless both ends hold the same secrets."""
    if near.secrets is None or far.secrets is None:
        raise SystemExit("a handshake did not finish")
    if near.secrets.export("bench", 32) != far.secrets.export("bench", 32):
        raise SystemExit("the ends of a connection hold different secrets")


def serve(pipe: Pipe) -> None:
    """Serve in this process until told to stop; answer each word with the CPU time spent, in ns."""

    async def run() -> None:
        identity = quantum.Identity.generate()

        async def handle(connection: quantum.Connection) -> None:
            stream = await connection.accept_stream()
            await stream.write(connection.exporter("bench", 32))
            await connection.wait_closed()

        async with quantum.serve(
            handle, "127.0.0.1", 0, identity=identity, config=quantum.loopback()
        ) as listener:
            pipe.send((listener.port, identity.pin))
            while await asyncio.to_thread(pipe.recv):
                pipe.send(process_time_ns())

    pin_to_one_core()
    asyncio.run(run())


async def loopback_shares(pipe: Pipe, port: int, pin: str, count: int) -> tuple[float, float]:
    """Return the microseconds of CPU that one connection costs the server's process, and the
    handshakes per second that this process got out of it."""
    config = quantum.loopback()

    async def some(share: int) -> None:
        for _ in range(share):
            connection = await quantum.connect(("127.0.0.1", port), pin=pin, config=config)
            stream = await connection.open_stream()
            await stream.write(b"?")
            if await stream.read_exactly(32) != connection.exporter("bench", 32):
                raise SystemExit("the ends of a connection hold different secrets")
            connection.discard()

    pipe.send(True)
    before_ns: int = pipe.recv()
    began = perf_counter_ns()
    await asyncio.gather(*(some(count // TOGETHER) for _ in range(TOGETHER)))
    spent_ns = perf_counter_ns() - began
    pipe.send(True)
    done = count // TOGETHER * TOGETHER
    return (pipe.recv() - before_ns) / done / 1e3, done / spent_ns * 1e9


def pin_to_one_core() -> None:
    """Let this process run on one core only."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write handshakes per second here")
    options = parser.parse_args()
    pipe, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    port, pin = pipe.recv()
    pin_to_one_core()
    core_shares(100)
    shares = [core_shares(options.count) for _ in range(options.rounds)]
    server_us = statistics.median(server for server, _ in shares)
    client_us = statistics.median(client for _, client in shares)
    loops = [
        asyncio.run(loopback_shares(pipe, port, pin, options.count)) for _ in range(options.rounds)
    ]
    pipe.send(False)
    server.join()
    process_us = statistics.median(spent for spent, _ in loops)
    rate = statistics.median(rate for _, rate in loops)
    for title, spent_us in (
        ("server, core", server_us),
        ("client, core", client_us),
        ("both ends, core", server_us + client_us),
        ("server, its process over loopback, one request and the end included", process_us),
    ):
        print(f"{spent_us:7.1f} us {1e6 / spent_us:8,.0f} /s  {title}")
    print(
        f"{1e6 / rate:7.1f} us {rate:8,.0f} /s  both ends on one core over loopback, with sockets"
    )

    if options.json:
        spent = {"quantum": server_us, "both": server_us + client_us, "process": process_us}
        options.json.write_text(json.dumps({name: 1e6 / each for name, each in spent.items()}))


if __name__ == "__main__":
    main()
