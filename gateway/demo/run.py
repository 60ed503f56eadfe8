"""Runs the demo: a gateway, two clients on two transports, a bad network, twenty seconds.

``python -m gateway demo``. Ends by itself with a summary; the exit status is 0 only when both
clients and the server ended with the same text.
"""

import argparse
import asyncio
import contextlib
import shlex
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from rich.console import Console

from gateway.demo.impaired import ImpairedWay
from gateway.demo.picture import Picture, Side, Verdict
from gateway.demo.process import GatewayFailed, GatewayProcess
from gateway.demo.script import Typist, first_text
from gateway.demo.view import View, summary, view_for
from gateway.sdk import Client, ClientConfig, Document, SdkError, connect
from quantum.testing.network import Impairment

PASSWORD = "quantum-demo"
USERS = ("alice", "bob")
TRANSPORTS = ("quantum", "websocket")
_FRAME_S = 0.1
_SETTLE_S = 20.0


class Player:
    """One client, its way and its typist."""

    def __init__(self, way: ImpairedWay, client: Client, document: Document, rng: Random) -> None:
        self.way = way
        self.client = client
        self.document = document
        self.side = Side(client.username, way.transport)
        self.operations = 0
        self._typist = Typist(client.username, rng)
        self._rng = rng

    async def type_until(self, end: float) -> None:
        """Type like a person until the loop's clock is at *end*."""
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            await self.document.room()
            self.document.patch([self._typist.next_patch(self.document.text)])
            self.operations += 1
            await asyncio.sleep(self._rng.uniform(0.03, 0.12))

    def look(self) -> Side:
        """Return the side as it is now."""
        side, document, client = self.side, self.document, self.client
        side.text = document.text
        side.status = document.status
        side.version = document.version
        side.typed = self.operations
        side.pending = len(document.pending)
        side.rtt_ms = client.rtt_ns / 1e6 or side.rtt_ms
        side.reconnects = client.reconnects
        side.resent = document.edits_resent
        side.link = client.stats()
        side.way = self.way.counts
        return side


class Demo:
    """One performance."""

    def __init__(self, options: argparse.Namespace, gateway: GatewayProcess, view: View) -> None:
        self._options = options
        self._gateway = gateway
        self._view = view
        self._players: list[Player] = []
        self._picture = Picture([], total_s=options.seconds)
        self._began = 0.0

    async def run(self) -> Verdict:
        """Play, and say how it ended."""
        async with AsyncExitStack() as stack:
            await self._enter(stack)
            drawing = asyncio.create_task(self._draw())
            try:
                return await self._play()
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)
                self._show()

    async def _enter(self, stack: AsyncExitStack) -> None:
        options = self._options
        impairment = Impairment(delay_ns=options.delay, loss=options.loss)
        config = ClientConfig(backoff_max_s=1.0)
        made: list[tuple[ImpairedWay, Client]] = []
        for index, transport in enumerate(TRANSPORTS):
            seed = options.seed * 10 + index
            way = ImpairedWay(self._gateway, transport, impairment, seed)
            await stack.enter_async_context(way)
            pin = self._gateway.pin if transport == "quantum" else ""
            login = (USERS[index], PASSWORD)
            connecting = connect(way.url, pin=pin, login=login, config=config, name="demo")
            made.append((way, await stack.enter_async_context(connecting)))
        owner, guest = made[0][1], made[1][1]
        document = await owner.create_document(
            "demo", content=first_text(*USERS), editors=[guest.user]
        )
        for index, (way, client) in enumerate(made):
            copy = await client.open_document(document.id)
            rng = Random(options.seed * 10 + index)
            self._players.append(Player(way, client, copy, rng))
        self._picture.sides = [player.side for player in self._players]
        self._note(
            f"every packet takes {options.delay / 1e6:.0f} ms each way, and {options.loss:.0%}"
            " of them are lost"
        )

    async def _play(self) -> Verdict:
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        seconds = self._options.seconds
        end = self._began + seconds
        self._picture.phase = "both type at once"
        typing = [asyncio.create_task(player.type_until(end)) for player in self._players]
        pulling = asyncio.create_task(self._pull_cable(seconds))
        try:
            await asyncio.gather(*typing, pulling)
        finally:
            for task in (*typing, pulling):
                task.cancel()
            await asyncio.gather(*typing, pulling, return_exceptions=True)
        self._picture.phase = "typing is over; waiting for what is under way"
        trouble = await self._settle()
        seconds = loop.time() - self._began
        text = await self._server_text()
        sides = tuple(player.look() for player in self._players)
        if not trouble and {side.text for side in sides} != {text}:
            trouble = "the server's text differs from the clients'"
        operations = sum(
            player.operations - len(player.document.pending) for player in self._players
        )
        return Verdict(not trouble, operations, seconds, sides, text, trouble)

    async def _pull_cable(self, seconds: float) -> None:
        """Cut the first client off for a tenth of the time, and let it type on."""
        await asyncio.sleep(seconds * 0.5)
        player = self._players[0]
        player.way.cut()
        self._note(f"{player.side.name}'s cable is pulled; the typing goes on")
        self._picture.phase = f"{player.side.name} is cut off"
        try:
            await asyncio.sleep(seconds * 0.1)
        finally:
            player.way.restore()
        self._note(f"the cable is back: {len(player.document.pending)} edits were waiting")
        self._picture.phase = "both type at once"

    async def _settle(self) -> str:
        """Wait until all edits are durable and everywhere; return what went wrong, if anything."""
        documents = [player.document for player in self._players]
        try:
            async with asyncio.timeout(_SETTLE_S):
                await asyncio.gather(*(document.synced() for document in documents))
                newest = max(document.version for document in documents)
                for document in documents:
                    await document.reached(newest)
        except (TimeoutError, SdkError) as error:
            return str(error) or f"edits were still under way after {_SETTLE_S:g} s"
        texts = {document.text for document in documents}
        return "" if len(texts) == 1 else "the two texts differ"

    async def _server_text(self) -> str:
        url = self._gateway.urls["websocket"]
        async with connect(url, login=(USERS[0], PASSWORD), name="demo witness") as witness:
            return (await witness.open_document(self._players[0].document.id)).text

    async def _draw(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(_FRAME_S)

    def _show(self) -> None:
        loop = asyncio.get_running_loop()
        self._picture.elapsed_s = loop.time() - self._began if self._began else 0.0
        for player in self._players:
            player.look()
        self._view.show(self._picture)

    def _note(self, text: str) -> None:
        at = asyncio.get_running_loop().time() - self._began if self._began else 0.0
        self._picture.notes.append(f"{at:5.1f} s  {text}")


def run(options: argparse.Namespace) -> int:
    """Run the demo from the command line; returns the exit status."""
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="quantum-demo-") as folder:
            return asyncio.run(_run(options, console, Path(folder)))
    except (GatewayFailed, SdkError) as error:
        sys.stderr.write(f"quantum-gateway demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the gateway is stopped")
        return 130


async def _run(options: argparse.Namespace, console: Console, folder: Path) -> int:
    console.print("starting a gateway with its services ...", highlight=False)
    began = time.monotonic()
    async with GatewayProcess(folder) as gateway:
        ready_s = time.monotonic() - began
        console.print(
            f"gateway ready in {ready_s:.1f} s: "
            + ", ".join(f"{door} on port {gateway.port(door)}" for door in TRANSPORTS),
            highlight=False,
        )
        with view_for(console) as view:
            verdict = await Demo(options, gateway, view).run()
        console.print(summary(verdict))
        if options.serve:
            _say_how(console, gateway)
            with contextlib.suppress(asyncio.CancelledError):
                status = await gateway.wait()
                console.print(f"the gateway ended by itself with status {status}")
                return 1
    return 0 if verdict.converged else 1


def _say_how(console: Console, gateway: GatewayProcess) -> None:
    token = shlex.join(
        [sys.executable, "-m", "gateway", "token", USERS[0], "--data-dir", str(gateway.data_dir)]
    )
    lines = [
        "",
        "The gateway stays up until Ctrl-C (its data goes with it):",
        *(f"  {door:<10} {url}" for door, url in sorted(gateway.urls.items())),
        f"  users      {', '.join(USERS)}, password {PASSWORD}",
        f"  a token    {token}",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
