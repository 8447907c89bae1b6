"""PixCorr: how well the pixels of a reconstruction correlate with those that were seen."""

import numpy as np
from pydantic import Field

from brainfm.images.backbones import Weights
from brainfm.images.correlation import by_row
from brainfm.images.rgb import resized
from brainfm.images.scores import FIRST, ImageScore, Reconstructed, Told


class PixCorr(ImageScore):
    """Pearson's r over all pixels and colours of each picture. A blurred mean of all pictures scores well: see the controls."""

    size: int = Field(default=425, ge=8, description="side, pixels")

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        seen, pictures = (resized(one, self.size).flatten(1).cpu().numpy() for one in found.first)
        return Told(by_row(seen, pictures), 0.0, f"{FIRST}, then {self.size} bilinear antialiased")
