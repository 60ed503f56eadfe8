"""A server and a client of the transport alone: bytes go out, and come back.

``python examples/echo.py`` runs both; ``serve`` and ``connect`` run one each.
"""

import argparse
import asyncio
import sys

import quantum


async def echo(connection: quantum.Connection) -> None:
    """Send back what comes, on every stream until its end."""
    async for stream in connection.streams():
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()


async def serve(port: int) -> None:
    """Serve until interrupted."""
    identity = quantum.Identity.generate()
    async with await quantum.serve(echo, "127.0.0.1", port, identity=identity) as listener:
        print(f"python examples/echo.py connect 127.0.0.1:{listener.port} --pin {identity.pin}")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def talk(address: str, pin: str, words: str) -> None:
    """Send *words* and print what comes back, and how long it took."""
    async with quantum.connect(address, pin=pin, timeout=5) as connection:
        stream = await connection.open_stream()
        await stream.write(words.encode())
        stream.finish()
        answer = b"".join([chunk async for chunk in stream])
        print(answer.decode(), f"(round trip {connection.stats().rtt_ns / 1e6:.2f} ms)")


async def both(words: str) -> None:
    """Serve and talk in one process."""
    identity = quantum.Identity.generate()
    async with await quantum.serve(echo, "127.0.0.1", 0, identity=identity) as listener:
        await talk(f"127.0.0.1:{listener.port}", identity.pin, words)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="echo.py", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb")
    serving = verbs.add_parser("serve", help="serve until Ctrl-C, and print how to connect")
    serving.add_argument("--port", type=int, default=0)
    talking = verbs.add_parser("connect", help="send words to a server")
    talking.add_argument("address", metavar="HOST:PORT")
    talking.add_argument("--pin", required=True, help="the server's public key in hex")
    talking.add_argument("--words", default="hello")
    options = parser.parse_args()
    try:
        if options.verb == "serve":
            asyncio.run(serve(options.port))
        elif options.verb == "connect":
            asyncio.run(talk(options.address, options.pin, options.words))
        else:
            asyncio.run(both("hello"))
    except quantum.QuantumError as error:
        sys.stderr.write(f"echo: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
