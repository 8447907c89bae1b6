"""A Wiener filter: a linear map of what each sensor said now and a while before (Carmena et al. 2003, methods)."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.baselines.binned_rates import counts
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.regressors import Regressor
from brainfm.ridge import Ridge


class Wiener(Regressor):
    """Ridge on the counts of each neuron in `bins` equal parts of the window; the penalty is chosen inside the training fold.

    Spikes are counted in bins of `resolution` first, where they are not counted yet, in wider ones already.
    """

    bins: int = Field(default=5, ge=1, description="parts of a window; one is the mean rate alone")
    resolution: float = Field(default=0.01, gt=0, description="seconds")

    def steps(self) -> Sequence[Step]:
        return (BinCounts(seconds=self.resolution, wider="keep"),)

    def build(self, sfreq: float) -> "WienerFilter":
        return WienerFilter(self.bins)


class WienerFilter:
    """See `Wiener`."""

    def __init__(self, bins: int) -> None:
        self.bins, self.ridge = bins, Ridge()

    def fit(
        self, signal: NDArray[np.float64], target: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> Self:
        self.ridge.fit(self._features(signal), target, groups)
        return self

    def predict(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.ridge.predict(self._features(signal))

    def _features(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return counts(signal, self.bins).reshape(len(signal), -1)
