"""Ridge regression for every penalty at once, and the penalty that serves rows best that were left out."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

PENALTIES = np.logspace(-3, 3, 13)
"""Multiples of the mean eigenvalue of the kernel: the same grid serves any number of features."""
FOLDS = 5
Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Solution:
    """One eigendecomposition, good for every penalty: of the kernel, or of the features' covariance where that is smaller.

    Features are standardised, targets are not. (Dual and primal ridge, Hastie et al. 2009, §3.4.)
    """

    def __init__(
        self, features: NDArray[np.float32] | Array, targets: Array, weight: Array | None = None
    ) -> None:
        weight = np.ones(len(features)) if weight is None else weight
        root = np.sqrt(weight)
        self.mean = np.average(features, axis=0, weights=weight)
        self.std = features.std(axis=0)
        self.std = np.where(
            self.std > 1e-6 * self.std.max(), self.std, np.inf
        )  # a constant feature says nothing
        self.offset = np.average(targets, axis=0, weights=weight)
        rows = self._standard(features) * root[:, None]
        centred = (targets - self.offset) * root[:, None]
        dual = len(rows) <= rows.shape[1]
        self.eigenvalues, vectors = np.linalg.eigh(rows @ rows.T if dual else rows.T @ rows)
        self.basis = rows.T @ vectors if dual else vectors
        self.target = vectors.T @ centred if dual else vectors.T @ (rows.T @ centred)
        self.scale = max(float(self.eigenvalues.sum()) / len(rows), 1e-12)

    def __call__(self, features: NDArray[np.float32] | Array, penalties: Array) -> list[Array]:
        """(row, target) values for each penalty."""
        projected = self._standard(features) @ self.basis
        return [
            projected @ (self.target / (np.maximum(self.eigenvalues, 0) + penalty * self.scale)[:, None])
            + self.offset
            for penalty in penalties
        ]

    def _standard(self, features: NDArray[np.float32] | Array) -> Array:
        return ((features - self.mean) / self.std).astype(np.float64)


class Ridge:
    """Regression on several targets, each of which weighs the same in the choice of their one penalty."""

    def fit(self, features: NDArray[np.float32] | Array, targets: Array, groups: Rows) -> Self:
        """Fit on (row, feature) and (row, target); the penalty is chosen on whole `groups` left out, `FOLDS` times."""
        spread = targets.std(axis=0)
        scaled = targets / np.where(spread > 0, spread, 1.0)
        loss = np.zeros(len(PENALTIES))
        for fit, held in folds_of(groups):
            guesses = Solution(features[fit], scaled[fit])(features[held], PENALTIES)
            loss += [float(((guess - scaled[held]) ** 2).sum()) for guess in guesses]
        best = (
            int(np.flatnonzero(loss <= loss.min() * (1 + 1e-12))[-1]) if loss.any() else len(PENALTIES) // 2
        )
        self.penalty = PENALTIES[best]
        self._solution = Solution(features, targets)
        return self

    def predict(self, features: NDArray[np.float32] | Array) -> Array:
        """(row, target)"""
        return self._solution(features, np.array([self.penalty]))[0]


def folds_of(groups: Rows) -> list[tuple[Rows, Rows]]:
    """Rows to fit on and rows left out: the groups in `FOLDS` runs of their numbers, none where there is one group alone."""
    parts = [part for part in np.array_split(np.unique(groups), FOLDS) if len(part)]
    masks = [np.isin(groups, part) for part in parts]
    return [(np.flatnonzero(~out), np.flatnonzero(out)) for out in masks] if len(parts) > 1 else []
