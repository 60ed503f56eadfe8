"""Cursors that several people see move: positions by channel, what they draw by document.

A position that is late is worthless, so it is published and not kept; a stroke must not be lost, so
it is an operation on a whiteboard. Starts a gateway of its own; ``--seconds`` says for how long.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path

from gateway.demo.process import GatewayFailed, GatewayProcess
from gateway.sdk import Channel, Client, Document, SdkError, connect

PASSWORD = "quantum-demo"
RATE_HZ = 30.0


async def move(client: Client, board: Document, end: float, phase: float) -> int:
    """Go round in a circle, and leave a dot at every quarter turn; returns the dots."""
    dots = 0
    began = time.monotonic()
    while (now := time.monotonic()) < end:
        angle = (now - began) * 2 + phase
        at = {"x": round(50 + 40 * math.cos(angle), 1), "y": round(50 + 40 * math.sin(angle), 1)}
        await client.publish("cursors", {"name": client.username, "sent": now, **at})
        if angle - phase >= dots * math.pi / 2:
            board.apply("create", [f"{client.username}-{dots}"], at)
            dots += 1
        await asyncio.sleep(1 / RATE_HZ)
    return dots


async def watch(cursors: Channel, me: str, delays_ms: list[float]) -> None:
    """Note how old the others' positions are when they arrive."""
    async for message in cursors:
        position = message.value
        if position["name"] == me:
            continue
        delays_ms.append((time.monotonic() - position["sent"]) * 1e3)


async def play(gateway: GatewayProcess, seconds: float) -> None:
    """Let two people move and draw, and say what each saw."""
    async with (
        connect(gateway.urls["quantum"], login=("alice", PASSWORD)) as alice,
        connect(gateway.urls["websocket"], login=("bob", PASSWORD)) as bob,
    ):
        left = await alice.create_document("board", "whiteboard", content={}, editors=[bob.user])
        right = await bob.open_document(left.id)
        delays: dict[str, list[float]] = {"alice": [], "bob": []}
        watching = [
            asyncio.create_task(watch(await client.subscribe("cursors"), name, delays[name]))
            for name, client in (("alice", alice), ("bob", bob))
        ]
        end = time.monotonic() + seconds
        dots = await asyncio.gather(move(alice, left, end, 0.0), move(bob, right, end, math.pi))
        await asyncio.gather(left.synced(), right.synced())
        await asyncio.gather(left.reached(sum(dots)), right.reached(sum(dots)))
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for name, seen in delays.items():
            middle = sorted(seen)[len(seen) // 2] if seen else math.nan
            print(f"{name} saw {len(seen)} positions, {middle:.1f} ms old in the middle")
        same = "the same" if left.content == right.content else "DIFFERENT"
        print(f"{sum(dots)} dots were drawn; both boards are {same}")


async def run(seconds: float) -> None:
    """Start a gateway and play."""
    with tempfile.TemporaryDirectory() as name:
        async with GatewayProcess(Path(name) / "data", store="memory") as gateway:
            await play(gateway, seconds)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="shared_cursor.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    try:
        asyncio.run(run(parser.parse_args().seconds))
    except (SdkError, GatewayFailed) as error:
        sys.stderr.write(f"shared_cursor: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
