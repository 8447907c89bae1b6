"""Canonical correlation with sines and cosines of the stimulus frequencies: SSVEP's baseline (Lin et al.
2006).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from brainfm.baselines import Baseline, Classical, Decoder, Fold
from brainfm.data.preprocess import Step
from brainfm.errors import DataError


class Cca(Baseline):
    """The largest canonical correlation with each frequency's reference, then LDA, so that rest can be a
    class.

    Lin et al. 2006, "Frequency recognition based on canonical correlation analysis for SSVEP-based BCIs".
    """

    frequencies: list[float] = Field(min_length=1)
    """Stimulus frequencies in hertz."""
    harmonics: int = Field(default=2, ge=1)
    """Sines and cosines at 1, 2, ... times each frequency; those above Nyquist are left out."""
    low: float | None = 5.0
    """Lower edge of the band in hertz."""
    high: float | None = 45.0
    """Upper edge of the band in hertz."""

    def steps(self) -> Sequence[Step]:
        """A band-pass, unless both edges are left open."""
        from brainfm.data.preprocess.band_pass import BandPass

        return [] if self.low is None and self.high is None else [BandPass(low=self.low, high=self.high)]

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` for a stimulus above Nyquist."""
        if max(self.frequencies) >= sfreq / 2:
            raise DataError(f"cca can't see {max(self.frequencies)} Hz at a sampling rate of {sfreq} Hz")

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return correlations(signal, sfreq, self.frequencies, self.harmonics)

        def estimator(folds: list[Fold]) -> object:
            return LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage="auto", priors=np.full(n_classes, 1 / n_classes)
            )

        return Classical(features, estimator, n_classes)


def correlations(
    signal: NDArray[np.float64], sfreq: float, frequencies: Sequence[float], harmonics: int
) -> NDArray[np.float64]:
    """(window, frequency) the largest canonical correlation of each window with each frequency's
    reference.
    """
    windows = _basis(signal.transpose(0, 2, 1))
    seconds = np.arange(signal.shape[2]) / sfreq
    out = []
    for frequency in frequencies:
        used = [n * frequency for n in range(1, harmonics + 1) if n * frequency < sfreq / 2]
        waves = [wave(2 * np.pi * f * seconds) for f in used for wave in (np.sin, np.cos)]
        reference = _basis(np.stack(waves, axis=1)[None])
        out.append(np.linalg.svd(windows.transpose(0, 2, 1) @ reference, compute_uv=False)[:, 0])
    return np.stack(out, axis=1)


def _basis(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal bases of the centred columns of (window, time, column); directions without signal are zero.

    With these, canonical correlations are singular values (Björck & Golub 1973, theorem 1); the zeros keep an
    average reference, which removes one dimension, from adding a direction of noise.
    """
    left, size, _ = np.linalg.svd(columns - columns.mean(axis=1, keepdims=True), full_matrices=False)
    return left * (size > 1e-9 * size[:, :1])[:, None, :]
