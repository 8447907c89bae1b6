"""Two-way identification: is a reconstruction more like what was seen than like another picture of the test set?"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from brainfm.images.backbones import Weights
from brainfm.images.correlation import of_all
from brainfm.images.feature_score import FeatureScore, sizes
from brainfm.images.scores import Reconstructed, Told

TIE = 1e-9
"""Correlations that differ by less are equal, whatever order a sum was made in."""


class TwoWay(FeatureScore):
    """The share of other seen pictures that a reconstruction's features correlate less with than with its own.

    Held pictures are ranked for each reconstruction, as published code does (its papers describe the transposed comparison). A
    tie is a failure, so a generator that always gives the same scores its chance and features that say nothing score 0.
    """

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        chosen = self.extractor(weights)
        seen, pictures = (chosen.features(one) for one in found.first)
        return Told(identified(of_all(seen, pictures)), 0.5, sizes(chosen), chosen.id)


def identified(r: Float[NDArray[np.float64], "seen picture"]) -> Float[NDArray[np.float64], " picture"]:
    """Of each reconstruction (column) the share of other seen pictures (rows) that it is less like than its own."""
    return (r < np.diag(r)[None] - TIE).sum(axis=0) / (len(r) - 1)
