"""Replay a recorded editing session through a gateway, over a bad network, and check every letter.

One client per author, each with a replica of its own. What another author wrote reaches a replica
only through the gateway, and is applied exactly up to the parents of the transaction that is
replayed next. At the end the replicas, the server, and the server after a restart must have the
recorded end text, with every transaction in the log exactly once.
"""

import argparse
import asyncio
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gateway.demo.impaired import ImpairedWay
from gateway.demo.process import GatewayFailed, GatewayProcess
from gateway.sdk import Client, ClientConfig, Document, Edit, SdkError, connect
from quantum.testing.network import Impairment

MAX_AUTHORS = 2
PASSWORD = "quantum-demo"
USERS = ("alice", "bob")

EPILOG = """examples:
  python examples/replay.py friendsforever.json.gz --loss 5% --delay 25ms
  python examples/replay.py friendsforever.json.gz --loss 5% --delay 25ms --transport mixed
  python examples/replay.py friendsforever.json.gz --loss 5% --delay 25ms --kill 3 --seed 7

The exit status is 0 only when every copy is equal to the recorded end; 1 when one is not,
or time is up; 2 for wrong input.
"""


class BadTrace(Exception):
    """The file is not an editing trace that can be replayed; the message says why."""


class ReplayFailed(Exception):
    """The replay ended otherwise than recorded; the message says how."""


# The trace


@dataclass(frozen=True, slots=True)
class Transaction:
    """One author's step: *seen* is how many of each author's transactions it builds on."""

    author: int
    seen: tuple[int, ...]
    patches: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded session."""

    authors: int
    transactions: list[Transaction]
    start: str
    end: str

    def of(self, author: int) -> list[Transaction]:
        """Return one author's transactions, in order."""
        return [item for item in self.transactions if item.author == author]


def load_trace(path: Path, limit: int = 0) -> Trace:
    """Read a .json.gz trace. Raises `BadTrace` with one clear sentence."""
    try:
        with gzip.open(path, "rb") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise BadTrace(f"there is no file {path}") from None
    except (OSError, EOFError, ValueError) as error:
        raise BadTrace(f"{path} is not a gzipped JSON trace: {error}") from None
    try:
        return read_trace(raw, limit)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise BadTrace(f"{path} lacks what an editing trace has ({detail})") from None


def read_trace(raw: dict[str, Any], limit: int = 0) -> Trace:
    """Turn the recorded parents into how much of each author a transaction builds on."""
    steps = raw["txns"]
    authors = 1 + max((step.get("agent", 0) for step in steps), default=0)
    if authors > MAX_AUTHORS:
        raise BadTrace(f"the trace has {authors} authors; this example replays at most two")
    closures: list[tuple[int, ...]] = []
    counts = [0] * authors
    transactions: list[Transaction] = []
    for index, step in enumerate(steps):
        author = step.get("agent", 0)
        parents = step["parents"] if "parents" in step else [index - 1] if index else []
        seen = [0] * authors
        for parent in parents:
            seen = [max(pair) for pair in zip(seen, closures[parent], strict=True)]
        if seen[author] != counts[author]:
            raise BadTrace(f"transaction {index} does not follow its author's previous one")
        patches = [(int(at), int(cut), str(text)) for at, cut, text in step["patches"]]
        transactions.append(Transaction(author, tuple(seen), patches or [(0, 0, "")]))
        counts[author] += 1
        seen[author] = counts[author]
        closures.append(tuple(seen))
    if not transactions:
        raise BadTrace("the trace has no transactions")
    start = raw.get("startContent", "")
    if 0 < limit < len(transactions):
        if authors > 1:
            raise BadTrace("--limit cuts traces of one author only: the end of others is unknown")
        transactions = transactions[:limit]
        return Trace(authors, transactions, start, _applied(start, transactions))
    return Trace(authors, transactions, start, raw["endContent"])


def _applied(text: str, transactions: Sequence[Transaction]) -> str:
    for item in transactions:
        for at, cut, inserted in item.patches:
            text = text[:at] + inserted + text[at + cut :]
    return text


# The replay


@dataclass
class Author:
    """One author's client, replica and what became of their edits."""

    index: int
    transport: str
    way: ImpairedWay
    client: Client
    document: Document
    edits: list[Edit] = field(default_factory=list)


@dataclass
class Outcome:
    """What a replay did."""

    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


class Replay:
    """One run."""

    def __init__(self, trace: Trace, options: argparse.Namespace, data_dir: Path) -> None:
        self.trace = trace
        self.options = options
        self.authors: list[Author] = []
        self.gateway = GatewayProcess(data_dir, with_quantum=options.transport != "websocket")
        self.restarts_s: list[float] = []
        self._random = Random(options.seed)
        self._durable = 0
        self._config = ClientConfig(
            request_timeout_s=60,
            connect_timeout_s=5,
            backoff_max_s=1.0,
            dead_after_s=4.0,
            accepted_acks=False,
        )

    async def run(self, progress: "Bar") -> Outcome:
        """Replay and check."""
        outcome = Outcome()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.gateway)
            await self._connect(stack)
            began = time.monotonic()
            async with asyncio.timeout(self.options.timeout), asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(progress))
                authors = [group.create_task(self._write(author)) for author in self.authors]
                await asyncio.gather(*authors)
                await watching
            outcome.seconds = time.monotonic() - began
            self._report(outcome)
            await self._check(outcome)
        return outcome

    async def _connect(self, stack: AsyncExitStack) -> None:
        options = self.options
        impairment = Impairment(delay_ns=options.delay, loss=options.loss, burst=options.burst)
        kinds = {"quantum": ["quantum"], "websocket": ["websocket"]}.get(
            options.transport, ["quantum", "websocket"]
        )
        clients: list[tuple[str, ImpairedWay, Client]] = []
        for index in range(self.trace.authors):
            kind = kinds[index % len(kinds)]
            way = ImpairedWay(self.gateway, kind, impairment, options.seed * 100 + index)
            await stack.enter_async_context(way)
            client = await stack.enter_async_context(
                connect(
                    way.url,
                    pin=self.gateway.pin if kind == "quantum" else "",
                    login=(USERS[index], PASSWORD),
                    config=self._config,
                    name=f"replay author {index}",
                )
            )
            clients.append((kind, way, client))
        owner = clients[0][2]
        editors = [client.user for _, _, client in clients[1:]]
        made = await owner.create_document(
            "replay", content=self.trace.start, editors=editors, hold=True, replica_id=1
        )
        for index, (kind, way, client) in enumerate(clients):
            # Of texts inserted at one place at one time, the lower author's comes first, as it did
            # in the recording.
            document = await client.open_document(made.id, hold=True, replica_id=index + 1)
            self.authors.append(Author(index, kind, way, client, document))

    async def _write(self, author: Author) -> None:
        """Replay one author's transactions, each on exactly what it was made on."""
        document = author.document
        mine = self.trace.of(author.index)
        for number, step in enumerate(mine):
            await self._see(author, step.seen)
            await document.room()
            author.edits.append(document.patch(step.patches))
            if number % 32 == 31:
                await asyncio.sleep(0)  # let the network have its turn
        await document.synced()
        await self._see(author, tuple(len(self.trace.of(other.index)) for other in self.authors))
        document.apply_held()

    async def _see(self, author: Author, seen: tuple[int, ...]) -> None:
        for other in self.authors:
            if other is not author and seen[other.index]:
                await author.document.apply_until(key=(other.client.client_id, seen[other.index]))

    async def _watch(self, progress: "Bar") -> None:
        """Show progress, and kill the gateway at random points of it."""
        total = len(self.trace.transactions)
        points = sorted(self._random.randrange(1, total) for _ in range(self.options.kill))
        while True:
            durable = sum(len(a.edits) - len(a.document.pending) for a in self.authors)
            progress.update(durable, self)
            if durable >= total:
                return
            if points and durable >= points[0]:
                points.pop(0)
                began = time.monotonic()
                await self.gateway.kill()
                await self.gateway.start()
                self.restarts_s.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    async def _check(self, outcome: Outcome) -> None:
        failures = outcome.failures
        for author in self.authors:
            self._compare(failures, f"author {author.index}'s copy", author.document.text)
        await self._check_server(failures, "the server")
        await self.gateway.kill()
        await self.gateway.start()
        await self._check_server(failures, "the server after a restart")
        outcome.numbers["equal"] = not failures

    async def _check_server(self, failures: list[str], who: str) -> None:
        url = next(url for door, url in self.gateway.urls.items() if "ws://" in url)
        async with connect(url, login=(USERS[0], PASSWORD), config=self._config) as fresh:
            document = await fresh.open_document(self.authors[0].document.id)
            self._compare(failures, who, document.text)
            log = await fresh.whole_history(document.id)
        keys = {(item.client, item.client_seq): item.version for item in log}
        expected = {(edit.client_id, edit.client_seq) for a in self.authors for edit in a.edits}
        if len(keys) != len(log):
            failures.append(f"{who} has {len(log) - len(keys)} operations twice")
        if [item.version for item in log] != list(range(1, len(log) + 1)):
            failures.append(f"{who}'s versions are not 1 to {len(log)} without gaps")
        if missing := len(expected - keys.keys()):
            failures.append(f"{who} lost {missing} operations that were acknowledged")
        if extra := len(keys.keys() - expected):
            failures.append(f"{who} has {extra} operations that nobody made")
        moved = sum(
            keys.get((edit.client_id, edit.client_seq), edit.version) != edit.version
            for author in self.authors
            for edit in author.edits
        )
        if moved:
            failures.append(f"{who} has {moved} operations at another version than acknowledged")

    def _compare(self, failures: list[str], who: str, text: str) -> None:
        expected = self.trace.end
        if text != expected:
            at = next(
                (
                    i
                    for i, pair in enumerate(zip(text, expected, strict=False))
                    if len(set(pair)) > 1
                ),
                min(len(text), len(expected)),
            )
            failures.append(
                f"{who} has {len(text):,} characters instead of {len(expected):,}, and differs"
                f" from character {at:,} on"
            )

    def _report(self, outcome: Outcome) -> None:
        total = len(self.trace.transactions)
        rows, seconds = outcome.rows, outcome.seconds
        rows.append(("transactions", f"{total:,} by {self.trace.authors} author(s)"))
        rows.append(("time", f"{seconds:.1f} s, {total / seconds:,.0f} durable operations/s"))
        for author in self.authors:
            link, way = author.client.stats(), author.way.counts
            who = f"author {author.index} ({author.transport})"
            rows.append((who, str(way)))
            rows.append(
                (
                    "",
                    f"{link.bytes_sent:,} bytes sent ({link.bytes_retransmitted:,} of them again),"
                    f" {link.bytes_received:,} received; {link.packets_lost:,} packets lost;"
                    f" round trip {author.client.rtt_ns / 1e6:.0f} ms",
                )
            )
            rows.append(
                (
                    "",
                    f"{author.client.reconnects} reconnects ({author.client.resumptions} resumed),"
                    f" {author.document.edits_resent:,} edits sent again,"
                    f" {author.document.duplicates_suppressed:,} duplicates suppressed",
                )
            )
        if self.restarts_s:
            rows.append(
                (
                    "kills",
                    f"{len(self.restarts_s)}, back after {max(self.restarts_s):.1f} s at most",
                )
            )
        outcome.numbers = {
            "transactions": total,
            "seconds": round(seconds, 3),
            "operations_per_s": round(total / seconds, 1),
            "kills": len(self.restarts_s),
            "reconnects": sum(a.client.reconnects for a in self.authors),
            "edits_resent": sum(a.document.edits_resent for a in self.authors),
            "lost": [a.way.counts.lost for a in self.authors],
        }


class Bar:
    """The progress shown: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._said = time.monotonic()
        self._progress = Progress(
            TextColumn("replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("replay", total=total, note="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def update(self, durable: int, replay: Replay) -> None:
        """Show how many transactions are durable."""
        reconnects = sum(author.client.reconnects for author in replay.authors)
        note = f"kills {replay.gateway.kills}, reconnects {reconnects}"
        self._progress.update(self._task, completed=durable, note=note)
        if not self._console.is_terminal and time.monotonic() - self._said >= 5:
            self._said = time.monotonic()
            self._console.print(f"{durable:,} of {self._total:,} transactions durable; {note}")


# The command line


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"replay: {message} (see --help)\n")


def share(text: str) -> float:
    """Read ``5%`` or ``0.05``."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share below 1, such as 5% or 0.05")
    return value


def duration_ns(text: str) -> int:
    """Read ``25ms`` or ``0.5s``."""
    for unit, scale in (("ms", 1e6), ("us", 1e3), ("s", 1e9)):
        if text.endswith(unit):
            try:
                value = float(text.removesuffix(unit)) * scale
            except ValueError:
                break
            if 0 <= value <= 10e9:
                return int(value)
    raise argparse.ArgumentTypeError(f"{text!r} is not a time up to 10 s, such as 25ms or 0.1s")


def count(text: str) -> int:
    """Read a number that is not negative."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def parser() -> Parser:
    """Return the command line."""
    made = Parser(
        prog="replay.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("trace", type=Path, metavar="TRACE", help="an editing trace, .json.gz")
    made.add_argument(
        "--loss", type=share, default=0.0, metavar="SHARE", help="lost each way: 5%% (default 0)"
    )
    made.add_argument(
        "--delay", type=duration_ns, default=0, metavar="TIME", help="each way: 25ms (default 0)"
    )
    made.add_argument(
        "--burst", type=float, default=1.0, metavar="N", help="mean run of losses (default 1)"
    )
    made.add_argument(
        "--transport",
        choices=("quantum", "websocket", "mixed"),
        default="quantum",
        help="of all clients; mixed: the first on Quantum, the second on WebSocket",
    )
    made.add_argument(
        "--kill", type=count, default=0, metavar="N", help="SIGKILL the gateway at N random points"
    )
    made.add_argument("--seed", type=count, default=1, metavar="N", help="of every random choice")
    made.add_argument(
        "--limit", type=count, default=0, metavar="N", help="only the first N transactions"
    )
    made.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="give up after (default 600)"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    try:
        trace = load_trace(options.trace, options.limit)
        Impairment(loss=options.loss, burst=options.burst)
    except (BadTrace, ValueError) as error:
        sys.stderr.write(f"replay: {error}\n")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            replay = Replay(trace, options, Path(folder))
            with Bar(console, len(trace.transactions)) as bar:
                outcome = asyncio.run(replay.run(bar))
    except (GatewayFailed, SdkError) as error:
        sys.stderr.write(f"replay: {error}\n")
        return 1
    except TimeoutError:
        sys.stderr.write(f"replay: not finished within {options.timeout:g} s\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("replay: interrupted\n")
        return 130
    except BaseExceptionGroup as group:
        known = group.subgroup((SdkError, GatewayFailed))
        if known is None:
            raise
        sys.stderr.write(f"replay: {_first(known)}\n")
        return 1
    table = Table(show_header=False, box=None, padding=(0, 2))
    for left, right in outcome.rows:
        table.add_row(left, right)
    console.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(outcome.numbers, indent=2) + "\n")
    for failure in outcome.failures:
        console.print(f"NOT EQUAL: {failure}", style="bold red")
    if not outcome.failures:
        console.print(
            f"EQUAL: {trace.authors} replica(s), the server, and the server after a restart have"
            f" the recorded {len(trace.end):,} characters; every operation is in the log once",
            style="bold green",
        )
    return 1 if outcome.failures else 0


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


if __name__ == "__main__":
    sys.exit(main())
