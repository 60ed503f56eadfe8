"""Chat over a gateway's channel: what you type goes to everybody who is in the room.

Start a gateway with ``python -m gateway serve --dev``, then, in two terminals:
``python examples/chat.py ws://127.0.0.1:8080/ws --user alice`` and ``--user bob``.
"""

import argparse
import asyncio
import sys

from gateway.sdk import Channel, Client, SdkError, connect


async def listen(room: Channel, client: Client) -> None:
    """Print what others say, and what was missed."""
    async for message in room:
        if message.missed:
            print(f"({message.missed} messages were missed)")
        if message.sender != client.user and isinstance(message.value, dict):
            print(f"{message.value.get('name')}: {message.value.get('text')}", flush=True)


async def speak(room: Channel, client: Client, lines: asyncio.StreamReader) -> None:
    """Publish every line that is typed."""
    while line := (await lines.readline()).decode(errors="replace").strip():
        await client.publish(room.name, {"name": client.username, "text": line})


async def chat(options: argparse.Namespace) -> None:
    """Join the room until the input ends."""
    login = (options.user, options.password)
    async with connect(options.url, pin=options.pin, login=login, name="chat") as client:
        room = await client.subscribe(f"chat:{options.room}")
        print(f"you are {client.username} in {options.room}; an empty line leaves", flush=True)
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        listening = asyncio.create_task(listen(room, client))
        try:
            await speak(room, client, lines)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="chat.py", description=__doc__.splitlines()[0])
    parser.add_argument("url", help="quantum://host:port, ws://127.0.0.1:8080/ws, wss://host/ws")
    parser.add_argument("--pin", default="", help="the gateway's key, for quantum://")
    parser.add_argument("--user", default="alice")
    parser.add_argument("--password", default="quantum-demo")
    parser.add_argument("--room", default="lobby")
    try:
        asyncio.run(chat(parser.parse_args()))
    except SdkError as error:
        sys.stderr.write(f"chat: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
