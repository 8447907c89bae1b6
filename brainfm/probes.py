"""Probes of frozen features: standardised, classified, and what is chosen, chosen inside the training fold."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from brainfm.attentive import AttentiveProbe
from brainfm.baselines import Fold, inner_folds, logistic, tuned
from brainfm.ridge import PENALTIES, Solution

Protocol = Literal["ridge", "logistic", "knn", "attentive"]

NEIGHBOURS = np.array([1, 5, 10, 20, 50])
"""How many neighbours may be chosen among."""
TEMPERATURE = 0.07
"""Of a neighbour's vote (Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", 3.4)."""


def classifier(protocol: Protocol, label: NDArray[np.int64], groups: NDArray[np.int64], seed: int = 0) -> Any:
    """An unfitted probe, tuned on inner folds that hold out whole `groups` of the training windows.

    Its features are (window, feature); for `attentive` (window, token, width), NaN where a token is padding, and `seed` draws
    its first queries.
    """
    folds = inner_folds(label, groups)
    if protocol == "attentive":
        return AttentiveProbe(folds, seed)
    if protocol == "knn":
        return tuned(make_pipeline(StandardScaler(), Neighbours()), folds, neighbours__neighbours=NEIGHBOURS)
    return logistic(folds) if protocol == "logistic" else RidgeProbe(folds)


class Neighbours(ClassifierMixin, BaseEstimator):
    """Votes of the nearest training windows by cosine, each exp(similarity / `TEMPERATURE`) (Wu et al. 2018, section 3.4).

    Votes are divided by how common their class is in training, so that rare classes are told as well as common ones; half a
    neighbour votes for all classes alike, so that no class is called impossible.
    """

    def __init__(self, neighbours: int = 20) -> None:
        self.neighbours = neighbours

    def fit(self, features: NDArray[np.float32], label: NDArray[np.int64]) -> Self:
        """Remember (window, feature)."""
        self.classes_, self.label_, counts = np.unique(label, return_inverse=True, return_counts=True)
        self.worth_ = len(label) / (len(counts) * counts)
        self.near_ = NearestNeighbors(
            n_neighbors=min(int(self.neighbours), len(label)), metric="cosine", algorithm="brute"
        ).fit(features)
        return self

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, class)"""
        distance, row = self.near_.kneighbors(features)
        weight = np.exp((distance.min(axis=1, keepdims=True) - distance) / TEMPERATURE)
        vote = weight * self.worth_[self.label_[row]]
        votes = np.stack([(vote * (self.label_[row] == k)).sum(axis=1) for k in range(len(self.classes_))], 1)
        votes += 0.5 / len(self.classes_)
        out: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
        return out


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
