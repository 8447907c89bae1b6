"""Adaptation: one file a way in which a pretrained model is fitted to a task: what is trained, how fast, and when."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from brainfm.part import Part


@dataclass(frozen=True)
class Phase:
    """A stretch of the training, with a rise and a fall of the learning rate of its own."""

    share: float
    """Of the recipe's steps."""
    rates: Mapping[str, float]
    """Beginning of a parameter's name in the model → multiple of the learning rate; 0 freezes. The first that fits counts."""
    undecayed: Collection[str] = ()
    """Names of parameters that weight decay leaves alone though they have two axes."""
    still: bool = False
    """Whether all but the head stays in evaluation mode: no dropout, no running statistics."""


class Adaptation(Part):
    """What is trained of a model that has a fresh head. The model's `encoder` and `head` are known by these names."""

    row: ClassVar[str]
    """What its row of the table is called; what stands before a colon is the row's family (`scores.FAMILIES`)."""

    keeps_head: ClassVar[bool] = False
    """Whether the model goes on with the head that it has, which must have been trained for the same answer."""

    def install(self, model: nn.Module, seed: int) -> None:
        """Put what is trained beside the model's weights into it, before the first phase."""

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        """The phases, one after the other; `head` is the head's multiple of the learning rate."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def merge(self, model: nn.Module) -> None:
        """Bring what `install` put in into the weights: the model is then as any other, and says the same."""
