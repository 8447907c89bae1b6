"""How far what a brain tells of a picture is from the picture's own features, so that a generator can learn to make do with it.

A generator that was trained on features of pictures is shown features that a brain told, which are shrunk and noisy; it takes
them at their word. Here both are measured on trials that the brain's map was not fitted on, told ≈ true · W + error, and in
training every picture's features are passed through the same. So what is generated is drawn from the pictures that such a
response may have come from: a posterior, for which any picture can serve as prior, seen in the scanner or not (Schoenmakers et
al. 2013, NeuroImage 83, for linear maps and Gaussians).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.errors import DataError

ENOUGH = 2
"""Trials for every number of a feature that the error's covariance needs at least."""
RIDGE = 1e-3
"""Of the mean variance: keeps the covariance invertible."""


class ConditionNoise:
    """`map` (feature, feature) is W, `root` a root of the error's covariance; features are flattened."""

    def __init__(self, map: Tensor, root: Tensor) -> None:
        self.map, self.root = map, root

    @classmethod
    def measured(
        cls, true: Float[Tensor, "trial token width"], told: Float[Tensor, "trial token width"], name: str
    ) -> "ConditionNoise":
        """From true features and what was told of them out of fold. Raises `DataError` for too few trials."""
        a, b = true.flatten(1).double(), told.flatten(1).double()
        count, size = a.shape
        if count < ENOUGH * size:
            raise DataError(
                f"feature {name!r} holds {size} numbers, whose errors {count} trials can't tell; take fewer "
                "(embedder principal) or leave `noise` out"
            )
        gram = a.T @ a
        eye = torch.eye(size, dtype=a.dtype)
        slope = torch.linalg.solve(gram + RIDGE * gram.diagonal().mean() * eye, a.T @ b)
        error = b - a @ slope
        covariance = error.T @ error / (count - size / 2)
        covariance = covariance + RIDGE * covariance.diagonal().mean() * eye
        return cls(slope.float(), torch.linalg.cholesky(covariance).float())

    def __call__(
        self, true: Float[Tensor, "batch token width"], generator: torch.Generator
    ) -> Float[Tensor, "batch token width"]:
        """What a brain might have told of pictures of these features."""
        flat = true.flatten(1)
        drawn = torch.randn(flat.shape, generator=generator).to(flat)
        return (flat @ self.map.to(flat) + drawn @ self.root.T.to(flat)).reshape(true.shape)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What is saved."""
        return {"map": self.map, "root": self.root}
