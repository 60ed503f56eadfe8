"""What an idle connection costs its server: resident memory of the process, over many held at once.

    python bench/micro/bench_idle_connections.py [--count 10000] [--seconds 5]

The server runs in a process of its own and holds *count* connections whose handlers wait for a
message; each has answered one, so that what a connection takes to be used is counted as well. The
clients stand in this process. Growth of the server's resident memory over the number held, all
included: the core's state, keys, tables, Python objects, tasks. Nothing is counted that the process
took before the first connection, and nothing is asked of the allocator (no malloc_trim).
"""

import argparse
import asyncio
import multiprocessing
import resource
from multiprocessing.connection import Connection as Pipe

import quantum

TOGETHER = 64
WARM = 64


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


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


def config() -> quantum.TransportConfig:
    """Return the loopback profile without an idle time-out."""
    return quantum.loopback().replace(idle_timeout=0.0, handshake_timeout=60.0)


async def hold(pipe: Pipe, port: int, pin: str, count: int, seconds: float) -> None:
    """Open *count* connections, let them go quiet, and print what they cost the server."""
    held: list[quantum.Connection] = []

    async def some(share: int) -> None:
        for _ in range(share):
            connection = await quantum.connect(("127.0.0.1", port), pin=pin, config=config())
            held.append(connection)
            await connection.send(b"are you there?")
            if await connection.receive() != b"are you there?":
                raise SystemExit("a message came back changed")

    async def ask() -> tuple[int, int]:
        pipe.send(True)
        answer: tuple[int, int] = await asyncio.to_thread(pipe.recv)
        return answer

    # What the process takes for its first connections it keeps: code, tables, arenas.
    await asyncio.gather(*(some(1) for _ in range(WARM)))
    await asyncio.sleep(seconds)
    before, first = await ask()
    share = (count - len(held)) // TOGETHER
    await asyncio.gather(*(some(share) for _ in range(TOGETHER)))
    await asyncio.sleep(seconds)
    after, there = await ask()
    each = (after - before) / (there - first)
    print(f"{there:,} connections held, {each:,.0f} bytes resident each ({each / 1024:.1f} KiB)")
    pipe.send(False)
    for connection in held:
        connection.discard()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of quiet before each reading")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * options.count + 64:
        raise SystemExit(f"each client has two descriptors: raise the limit (ulimit -n {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pipe, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    port, pin = pipe.recv()
    asyncio.run(hold(pipe, port, pin, options.count, options.seconds))
    server.join()


if __name__ == "__main__":
    main()
