"""Retrieval: is what is predicted from the brain nearest to the tokens of the picture that was seen, of all candidates?"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from brainfm.images.backbones import NotAtHand, Weights
from brainfm.images.scores import ImageScore, Reconstructed, Told

TIE = 1e-9


class Retrieval(ImageScore):
    """Top-1 by cosine of flattened tokens, in draws of `candidates` test pictures (MindEye2, arXiv:2403.11207).

    `image` finds the picture for each prediction, `brain` the prediction for each picture. It scores what the brain side says and
    no generator. A tie is a failure. With no more pictures than `candidates` there is one draw, of all.
    """

    of: Literal["image", "brain"] = "image"
    candidates: int = Field(default=300, ge=2)
    draws: int = Field(default=30, ge=1)

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        if found.predicted is None or found.target is None:
            raise NotAtHand("needs the tokens that were predicted and those of the seen pictures")
        near = cosine(found.predicted, found.target)
        near = near if self.of == "image" else near.T
        count = len(near)
        size, draws = (self.candidates, self.draws) if count > self.candidates else (count, 1)
        hits, drawn = np.zeros(count), np.zeros(count)
        for _ in range(draws):
            rows = rng.choice(count, size, replace=False)
            among = near[np.ix_(rows, rows)]
            own = np.diag(among).copy()
            np.fill_diagonal(among, -np.inf)
            hits[rows] += among.max(axis=1) < own - TIE
            drawn[rows] += 1
        values = np.where(drawn > 0, hits / np.maximum(drawn, 1), np.nan)
        note = f"{draws} draws of {size} candidates" if draws > 1 else f"all {size} as candidates"
        return Told(values, 1 / size, "the embedder's own", found.target_id, note)


def cosine(a: Tensor, b: Tensor) -> Float[NDArray[np.float64], "picture other"]:
    """Of each prediction with each picture's tokens, all of them side by side."""
    one, other = (x.flatten(1).double() for x in (a, b))
    one, other = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (one, other))
    return np.asarray((one @ other.T).cpu().numpy())
