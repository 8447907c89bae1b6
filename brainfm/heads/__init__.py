"""Heads: one file each, `Tokens -> Prediction`."""

from typing import Any, ClassVar

from brainfm.part import Part


class Head(Part):
    """Turns the tokens of a window into class scores."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "classes"})

    def build(self, width: int, classes: int) -> Any:
        """A module that maps `Tokens` to logits of shape (batch, class)."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
