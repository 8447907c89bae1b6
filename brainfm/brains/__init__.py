"""Brains: one file each, a person's responses to features of what was seen."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from brainfm.brain_features import FeatureShape
from brainfm.part import Part


class Brain(Part):
    """How features are told from responses. What it is given, and what it tells, only a run can know."""

    run_time: ClassVar[frozenset[str]] = frozenset({"shapes"})

    stages: ClassVar[bool] = True
    """Whether stages train it; else it is solved at once, of everybody's training trials."""

    def build(self, shapes: Mapping[str, FeatureShape], seed: int) -> Any:
        """A module with `adopt(people, seed)`, `predict(seen, rows, names)` and, where it is solved at once, `solve`."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def names_of(asked: Sequence[str] | None, shapes: Mapping[str, FeatureShape]) -> list[str]:
    """The features that are asked for; all of them by default."""
    return list(asked or shapes)
