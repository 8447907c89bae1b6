"""Heads: one file each, `Tokens -> Prediction`."""

from typing import Any, ClassVar

from brainfm.part import Part


class Head(Part):
    """Turns the tokens of a window into class scores."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "classes", "sensors", "times"})

    def build(self, width: int, classes: int, sensors: int, times: int) -> Any:
        """A module that maps `Tokens` to logits (batch, class), for windows of so many sensors and patches in time."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
