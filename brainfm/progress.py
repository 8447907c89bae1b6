"""Progress bars with the time left, and a line that changes, on stderr, so that stdout stays the result."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def bar(what: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A bar that advances by one each time what it yields is called with a short remark."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(what, total=total, completed=done, remark="")

        def tick(remark: str = "") -> None:
            progress.update(task, advance=1, remark=remark)

        yield tick


@contextmanager
def line(quiet: bool = False, every: float = 0.25) -> Iterator[Callable[[str], None]]:
    """A line that shows the newest of what it is told, a few times a second; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda text: None
        return
    shown = 0.0
    # where stdout is the same terminal its lines pass above the line that changes
    both = sys.stdout.isatty()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=both) as live:

        def tell(text: str) -> None:
            nonlocal shown
            if time.monotonic() - shown >= every:
                shown = time.monotonic()
                live.update(text, refresh=True)

        yield tell
