"""What an idle connection costs its server: resident memory of the process, over many held at once.

    python bench/micro/bench_idle_connections.py [--count 10000] [--seconds 5]

The server runs in a process of its own and holds *count* connections whose handlers wait for a
message; each has answered one, so that what a connection takes to be used is counted as well.
Growth of the server's resident memory over the number held, all included: the core's state, keys,
tables, Python objects, tasks. Nothing is counted that the process took before its first
connections, and nothing is asked of the allocator (no malloc_trim). The clients stand in a few
other processes, since each has two descriptors.
"""

import argparse
import asyncio
import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from time import sleep

import quantum

TOGETHER = 16
CLIENTS_PER_PROCESS = 4000
WARM = 64


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def config() -> quantum.TransportConfig:
    """Return the loopback profile without an idle time-out."""
    return quantum.loopback().replace(idle_timeout=0.0, handshake_timeout=60.0)


def serve(pipe: Pipe) -> None:
    """Hold connections in this process; answer each word with (resident bytes, connections)."""

    async def run() -> None:
        identity = quantum.Identity.generate()

        async def handle(connection: quantum.Connection) -> None:
            async for message in connection.messages():
                await connection.send(message)

        async with quantum.serve(
            handle, "127.0.0.1", 0, identity=identity, config=config()
        ) as listener:
            pipe.send((listener.port, identity.pin))
            while await asyncio.to_thread(pipe.recv):
                pipe.send((resident_bytes(), len(listener.connections)))

    asyncio.run(run())


def hold(pipe: Pipe, port: int, pin: str, count: int) -> None:
    """Open *count* connections in this process, say so, and keep them until told to stop."""

    async def run() -> None:
        held: list[quantum.Connection] = []

        async def some(share: int) -> None:
            for _ in range(share):
                connection = await quantum.connect(("127.0.0.1", port), pin=pin, config=config())
                held.append(connection)
                await connection.send(b"are you there?")
                if await connection.receive() != b"are you there?":
                    raise SystemExit("a message came back changed")

        shares = [count // TOGETHER + (n < count % TOGETHER) for n in range(TOGETHER)]
        await asyncio.gather(*(some(share) for share in shares))
        pipe.send(True)
        await asyncio.to_thread(pipe.recv)
        for connection in held:
            connection.discard()

    asyncio.run(run())


def start(target: Callable[..., None], *arguments: object) -> tuple[Pipe, multiprocessing.Process]:
    """Run *target* in a fresh process that shares a pipe with this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments))
    process.start()
    return ours, process  # type: ignore[return-value]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of quiet before each reading")
    options = parser.parse_args()
    server, *processes = start(serve)
    port, pin = server.recv()
    holders: list[Pipe] = []

    def open_more(count: int) -> tuple[int, int]:
        holder, process = start(hold, port, pin, count)
        holder.recv()
        holders.append(holder)
        processes.append(process)
        sleep(options.seconds)
        server.send(True)
        answer: tuple[int, int] = server.recv()
        return answer

    # What the process takes for its first connections it keeps: code, tables, arenas.
    after, there = before, first = open_more(WARM)
    while there < options.count:
        after, there = open_more(min(CLIENTS_PER_PROCESS, options.count - there))
    each = (after - before) / (there - first)
    print(f"{there:,} connections held, {each:,.0f} bytes resident each ({each / 1024:.1f} KiB)")
    for pipe in [*holders, server]:
        pipe.send(False)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
