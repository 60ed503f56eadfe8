"""Tells how far the bench is: a bar on a terminal, a line per run elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(seconds: float, *, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield a function to call after each run, with what it was and the seconds it stood for."""
    if quiet:
        yield lambda text, cost: None
        return
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            pass
        else:
            columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            # Twice a second: drawing must not compete with what is measured.
            with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as bar:
                task = bar.add_task("the first run", total=seconds)

                def draw(text: str, cost: float) -> None:
                    bar.update(task, description=text, advance=cost)

                yield draw
            return
    done = 0.0

    def print_line(text: str, cost: float) -> None:
        nonlocal done
        done += cost
        left = max(0.0, seconds - done)
        sys.stderr.write(f"{done / seconds:4.0%}, about {left / 60:.0f} min left: {text}\n")
        sys.stderr.flush()

    yield print_line
