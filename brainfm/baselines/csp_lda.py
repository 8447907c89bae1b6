"""Common spatial patterns and linear discriminant analysis: motor imagery's baseline (Blankertz et al.
2008).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.baselines import Baseline, Classical, Decoder, Fold
from brainfm.data.preprocess import Step
from brainfm.errors import DataError


class CspLda(Baseline):
    """Log variance of spatially filtered signal, then LDA with Ledoit and Wolf's shrinkage.

    Blankertz et al. 2008, "Optimizing spatial filters for robust EEG single-trial analysis"; more than
    two classes by approximate joint diagonalisation (Grosse-Wentrup & Buss 2008).
    """

    low: float | None = 8.0
    """Lower edge of the band in hertz."""
    high: float | None = 30.0
    """Upper edge of the band in hertz."""
    filters: int = Field(default=6, ge=1)
    """How many spatial filters are kept, at most one per sensor."""

    def steps(self) -> Sequence[Step]:
        """A band-pass, unless both edges are left open."""
        from brainfm.data.preprocess.band_pass import BandPass

        return [] if self.low is None and self.high is None else [BandPass(low=self.low, high=self.high)]

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` for one sensor: there is nothing to filter in space."""
        from pyriemann.estimation import Covariances
        from pyriemann.spatialfilters import CSP
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline

        if n_sensors < 2:
            raise DataError("csp_lda needs two sensors or more, the data have one; use band_power")
        covariances = Covariances("oas")

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return covariances.transform(signal)

        def estimator(folds: list[Fold]) -> object:
            classifier = LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage="auto", priors=np.full(n_classes, 1 / n_classes)
            )
            return make_pipeline(CSP(min(self.filters, n_sensors), log=True), classifier)

        return Classical(features, estimator, n_classes)
