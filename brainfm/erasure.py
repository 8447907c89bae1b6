"""Erase a concept from features: the least change after which no linear classifier of them does better than a constant."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Eraser:
    """LEACE in closed form (Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form", theorem 4.3).

    `mean` (feature,) stays; `away` (concept, feature) and `back` (feature, concept) are the two thin factors of
    W⁺ P W, with W whitening the training features and P projecting onto what of them covaries with the concept.
    """

    mean: NDArray[np.float64]
    back: NDArray[np.float64]
    away: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.floating], concept: NDArray[np.int64]) -> Self:
        """From training features (window, feature) and the concept of each, a number.

        One thin singular value decomposition: features = U S Vᵀ, W = V S⁻¹ Vᵀ but for a factor that cancels.
        """
        mean = features.mean(axis=0, dtype=np.float64)
        left, spread, right = np.linalg.svd(features - mean, full_matrices=False)
        kept = spread > 1e-6 * spread.max(initial=0)
        one_hot = (concept[:, None] == np.unique(concept)).astype(float)
        covaries = left[:, kept].T @ (one_hot - one_hot.mean(axis=0))
        basis, size, _ = np.linalg.svd(covaries, full_matrices=False)
        basis = basis[:, size > 1e-9 * size.max(initial=1e-300)]
        axes = right[kept]
        return cls(mean, axes.T @ (spread[kept, None] * basis), (basis / spread[kept, None]).T @ axes)

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(window, feature) without the concept, also of windows that were not fitted."""
        erased: NDArray[np.float32] = (
            features - ((features - self.mean) @ self.away.T) @ self.back.T
        ).astype(np.float32)
        return erased
