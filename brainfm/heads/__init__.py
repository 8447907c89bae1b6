"""Heads: one file each, `Tokens -> Prediction`."""

from typing import Any, ClassVar, Literal

from brainfm.part import Part


class Head(Part):
    """Turns the tokens of a window into class scores, or into numbers."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "classes", "sensors", "times"})

    each: ClassVar[Literal["window", "patch"]] = "window"
    """What it has an answer for: a window, or every patch in time of it."""

    def build(self, width: int, classes: int, sensors: int, times: int) -> Any:
        """A module that maps `Tokens` to logits (batch, class), or (batch, time, class) for `each` patch.

        It is for windows of so many sensors and patches in time.
        """
        raise NotImplementedError  # a family's base class; every part in this folder has its own
