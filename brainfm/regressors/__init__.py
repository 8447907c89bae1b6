"""Classical regressions, one file each: what behaviour was decoded with before foundation models."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess import Step
from brainfm.part import Part


class Regression(Protocol):
    """What `Regressor.build` gives."""

    def fit(
        self, signal: NDArray[np.float64], target: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> "Regression":
        """Windows (window, sensor, time) and targets (window, output); `groups` are what inner folds hold out whole."""
        ...

    def predict(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """(window, output)"""
        ...


class Regressor(Part):
    """A classical regression from windows of signal."""

    @property
    def by_subject(self) -> bool:
        """Whether each person has a regression of their own, of their own training windows."""
        return False

    def steps(self) -> Sequence[Step]:
        """How this one wants whole recordings prepared, before they are cut into windows."""
        return ()

    def build(self, sfreq: float) -> Regression:
        """An unfitted regression for windows at this rate, in hertz. Raises `DataError` if it can't serve."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
