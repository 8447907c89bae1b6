"""Progress bars with the time left, on stderr, so that stdout stays the result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
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
