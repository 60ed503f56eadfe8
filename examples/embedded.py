"""A gateway inside your own program: no process to start, and your code beside its services.

The program opens the doors, lets two clients edit a text, and reads the document straight from the
state service, without a network in between.
"""

import asyncio
import tempfile
from pathlib import Path

from gateway.app import DEV_PASSWORD, Gateway
from gateway.config import GatewayConfig, HttpDoor, QuantumDoor, Services
from gateway.sdk import connect
from statesync.api import Actor
from statesync.strategies.text import plain_text
from svckit import logs


async def main(folder: Path) -> str:
    """Run the story; returns the text as the service has it."""
    config = GatewayConfig(
        mode="dev",
        data_dir=folder,
        http=HttpDoor(port=0),
        quantum=QuantumDoor(port=0),
        services=Services(store="memory"),
    )
    gateway = Gateway(config)
    await gateway.start()
    try:
        urls = gateway.urls
        async with (
            connect(urls["quantum"], login=("alice", DEV_PASSWORD)) as alice,
            connect(urls["websocket"], login=("bob", DEV_PASSWORD)) as bob,
        ):
            mine = await alice.create_document("letter", editors=[bob.user])
            theirs = await bob.open_document(mine.id)
            mine.insert(0, "Dear all, ")
            await mine.synced()
            await theirs.reached(1)
            theirs.insert(len(theirs.text), "hello from inside.")
            await theirs.synced()
            found = await gateway.statesync.get_document(Actor(alice.user), mine.id)
        assert isinstance(found.content, bytes)
        return plain_text(found.content)
    finally:
        await gateway.drain()
        await gateway.close()


if __name__ == "__main__":
    logs.configure(level="warning", form="console")
    with tempfile.TemporaryDirectory() as name:
        print(asyncio.run(main(Path(name) / "data")))
