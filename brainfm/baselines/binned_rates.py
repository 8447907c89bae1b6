"""Rates of neurons in bins and a linear classifier: what decoding from spikes is compared with."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.baselines import Baseline, Decoder, Unscaled, logistic
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.bin_counts import BinCounts


class BinnedRates(Baseline):
    """The square root of every neuron's count in `bins` equal parts of the window, class-balanced logistic regression.

    The square root of a Poisson count has the same variance whatever the rate (Bartlett 1936). Spikes are counted in bins of
    `resolution` first, where they are not counted yet, in wider ones already.
    """

    bins: int = Field(default=1, ge=1, description="parts of a window; one is the mean rate")
    resolution: float = Field(default=0.01, gt=0, description="seconds")

    def steps(self) -> Sequence[Step]:
        return (BinCounts(seconds=self.resolution, wider="keep"),)

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.sqrt(counts(signal, self.bins)).reshape(len(signal), -1)

        return Unscaled(features, logistic, n_classes)


def counts(signal: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """(window, neuron, bin) spikes in `bins` parts of each window, of as equal length as its samples allow."""
    edges = np.linspace(0, signal.shape[2], min(bins, signal.shape[2]) + 1).round().astype(int)
    return np.stack([signal[:, :, a:b].sum(axis=2) for a, b in pairwise(edges)], axis=2)
