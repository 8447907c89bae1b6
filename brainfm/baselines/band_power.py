"""Log power of the classical bands at each sensor and a ridge classifier: the plainest baseline."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import welch
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from brainfm.baselines import Baseline, Classical, Decoder, Fold, Tuned, tuned
from brainfm.errors import DataError


class BandPower(Baseline):
    """Welch's spectrum (Welch 1967) averaged in bands, its logarithm standardised, class-balanced ridge."""

    bands: list[list[float]] = Field(
        default=[[1.0, 4.0], [4.0, 8.0], [8.0, 13.0], [13.0, 30.0], [30.0, 45.0]]
    )
    """`[low, high]` hertz each (delta to gamma); a band that reaches above Nyquist, or that the windows
    are too short to resolve, is left out."""
    seconds: float = 2.0
    """Length of Welch's segments; at most the window."""

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` where every band lies above Nyquist."""
        bands = [band for band in self.bands if band[1] <= sfreq / 2]
        if not bands:
            raise DataError(
                f"band_power has no band below {sfreq / 2} Hz, half the sampling rate; give it `bands`"
            )

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return log_power(signal, sfreq, bands, self.seconds)

        return Classical(features, _ridge, n_classes)


def log_power(
    signal: NDArray[np.float64], sfreq: float, bands: list[list[float]], seconds: float
) -> NDArray[np.float64]:
    """(window, band · sensor) the log of the mean power density in each band that has a frequency bin."""
    length = min(int(seconds * sfreq), signal.shape[2])
    frequency, power = welch(signal, sfreq, nperseg=length)
    bins = [(frequency >= low) & (frequency < high) for low, high in bands]
    found = [power[:, :, where].mean(axis=2) for where in bins if where.any()]
    if not found:
        raise DataError(
            f"windows of {signal.shape[2] / sfreq:.3g} s resolve no band of band_power; use longer windows"
        )
    return np.log(np.concatenate(found, axis=1) + 1e-12)


class Ridge(RidgeClassifier):
    """Ridge with probabilities: the softmax of its decision values keeps their order but is not
    calibrated.
    """

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(window, class)"""
        values = self.decision_function(features)
        return softmax(np.c_[-values, values] if values.ndim == 1 else values, axis=1)


def _ridge(folds: list[Fold]) -> Tuned:
    pipeline = make_pipeline(StandardScaler(), Ridge(class_weight="balanced"))
    return tuned(pipeline, folds, ridge__alpha=np.logspace(4, -1, 6))
