"""Draws the demo: live in a terminal, as plain lines elsewhere, and the summary at the end."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.demo.picture import Picture, Side, Verdict

_LIGHTS = {"saved": ("●", "green"), "saving": ("●", "yellow"), "offline": ("●", "red")}
_LINE_S = 2.0
_NOTES = 5


class View(Protocol):
    """Shows a picture whenever it is given one."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, leaving the terminal as it was."""
        ...

    def show(self, picture: Picture) -> None:
        """Show the moment."""
        ...


def view_for(console: Console) -> View:
    """Return the live view for a terminal, else plain lines."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class LiveView:
    """Both texts side by side, and what the network does to them."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw the whole picture."""
        self._live.update(draw(picture), refresh=True)


class PlainView:
    """A line every two seconds, and the notes as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = float("-inf")
        self._notes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def show(self, picture: Picture) -> None:
        """Print what is new."""
        for note in picture.notes[self._notes :]:
            self._console.print(f"  {note}", highlight=False, soft_wrap=True)
        self._notes = len(picture.notes)
        if time.monotonic() - self._said_at < _LINE_S:
            return
        self._said_at = time.monotonic()
        sides = "; ".join(
            f"{side.name} ({side.transport}) {side.status}, version {side.version},"
            f" {side.typed} typed, {side.rtt_ms:.0f} ms, {side.way.lost} lost"
            for side in picture.sides
        )
        equal = "equal" if picture.is_equal else "apart"
        self._console.print(
            f"{picture.elapsed_s:4.0f} s  {picture.phase}: texts {equal}; {sides}",
            highlight=False,
            soft_wrap=True,
        )


def draw(picture: Picture) -> RenderableType:
    """Return the picture as something rich can render."""
    head = Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right")
    mark = Text("texts are equal", "bold green") if picture.is_equal else Text("texts are apart")
    head.add_row(Text(picture.phase, "bold"), mark)
    bar = Table.grid(expand=True)  # alone, a bar would not end its line
    done_s = min(picture.elapsed_s, picture.total_s)
    bar.add_row(ProgressBar(max(picture.total_s, 0.001), done_s))
    texts = Table.grid(expand=True)
    for _ in picture.sides:
        texts.add_column(ratio=1)
    texts.add_row(*(_panel(side) for side in picture.sides))
    notes = Text("\n".join(picture.notes[-_NOTES:]), "dim")
    return Group(head, bar, texts, _numbers(picture.sides), notes)


def _panel(side: Side) -> Panel:
    light, colour = _LIGHTS[side.status]
    title = Text.assemble((light, colour), f" {side.name} over {side.transport}")
    below = f"{side.status}, version {side.version}"
    return Panel(Text(side.text), title=title, subtitle=below, height=12, border_style=colour)


def _numbers(sides: list[Side]) -> Table:
    table = Table(expand=True, box=None, padding=(0, 1))
    for name in ("client", "typed", "under way", "round trip", "lost on the way"):
        table.add_column(name, justify="left" if name == "client" else "right")
    for name in ("retransmitted", "recovered", "reconnects"):
        table.add_column(name, justify="right")
    for side in sides:
        is_tcp = side.transport != "quantum"
        table.add_row(
            side.name,
            str(side.typed),
            str(side.pending),
            f"{side.rtt_ms:.0f} ms",
            f"{side.way.lost} {'stalls' if is_tcp else 'packets'}",
            "by TCP" if is_tcp else f"{side.link.bytes_retransmitted:,} B",
            "-" if is_tcp else str(side.link.packets_recovered),
            str(side.reconnects),
        )
    return table


def summary(verdict: Verdict) -> RenderableType:
    """Return the end of the story."""
    table = Table.grid(padding=(0, 2))
    rate = verdict.operations / max(verdict.seconds, 0.001)
    table.add_row("operations", f"{verdict.operations:,} durable, {rate:.0f}/s")
    for side in verdict.sides:
        link = side.link
        table.add_row(
            f"{side.name} over {side.transport}",
            f"round trip {side.rtt_ms:.0f} ms, {side.way}, {side.reconnects} reconnects,"
            f" {side.resent} edits sent again",
        )
        if side.transport == "quantum":
            table.add_row(
                "",
                f"{link.packets_lost:,} of {link.packets_sent:,} packets sent were lost,"
                f" {link.packets_recovered:,} recovered with {link.bytes_retransmitted:,} bytes",
            )
        table.add_row("", f"{link.bytes_sent:,} bytes sent, {link.bytes_received:,} bytes received")
    if verdict.converged:
        words = f"CONVERGED: both clients and the server have the same {len(verdict.server_text):,}"
        end = Text(f"{words} characters; nothing was lost", "bold green")
    else:
        end = Text(f"NOT CONVERGED: {verdict.trouble}", "bold red")
    return Group(table, end)
