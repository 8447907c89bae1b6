"""Place fields and Bayes' rule (Zhang et al. 1998, Interpreting neuronal population activity by reconstruction, equation 36)."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter1d
from scipy.special import gammaln

from brainfm.data.preprocess import Step
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.errors import DataError
from brainfm.regressors import Regressor

LEAST = 0.01
"""Hertz: no neuron is silent for certain anywhere."""


class Bayesian(Regressor):
    """The most probable of `bins` places for the counts of a window, neurons firing as Poisson processes by where the animal is.

    How long it was where in training is the prior. For one output alone.
    """

    bins: int = Field(default=48, ge=2)
    smooth: float = Field(default=2.0, gt=0, description="bins, the width of the Gaussian over place fields")
    resolution: float = Field(default=0.01, gt=0, description="seconds")

    def steps(self) -> Sequence[Step]:
        return (BinCounts(seconds=self.resolution, wider="keep"),)

    def build(self, sfreq: float) -> "PlaceFields":
        return PlaceFields(self, sfreq)


class PlaceFields:
    """See `Bayesian`."""

    def __init__(self, part: Bayesian, sfreq: float) -> None:
        self.part, self.sfreq = part, sfreq

    def fit(
        self, signal: NDArray[np.float64], target: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> Self:
        """Raises `DataError` for more than one output."""
        if target.shape[1] != 1:
            raise DataError(f"the bayesian regressor tells one number, not {target.shape[1]}; give `along`")
        part, where = self.part, target[:, 0]
        edges = np.linspace(where.min(), where.max() + 1e-6, part.bins + 1)
        spot = np.digitize(where, edges) - 1
        stayed = np.bincount(spot, minlength=part.bins).astype(float)
        windows = gaussian_filter1d(stayed, part.smooth) + 1e-3
        fired = np.stack([np.bincount(spot, row, part.bins) for row in signal.sum(axis=2).T])
        self.expected = (
            gaussian_filter1d(fired, part.smooth, axis=1) / windows + LEAST * signal.shape[2] / self.sfreq
        )
        self.prior = np.log(windows / windows.sum())
        self.centre = (edges[:-1] + edges[1:]) / 2
        return self

    def predict(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        count = signal.sum(axis=2)
        log = (
            count @ np.log(self.expected)
            - self.expected.sum(axis=0)
            - gammaln(count + 1).sum(axis=1)[:, None]
        )
        return np.asarray(self.centre[(log + self.prior).argmax(axis=1)][:, None])
