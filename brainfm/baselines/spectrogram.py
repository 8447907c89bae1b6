"""Log spectrogram of each contact and a linear classifier: what intracranial decoding is compared with."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import stft

from brainfm.baselines import Baseline, Classical, Decoder, logistic
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.shaft_reference import ShaftReference


class Spectrogram(Baseline):
    """Short Fourier windows along the trial, so that what happens when is told too.

    Neuroprobe's linear baseline takes 195 ms windows that overlap by seven eighths, up to 200 Hz, after a Laplacian reference
    along the shaft (Zahorodnii et al. 2025). Here they overlap by half unless told otherwise: the features are eight times fewer.
    """

    seconds: float = Field(default=0.195, gt=0, description="length of a Fourier window")
    overlap: float = Field(default=0.5, ge=0, lt=1, description="share of it that the next one covers too")
    highest: float = Field(default=200.0, gt=0, description="hertz")
    reference: Literal["laplacian", "bipolar", "none"] = "laplacian"

    def steps(self) -> Sequence[Step]:
        return () if self.reference == "none" else (ShaftReference(to=self.reference),)

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return log_spectrogram(signal, sfreq, self.seconds, self.overlap, self.highest)

        return Classical(features, logistic, n_classes)


def log_spectrogram(
    signal: NDArray[np.float64], sfreq: float, seconds: float, overlap: float, highest: float
) -> NDArray[np.float64]:
    """(window, sensor · frequency · frame) log magnitudes; Fourier windows that reach beyond the ends are left out."""
    length = max(4, min(round(seconds * sfreq), signal.shape[2]))
    shared = min(round(overlap * length), length - 1)
    frequency, _, found = stft(signal, sfreq, nperseg=length, noverlap=shared, boundary=None, padded=False)
    # the mean is no rhythm, and filters leave nothing of it
    kept = np.abs(found[:, :, (frequency > 0) & (frequency <= highest)])
    return np.asarray(np.log(kept + 1e-12).reshape(len(signal), -1))
