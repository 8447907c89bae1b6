"""The mean response to each class as a template, and the class whose template a trial resembles most."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import softmax

from brainfm.baselines import Baseline, Decoder, Fold, Unscaled
from brainfm.baselines.binned_rates import counts
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.errors import DataError


class MaxCorrelation(Baseline):
    """The maximum correlation coefficient classifier on standardised counts (Meyers 2013, The neural decoding toolbox).

    It has nothing to tune and does well where neurons are many and trials few.
    """

    bins: int = Field(default=1, ge=1, description="parts of a window; one is the mean rate")
    resolution: float = Field(default=0.01, gt=0, description="seconds")

    def steps(self) -> Sequence[Step]:
        return (BinCounts(seconds=self.resolution, wider="keep"),)

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` for a single count, which correlates with nothing."""
        if n_sensors * self.bins < 2:
            raise DataError(
                "max_correlation can't tell templates apart by one neuron in one bin; give it `bins`"
            )

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return counts(signal, self.bins).reshape(len(signal), -1)

        return Unscaled(features, templates, n_classes)


class Templates:
    """scikit-learn's interface: the training mean of each class, features standardised by the training windows."""

    def fit(self, features: NDArray[np.float64], label: NDArray[np.int64]) -> Self:
        """A feature that never varies in training says nothing and stays zero."""
        self.classes_ = np.unique(label)
        self.mean, spread = features.mean(axis=0), features.std(axis=0)
        self.scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        standard = self._standard(features)
        self.template = np.stack([standard[label == one].mean(axis=0) for one in self.classes_])
        return self

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(window, class): the softmax of the correlations, which keeps their order but is not calibrated."""
        return np.asarray(softmax(unit(self._standard(features)) @ unit(self.template).T, axis=1))

    def _standard(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return (features - self.mean) * self.scale


def templates(folds: list[Fold]) -> Any:
    """An unfitted classifier; it has nothing to choose on `folds`."""
    return Templates()


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows without their mean, of length 1 (0 where constant): their products are correlations."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
