"""Covariance of each window, tangent space, logistic regression: the Riemannian baseline (Barachant et
al. 2012).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from scipy.signal import butter, sosfiltfilt

from brainfm.baselines import Baseline, Classical, Decoder, logistic
from brainfm.data.preprocess import Step
from brainfm.errors import DataError


class TangentSpace(Baseline):
    """Shrunk covariance, projected to the tangent space at the training windows' Riemannian mean.

    Barachant et al. 2012, "Multiclass brain-computer interface classification by Riemannian geometry",
    section III; logistic regression in place of their LDA, with C chosen on inner folds of the training
    windows.
    """

    low: float | None = 1.0
    """Lower edge of the band in hertz."""
    high: float | None = 40.0
    """Upper edge of the band in hertz."""
    shrinkage: Literal["oas", "lwf"] = "oas"
    """Oracle approximating shrinkage, or Ledoit and Wolf's."""
    recentre: Literal["none", "domain"] = "none"
    """`domain`: whiten each domain by its own mean, without labels (Zanini et al. 2018). At prediction
    the mean is that of the windows handed in, so hand in a domain's windows together."""
    bands: list[list[float]] | None = None
    """`[low, high]` hertz each: one copy of every sensor per band, so that the covariance holds the power
    of each (Congedo, Barachant & Andreev 2013, on steady-state responses). The bands are filtered window
    by window."""

    @model_validator(mode="after")
    def _bands_rise(self) -> "TangentSpace":
        for band in self.bands or []:
            if len(band) != 2 or not 0 < band[0] < band[1]:
                raise ValueError(f"a band is [low, high] in hertz with 0 < low < high, not {band}")
        return self

    def steps(self) -> Sequence[Step]:
        """A band-pass, unless both edges are left open."""
        from brainfm.data.preprocess.band_pass import BandPass

        return [] if self.low is None and self.high is None else [BandPass(low=self.low, high=self.high)]

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Any number of sensors; with one it decodes from log power. Raises `DataError` for a band above
        Nyquist.
        """
        from pyriemann.estimation import Covariances
        from pyriemann.tangentspace import TangentSpace as Projection

        for _, high in self.bands or []:
            if high >= sfreq / 2:
                raise DataError(
                    f"tangent_space can't use a band up to {high} Hz at a sampling rate of {sfreq} Hz"
                )
        covariances = Covariances(self.shrinkage)

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            matrices = covariances.transform(in_bands(signal, sfreq, self.bands) if self.bands else signal)
            return recentred(matrices, domain) if self.recentre == "domain" else matrices

        return Classical(features, lambda folds: logistic(folds, Projection(), standardise=False), n_classes)


def in_bands(signal: NDArray[np.float64], sfreq: float, bands: list[list[float]]) -> NDArray[np.float64]:
    """(window, band · sensor, time) the signal once per band, by a fourth-order zero-phase Butterworth
    filter.
    """
    filters = [butter(4, band, "bandpass", fs=sfreq, output="sos") for band in bands]
    pad = min(int(sfreq), signal.shape[2] - 1)
    return np.concatenate([sosfiltfilt(sos, signal, padlen=pad) for sos in filters], axis=1)


def recentred(matrices: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each domain's matrices moved so that their Riemannian mean is the identity (Zanini et al. 2018)."""
    from pyriemann.transfer import TLCenter, encode_domains

    unlabelled = np.zeros(len(matrices), int)
    matrices, encoded = encode_domains(matrices, unlabelled, domain.astype(str))
    return np.asarray(TLCenter(target_domain=str(domain[0])).fit_transform(matrices, encoded))
