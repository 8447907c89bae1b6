"""Covariance of each window with the classes' average responses: P300's baseline (Barachant & Congedo
2014).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.baselines import Baseline, Classical, Decoder, Fold, logistic
from brainfm.data.preprocess import Step


class ErpCovariance(Baseline):
    """Average responses stacked on the window, covariance, tangent space, logistic regression.

    Barachant & Congedo 2014, "A Plug&Play P300 BCI using information geometry". The averages are
    supervised, so they are made anew in every inner fold.
    """

    low: float | None = 1.0
    """Lower edge of the band in hertz."""
    high: float | None = 20.0
    """Upper edge of the band in hertz."""
    shrinkage: Literal["oas", "lwf"] = "oas"
    """Oracle approximating shrinkage, or Ledoit and Wolf's."""
    filters: int = Field(default=4, ge=1)
    """With more sensors than this, xDAWN (Rivet et al. 2009) brings each class down to so many components."""

    def steps(self) -> Sequence[Step]:
        """A band-pass, unless both edges are left open."""
        from brainfm.data.preprocess.band_pass import BandPass

        return [] if self.low is None and self.high is None else [BandPass(low=self.low, high=self.high)]

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Serves any number of sensors."""
        from pyriemann.tangentspace import TangentSpace

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return signal

        def estimator(folds: list[Fold]) -> object:
            return logistic(folds, self._covariances(n_sensors), TangentSpace(), standardise=False)

        return Classical(features, estimator, n_classes)

    def _covariances(self, n_sensors: int) -> object:
        from pyriemann.estimation import ERPCovariances, XdawnCovariances

        if n_sensors <= self.filters:
            return ERPCovariances(estimator=self.shrinkage)
        return XdawnCovariances(self.filters, estimator=self.shrinkage, xdawn_estimator=self.shrinkage)
