"""Objectives: one file each, `Tokens -> Loss`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from brainfm.part import Part


@dataclass(frozen=True)
class Loss:
    """The parts of a loss, each unweighted, and the weights that the recipe gives them."""

    parts: Mapping[str, Tensor]
    weights: Mapping[str, float]

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar."""
        total = sum(self.weights[name] * part for name, part in self.parts.items())
        assert isinstance(total, Tensor)  # an objective without parts is a programmer's mistake
        return total


class Objective(Part):
    """What pretraining minimises."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "patches"})

    def build(self, width: int, patches: Mapping[str, int]) -> Any:
        """A module that maps (batch, tokenized, encoder, hidden) to `Loss`; `patches` is samples per token by modality."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
