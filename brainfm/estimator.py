"""Estimator: one of scikit-learn's as a row of a probe's table, fitted on the training windows of each fold."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from brainfm.data.contract import Contract
from brainfm.data.preprocess import Step
from brainfm.errors import DataError
from brainfm.probes import classifier


class Estimator:
    """A classifier of windows (window, sensor, time), or a transformer of them, whose features the ridge probe then reads.

    It has the manners of a `Baseline`. Estimators of scikit-learn itself are given windows flattened to (window, sensor · time);
    those of others, as pyriemann's, the array of three axes: `flat` says otherwise. The `contract` is fulfilled before.
    """

    def __init__(
        self, estimator: Any, contract: Contract | None = None, name: str = "", flat: bool | None = None
    ) -> None:
        self.estimator, self.contract = estimator, contract
        self.name = name or type(last(estimator)).__name__
        self.flat = first(estimator).__module__.startswith("sklearn.") if flat is None else flat

    def steps(self) -> Sequence[Step]:
        """The contract, where there is one; else recordings as they are, in SI units."""
        return [] if self.contract is None else [self.contract]

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> "Fitted":
        """An unfitted copy for one fold."""
        return Fitted(self, n_classes)


class Fitted:
    """The `Decoder` of one fold."""

    def __init__(self, part: Estimator, n_classes: int) -> None:
        self.part, self.n_classes = part, n_classes
        self.estimator = clone(part.estimator)

    def fit(
        self,
        signal: NDArray[np.float64],
        label: NDArray[np.int64],
        domain: NDArray[np.int64],
        groups: NDArray[np.int64] | None = None,
    ) -> Self:
        """Fit on training windows. Raises `DataError` with the estimator's own reason where it refuses them."""
        try:
            self.estimator.fit(self._given(signal), label)
        except (ValueError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self.part.name} can't be fitted on windows of shape {signal.shape}: {why}"
            ) from None
        self.probe = None
        if not hasattr(self.estimator, "predict"):
            self.probe = classifier("ridge", label, domain if groups is None else groups)
            self.probe.fit(self._features(signal), label)
        return self

    def predict_proba(self, signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
        """(window, class), what the estimator says in the form that it says it: probabilities, distances or labels."""
        out = np.zeros((len(signal), self.n_classes))
        if self.probe is not None:
            out[:, self.probe.classes_] = self.probe.predict_proba(self._features(signal))
            return out
        out[:, self.estimator.classes_] = likelihoods(self.estimator, self._given(signal))
        return out

    def _features(self, signal: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(self.estimator.transform(self._given(signal)), np.float32).reshape(len(signal), -1)

    def _given(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        contract = self.part.contract
        windows = signal if contract is None else contract.on_window(signal)
        return windows.reshape(len(windows), -1) if self.part.flat else windows


def likelihoods(estimator: Any, windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(window, class), in the order of the estimator's classes."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(windows))
    if hasattr(estimator, "decision_function"):
        values = np.asarray(estimator.decision_function(windows))
        values = np.stack([-values, values], axis=1) / 2 if values.ndim == 1 else values
        out: NDArray[np.float64] = softmax(values, axis=1)
        return out
    return (np.asarray(estimator.predict(windows))[:, None] == estimator.classes_).astype(np.float64)


def first(estimator: Any) -> type:
    """The class of what is given the windows."""
    return first(estimator.steps[0][1]) if isinstance(estimator, Pipeline) else type(estimator)


def last(estimator: Any) -> Any:
    """What decides in the end."""
    return last(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator
