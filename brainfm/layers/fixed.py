"""What a network works out from a window's sensors alone: a graph, which can't choose, is given it as constants.

Which sensors lie together, which tokens share a moment, which row of a vocabulary is whose: all of it is the same for every
window of one sensor table and one length, whatever was measured.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


class Tape:
    """Results in the order in which they were worked out for one window, given again in that order for any number of them."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.at: int | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is worked out inside, for one window."""
        self.at = None
        with using(self):
            yield

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Inside, what was recorded is given and nothing worked out."""
        self.at = 0
        with using(self):
            yield

    def take(self, work: Callable[[], Any], windows: Any) -> Any:
        """The next result: worked out, or the recorded one for so many windows."""
        if self.at is None:
            with using(None):  # what it is made of needs no place of its own
                self.results.append(work())
            return self.results[-1]
        self.at += 1
        return for_windows(self.results[self.at - 1], windows)


_tape: ContextVar[Tape | None] = ContextVar("tape", default=None)


@contextmanager
def using(tape: Tape | None) -> Iterator[None]:
    """Let marked functions ask this tape, or none."""
    token = _tape.set(tape)
    try:
        yield
    finally:
        _tape.reset(token)


def of_sensors(shared: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function whose result follows from the sensors and the window's length alone.

    Its tensors begin with the windows' axis or, where `shared`, hold for all windows at once.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            tape = _tape.get()
            if tape is None:
                return function(*args, **kwargs)
            found: R = tape.take(lambda: function(*args, **kwargs), None if shared else windows_of(args))
            return found

        return called

    return mark


def windows_of(args: tuple[Any, ...]) -> Any:
    """How many windows the first tensor among some arguments, or of one of them, is of."""
    for one in args:
        if isinstance(one, Tensor):
            return one.shape[0]
        if is_dataclass(one) and not isinstance(one, type):
            return windows_of(tuple(getattr(one, field.name) for field in fields(one)))
    raise TypeError("no argument says how many windows there are")


def for_windows(result: Any, windows: Any) -> Any:
    """What was worked out for one window, for so many; as it is where it holds for all at once (None)."""
    if windows is None:
        return result
    if isinstance(result, Tensor):
        return result.expand(windows, *result.shape[1:])
    if isinstance(result, tuple):
        return tuple(for_windows(one, windows) for one in result)
    if is_dataclass(result) and not isinstance(result, type):
        named = {field.name: for_windows(getattr(result, field.name), windows) for field in fields(result)}
        return replace(result, **named)
    return result
