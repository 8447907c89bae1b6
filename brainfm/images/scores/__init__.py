"""Scores of reconstructions: one file each, as MindEye2's and NeuroPictor's evaluations define them.

A score gives a number for each picture; their mean is the score, and resampling pictures gives its interval. Where something
that it needs is not at hand it has a reason and no number: none is replaced by another.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.errors import DataError
from brainfm.images.backbones import Weights
from brainfm.images.rgb import resized
from brainfm.part import Part

FIRST = 256
"""Held and reconstructed pictures are brought to this side before any score's own preparation."""


@dataclass(frozen=True)
class Reconstructed:
    """What is scored: pictures, and what was predicted of them before a generator, if it is known."""

    seen: Float[Tensor, "_ 3 height width"]
    pictures: Float[Tensor, "_ 3 high wide"]
    predicted: Float[Tensor, "_ token feature"] | None = None
    """What the brain side predicts of each picture; retrieval asks for it."""
    target: Float[Tensor, "_ token feature"] | None = None
    """The same of the seen pictures, by the embedder whose tokens are predicted."""
    target_id: str = ""
    """That embedder's `id`."""

    def __post_init__(self) -> None:
        parts = (self.seen, self.pictures, self.predicted, self.target)
        counts = {len(one) for one in parts if one is not None}
        if len(counts) != 1:
            raise DataError(
                f"pictures that were seen and reconstructed must be as many, not {sorted(counts)}"
            )
        if len(self.seen) < 2:
            raise DataError("scores of reconstructions need two pictures or more")
        if not all(torch.isfinite(one).all() for one in parts if one is not None):
            raise DataError("a picture to be scored is not finite; its generator has failed")

    @property
    def first(self) -> tuple[Tensor, Tensor]:
        """(seen, reconstructed) at the side that all scores begin with."""
        return resized(self.seen, FIRST), resized(self.pictures, FIRST)

    def __len__(self) -> int:
        return len(self.seen)


@dataclass(frozen=True)
class Told:
    """A score's number for each picture, and what it was made with."""

    values: Float[NDArray[np.float64], " picture"]
    chance: float | None
    """What pictures that tell nothing would score, where that is known."""
    resize: str
    """Every change of size, in order."""
    backbone: str = ""
    """Whose features, with a hash of the weights."""
    note: str = ""


class ImageScore(Part):
    """Called with a `Reconstructed`. Raises `backbones.NotAtHand` where what it needs is missing."""

    version: ClassVar[str] = "1"
    """Rises when the same pictures would score otherwise."""
    higher_is_better: ClassVar[bool] = True

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        """A number for each picture. `weights` says where networks may lie, `rng` draws where a score draws."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
