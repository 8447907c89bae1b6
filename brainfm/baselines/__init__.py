"""Classical baselines, one file each: what the field used before foundation models, beside every frozen
score.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess import Step
from brainfm.errors import DataError
from brainfm.part import Part

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows to fit on and rows to score on."""


class Decoder(Protocol):
    """What `Baseline.build` gives: scikit-learn's interface, with each window's domain (its subject or
    session).
    """

    def fit(
        self,
        signal: NDArray[np.float64],
        label: NDArray[np.int64],
        domain: NDArray[np.int64],
        groups: NDArray[np.int64] | None = None,
    ) -> "Decoder":
        """`groups` are what inner folds hold out whole; the domains, if not given."""
        ...

    def predict_proba(
        self, signal: NDArray[np.float64], domain: NDArray[np.int64]
    ) -> NDArray[np.float64]: ...


class Baseline(Part):
    """A classical decoder of windows of signal."""

    def steps(self) -> Sequence[Step]:
        """How this baseline wants whole recordings prepared, before they are cut into windows."""
        return ()

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """An unfitted decoder for windows (window, sensor, time) in SI units. Raises `DataError` if it
        can't serve.
        """
        raise NotImplementedError  # a family's base class; every part in this folder has its own


class Classical:
    """A `Decoder` of two pieces: features of each window, and a scikit-learn estimator on them.

    `features(signal, domain)` learns nothing from labels; `estimator(folds)` gives an unfitted classifier
    that chooses its regularisation on those inner folds of the training windows alone. Sensors are
    brought to unit size first by the training windows' spread: shrinkage breaks on covariances of 1e-12
    V² or of mixed units.
    """

    def __init__(
        self,
        features: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
        estimator: Callable[[list[Fold]], Any],
        n_classes: int,
    ) -> None:
        self.features, self.estimator, self.n_classes = features, estimator, n_classes

    def fit(
        self,
        signal: NDArray[np.float64],
        label: NDArray[np.int64],
        domain: NDArray[np.int64],
        groups: NDArray[np.int64] | None = None,
    ) -> Self:
        """Fit on training windows (window, sensor, time). Raises `DataError` for one class, a flat
        sensor, a NaN.
        """
        if len(np.unique(label)) < 2:
            raise DataError(
                "the training windows hold one class only; choose a split with every class on both sides"
            )
        self.learn_size(signal)
        features = self.features(self.sized(signal), domain)
        self.model = self.estimator(inner_folds(label, domain if groups is None else groups)).fit(
            features, label
        )
        return self

    def learn_size(self, signal: NDArray[np.float64]) -> None:
        """Measure what sensors are divided by on training windows. Raises `DataError` for a flat sensor, a NaN."""
        self.spread = _spread(signal)

    def sized(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Windows whose sensors are of unit size."""
        return signal / self.spread

    def predict_proba(self, signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
        """(window, class) probabilities; a class that training lacked gets zero."""
        refuse_nan(signal)
        out = np.zeros((len(signal), self.n_classes))
        out[:, self.model.classes_] = self.model.predict_proba(self.features(self.sized(signal), domain))
        return out


class Unscaled(Classical):
    """The same without bringing sensors to unit size, where their size tells something: counts, responses of voxels."""

    def learn_size(self, signal: NDArray[np.float64]) -> None:
        refuse_nan(signal)

    def sized(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return signal


def inner_folds(label: NDArray[np.int64], domain: NDArray[np.int64], n: int = 5) -> list[Fold]:
    """Folds of the training windows for choosing a regularisation: whole domains if there are two, else
    blocks.

    Blocks are runs of consecutive windows of a class, never shuffled: neighbouring windows resemble each
    other. Folds whose fitting side lacks a class are left out; the list is empty when the windows are too
    few.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    n_domains, fewest = len(np.unique(domain)), int(np.unique(label, return_counts=True)[1].min())
    if fewest < 2:
        return []
    folds: list[Fold] = []
    if n_domains > 1:
        splitter = StratifiedGroupKFold(min(n, n_domains, fewest))
        folds = [fold for fold in splitter.split(label, label, domain) if set(label[fold[0]]) == set(label)]
    return folds or list(StratifiedKFold(min(n, fewest)).split(label, label))


class Tuned:
    """A pipeline with the value of one setting of its last step that gives held-out windows the likeliest
    labels.

    What scikit-learn's `GridSearchCV` does, but the steps before the last (covariances, means of
    matrices) are fitted once in each fold and not for every value. Ties go to the earlier value; without
    folds the pipeline stays as it is.
    """

    def __init__(self, pipeline: Any, folds: list[Fold], name: str, values: NDArray[np.float64]) -> None:
        self.pipeline, self.folds, self.name, self.values = pipeline, folds, name, values

    def fit(self, features: NDArray[np.float64], label: NDArray[np.int64]) -> Self:
        """Choose the value and fit with it on all windows."""
        self.model = self._with(None)
        scores = [self._scores(features, label, *fold) for fold in self.folds]
        if scores:
            self.model = self._with(self.values[int(np.mean(scores, axis=0).argmax())])
        self.model.fit(features, label)
        self.classes_ = self.model.classes_
        return self

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(window, class)"""
        return np.asarray(self.model.predict_proba(features))

    def _with(self, value: float | None) -> Any:
        from sklearn.base import clone

        return clone(self.pipeline).set_params(**({} if value is None else {self.name: value}))

    def _scores(
        self,
        features: NDArray[np.float64],
        label: NDArray[np.int64],
        train: NDArray[np.int64],
        test: NDArray[np.int64],
    ) -> list[float]:
        fitted, unseen = features[train], features[test]
        for step in self._with(None)[:-1]:
            fitted, unseen = step.fit_transform(fitted, label[train]), step.transform(unseen)
        last = [self._with(value)[-1].fit(fitted, label[train]) for value in self.values]
        return [log_likelihood(model.predict_proba(unseen), model.classes_, label[test]) for model in last]


def log_likelihood(
    probability: NDArray[np.float64], classes: NDArray[np.int64], label: NDArray[np.int64]
) -> float:
    """Mean log probability of the true label, every class weighing the same."""
    picked = probability[np.arange(len(label)), np.searchsorted(classes, label)]
    scores = np.log(np.maximum(picked, 1e-12))
    return float(np.mean([scores[label == name].mean() for name in np.unique(label)]))


def tuned(pipeline: Any, folds: list[Fold], **grid: NDArray[np.float64]) -> Tuned:
    """`pipeline` with the one setting of `grid` (as `ridge__alpha=[...]`, of its last step) chosen on
    `folds`.
    """
    ((name, values),) = grid.items()
    return Tuned(pipeline, folds, name, values)


def logistic(folds: list[Fold], *before: Any, standardise: bool = True) -> Tuned:
    """Class-balanced logistic regression with C chosen on `folds`, on what the transformers `before`
    make.

    Tangent vectors are better not standardised: they share one scale already, and weighing the many
    directions that hold no signal like the others turned a score of 0.77 into 0.25 on recentred
    recordings.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [*before, StandardScaler()] if standardise else before
    classifier = LogisticRegression(class_weight="balanced", max_iter=5000)
    return tuned(make_pipeline(*steps, classifier), folds, logisticregression__C=np.logspace(-4, 1, 6))


def _spread(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(sensor, 1) the median over windows of each sensor's standard deviation."""
    refuse_nan(signal)
    spread: NDArray[np.float64] = np.median(signal.std(axis=2), axis=0)
    if (spread == 0).any():
        raise DataError(
            f"sensor number {int(np.argmin(spread))} is flat in most training windows; leave it out"
        )
    return spread[:, None]


def refuse_nan(signal: NDArray[np.float64]) -> None:
    """Raise `DataError` that names the first window and sensor with a number that is none."""
    bad = ~np.isfinite(signal)
    if bad.any():
        window, sensor, _ = (int(index) for index in np.argwhere(bad)[0])
        raise DataError(
            f"window {window}, sensor number {sensor} holds NaN or infinity; repair it or leave it out"
        )
