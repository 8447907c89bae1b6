"""Linear probes: standardised features, a linear classifier, its regularisation chosen inside the training fold."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from brainfm.baselines import Fold, inner_folds, logistic
from brainfm.ridge import PENALTIES, Solution

Protocol = Literal["ridge", "logistic"]


def linear(protocol: Protocol, label: NDArray[np.int64], groups: NDArray[np.int64]) -> Any:
    """An unfitted classifier of features (window, feature), tuned on inner folds that hold out whole `groups`."""
    folds = inner_folds(label, groups)
    return logistic(folds) if protocol == "logistic" else RidgeProbe(folds)


class RidgeProbe:
    """Closed-form ridge on class-balanced one-hot targets (Open EEG Bench's ridge probe, in dual form): nothing to tune.

    Standardisation, penalty and weights come from the training windows alone; the penalty that gives held-out inner windows
    the best balanced accuracy wins, the larger one among equals.
    """

    def __init__(self, folds: list[Fold]) -> None:
        self.folds = folds

    def fit(self, features: NDArray[np.float32], label: NDArray[np.int64]) -> Self:
        """Fit on (window, feature)."""
        self.classes_ = np.unique(label)
        scores = np.zeros(len(PENALTIES))
        for fit_rows, score_rows in self.folds:
            values = _solution(features[fit_rows], label[fit_rows], self.classes_)(
                features[score_rows], PENALTIES
            )
            scores += [_recall(value, label[score_rows], self.classes_) for value in values]
        best = int(np.flatnonzero(scores >= scores.max() - 1e-9)[-1]) if self.folds else len(PENALTIES) // 2
        self.penalty = PENALTIES[best]
        self._solution = _solution(features, label, self.classes_)
        return self

    def decision_function(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, class) regression values."""
        return self._solution(features, np.array([self.penalty]))[0]

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, class): the softmax of twice the values, in their order but not calibrated."""
        out: NDArray[np.float64] = softmax(2 * self.decision_function(features), axis=1)
        return out


def _solution(
    features: NDArray[np.float32], label: NDArray[np.int64], classes: NDArray[np.int64]
) -> Solution:
    """Ridge on one-hot targets, centred so that every class counts the same: else the boundary leans towards the common one."""
    one_hot = (label[:, None] == classes).astype(float)
    present = np.maximum(one_hot.sum(axis=0), 1)
    weight = (one_hot / present).sum(axis=1) / len(classes) * len(label)
    return Solution(features, one_hot, weight)


def _recall(value: NDArray[np.float64], label: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Balanced accuracy over the classes that occur."""
    right = classes[value.argmax(axis=1)] == label
    return float(np.mean([right[label == name].mean() for name in np.unique(label)]))
