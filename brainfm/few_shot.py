"""Learning curves: the same folds with so many labelled windows of each class to train on, and the same windows to test on.

MOABB's `data_size={"policy": "per_class"}`: a draw puts each fold's training windows in an order, and takes the first n of
each class, so that larger subsets hold the smaller ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brainfm.data.leaks import Fold
from brainfm.evaluation import Evaluation
from brainfm.metrics import Probabilities
from brainfm.panel import Panel
from brainfm.scores import Point

Predict = Callable[[Panel], Probabilities]


def most(evaluation: Evaluation) -> int:
    """Windows of the rarest class in the smallest training fold."""
    counts = [
        np.bincount(evaluation.windows.label[fold.train], minlength=evaluation.classes)
        for fold in evaluation.folds
    ]
    return int(np.min(counts))


def few(evaluation: Evaluation, count: int, draw: int) -> Evaluation:
    """The same evaluation with `count` training windows of each class in every fold: those that this draw puts first."""

    def fewer(number: int, fold: Fold) -> Fold:
        rng = np.random.default_rng([evaluation.seed, 7, draw, number])
        return replace(fold, train=first_of_each(fold.train, evaluation.windows.label, count, rng))

    return replace(evaluation, folds=[fewer(*pair) for pair in enumerate(evaluation.folds)])


def first_of_each(
    rows: NDArray[np.int64], label: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The first `count` rows of each label in a random order of `rows`, sorted."""
    order = rng.permutation(np.sort(rows))
    return np.sort(np.concatenate([order[label[order] == one][:count] for one in np.unique(label[rows])]))


def learning_curve(
    panel: Panel, counts: Sequence[int], rows: Mapping[str, Predict], draws: int, tick: Callable[[str], None]
) -> tuple[list[Point], list[str]]:
    """A point for each row and count, mean over `draws` subsets, and what was left out, in words.

    `rows` give out-of-fold predictions of a panel whose training folds have been made smaller.
    """
    points, notes = [], []
    limit = most(panel.evaluation) if counts else 0
    for count in sorted(set(counts)):
        if count > limit:
            notes.append(f"{count} windows per class are more than the {limit} of a training fold")
            continue
        smaller = [replace(panel, evaluation=few(panel.evaluation, count, draw)) for draw in range(draws)]
        for name, predict in rows.items():
            tick(f"{name}, {count} per class")
            try:
                predictions = [predict(one) for one in smaller]
            except (ValueError, np.linalg.LinAlgError):  # of scikit-learn: too few windows for this decoder
                notes.append(f"{name} can't be fitted on {count} windows per class")
                continue
            points.append(Point(count, panel.evaluation.row(name, predictions)))
    return points, notes
