"""Correlation distance of features: how far a reconstruction lies from what was seen, for a network's eyes."""

from typing import ClassVar

import numpy as np

from brainfm.images.backbones import Weights
from brainfm.images.correlation import by_row
from brainfm.images.feature_score import FeatureScore, sizes
from brainfm.images.scores import Reconstructed, Told


class Distance(FeatureScore):
    """1 − Pearson's r of the features of each picture and its reconstruction; 0 is the same, 1 is unrelated."""

    higher_is_better: ClassVar[bool] = False

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        chosen = self.extractor(weights)
        seen, pictures = (chosen.features(one) for one in found.first)
        return Told(1 - by_row(seen, pictures), None, sizes(chosen), chosen.id)
