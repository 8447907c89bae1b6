"""Objectives: one file each, `View -> Loss`. A recipe may ask for several, each with its weight."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from brainfm.batch import Batch
from brainfm.moments import Moment
from brainfm.moments.rotary import Rotary
from brainfm.part import Part
from brainfm.places import Place
from brainfm.places.fourier import Fourier
from brainfm.tokens import Tokenized


@dataclass(frozen=True)
class Loss:
    """The parts of a loss, each unweighted and a mean over windows, and the weights that the recipe gives them."""

    parts: Mapping[str, Tensor]
    weights: Mapping[str, float]

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar."""
        total = sum(self.weights[name] * part for name, part in self.parts.items())
        assert isinstance(total, Tensor)  # an objective without parts is a programmer's mistake
        return total

    def __mul__(self, weight: float) -> "Loss":
        """The same parts, weighing so much more."""
        return Loss(self.parts, {name: weight * own for name, own in self.weights.items()})

    def __add__(self, other: "Loss") -> "Loss":
        """The parts of both, which must have names of their own."""
        assert (
            not self.parts.keys() & other.parts.keys()
        )  # two objectives with parts of one name: a programmer's mistake
        return Loss({**self.parts, **other.parts}, {**self.weights, **other.weights})


def mean_parts(several: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The parts of several instruments' losses: of each part the mean over those that have it."""
    found: dict[str, list[Tensor]] = {}
    for one in several:
        for name, part in one.items():
            found.setdefault(name, []).append(part)
    return {name: torch.stack(parts).mean() for name, parts in found.items()}


@dataclass(frozen=True)
class Shapes:
    """What an objective must know of the network before it is built."""

    width: int
    patches: Mapping[str, int]
    """Samples in one token, by modality."""
    codes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """How many codes each quantizer has, by modality, where a codec is attached."""
    where: Place = field(default_factory=Fourier)
    when: Moment = field(default_factory=Rotary)
    """How the encoder says where and when a token is, for a decoder that asks for tokens."""


class Objective(Part):
    """What pretraining minimises.

    What `build` gives maps a `View` to `Loss`, and may `fit` itself to sampled windows and their tokens before training.
    """

    run_time: ClassVar[frozenset[str]] = frozenset({"shapes"})
    needs_codes: ClassVar[bool] = False
    """Whether it asks for the codes of tokens (`codecs`)."""

    weight: float = Field(default=1.0, ge=0, description="of this objective beside the others")

    needs_causal: ClassVar[bool] = False
    """Whether it asks an encoder that can keep tokens from hearing later ones (`Encoder.causal`)."""

    kept: ClassVar[bool] = False
    """Whether what it learns beside the model is saved with it, since more can be asked of that than a loss."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it is told by a slower copy of the network (`train.average`)."""
        return False

    def build(self, shapes: Shapes) -> Any:
        """The module, an `nn.Module`."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


Sampled = Sequence[tuple[Batch, Tokenized]]
"""Windows of the corpus and their tokens, for `fit`."""
