"""Classical baselines: what the field used before foundation models, one file each, beside every frozen score."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess import Step
from brainfm.part import Part


class Decoder(Protocol):
    """What `Baseline.build` gives: scikit-learn's estimator interface, with each window's domain (its subject or session)."""

    def fit(self, signal: NDArray[np.float64], label: NDArray[np.int64], domain: NDArray[np.int64]) -> "Decoder": ...
    def predict_proba(self, signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]: ...


class Baseline(Part):
    """A classical decoder of windows of signal."""

    def steps(self) -> Sequence[Step]:
        """How this baseline wants whole recordings prepared, before they are cut into windows."""
        return ()

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """An unfitted decoder for windows of shape (window, sensor, time) in SI units. Raises `DataError` if it can't serve."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
