"""Scores of predicted probabilities, what chance would score, and intervals over held-out subjects.

Every score takes weights of shape (draw, window), how often each window counts in each draw, and gives
one score a draw: a bootstrap of thousands of draws is then a few matrix products, and seeds and models
share the same draws.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, t

from brainfm.errors import DataError

Probabilities = NDArray[np.float64]
"""(window, class)"""
Labels = NDArray[np.int64]
"""(window,) indices of classes."""
Weights = NDArray[np.float64]
"""(draw, window) how often a window counts."""
Scores = NDArray[np.float64]
"""(draw,)"""

LARGEST = 4_000_000
"""Weights held at once, 32 MB: more draws go in batches."""


def check(probability: Probabilities, label: Labels) -> None:
    """Raise `DataError` unless these are finite probabilities (window, class) for these labels."""
    if probability.ndim != 2 or len(probability) != len(label) or not len(label):
        raise DataError(f"predictions of shape {probability.shape} do not fit {len(label)} labels")
    if not np.isfinite(probability).all():
        row = int(np.argmin(np.isfinite(probability).all(axis=1)))
        raise DataError(f"the prediction for window {row} is not a finite number")
    if label.min() < 0 or label.max() >= probability.shape[1]:
        raise DataError(f"a label lies outside the {probability.shape[1]} classes of the predictions")


@dataclass(frozen=True)
class Metric:
    """A score with what it is at chance. Call it with probabilities (window, class) and labels (window,)."""

    weighted: Callable[[Probabilities, NDArray[Any], Weights], Scores]
    chance: Callable[[int, Labels], float]
    """From the number of classes and the labels: what a decoder that has seen no signal can reach."""
    fit: Callable[[NDArray[np.float64], NDArray[Any]], None] = check
    """Raises `DataError` where predictions do not fit what is true."""
    classes: bool = True
    """Whether labels are classes of windows, of which every draw must hold each."""

    def __call__(self, probability: Probabilities, label: Labels) -> float:
        """The score of these predictions. Raises `DataError` where shapes, labels or numbers don't fit."""
        self.fit(probability, label)
        return float(self.weighted(probability, label, np.ones((1, len(label))))[0])


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % interval; `over` says what was resampled ("group", "window"), `n` how many."""

    score: float
    low: float
    high: float
    over: str
    n: int


def confusion(probability: Probabilities, label: Labels, weight: Weights) -> NDArray[np.float64]:
    """(draw, true class, predicted class) weighted counts; the likeliest class is the predicted one."""
    n = probability.shape[1]
    cell = label * n + probability.argmax(axis=1)
    return (weight @ np.eye(n * n)[cell]).reshape(-1, n, n)


def accuracy(probability: Probabilities, label: Labels, weight: Weights) -> Scores:
    """Share of windows whose likeliest class is the true one."""
    counts = confusion(probability, label, weight)
    return counts.trace(axis1=1, axis2=2) / counts.sum(axis=(1, 2))


def balanced_accuracy(probability: Probabilities, label: Labels, weight: Weights) -> Scores:
    """Mean recall over the classes that occur (Brodersen et al. 2010)."""
    counts = confusion(probability, label, weight)
    return _mean_of_present(np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2))


def kappa(probability: Probabilities, label: Labels, weight: Weights) -> Scores:
    """Agreement beyond what the two marginals give (Cohen 1960, equation 1)."""
    share = confusion(probability, label, weight) / weight.sum(axis=1)[:, None, None]
    expected = (share.sum(axis=1) * share.sum(axis=2)).sum(axis=1)
    return (share.trace(axis1=1, axis2=2) - expected) / (1 - expected)


def weighted_f1(probability: Probabilities, label: Labels, weight: Weights) -> Scores:
    """F1 of each class, averaged by how often the class occurs; a class never predicted scores 0."""
    counts = confusion(probability, label, weight)
    true, total = counts.sum(axis=2), counts.sum(axis=2) + counts.sum(axis=1)
    f1 = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.maximum(total, 1e-300)
    return (f1 * true).sum(axis=1) / true.sum(axis=1)


def auroc(probability: Probabilities, label: Labels, weight: Weights) -> Scores:
    """Area under the ROC curve, ties counting half (Hanley & McNeil 1982); NaN where all windows are of one class.

    With more than two classes it is the plain mean over the classes that occur of one against the rest.
    """
    if probability.shape[1] == 2:
        return _area(probability[:, 1], label == 1, weight)
    return np.mean([_area(probability[:, k], label == k, weight) for k in np.unique(label)], axis=0)


def _area(score: NDArray[np.float64], positive: NDArray[np.bool_], weight: Weights) -> Scores:
    order = np.argsort(score, kind="stable")
    tied = np.flatnonzero(np.diff(rankdata(score[order], "dense"), prepend=0))
    weight, positive = weight[:, order], positive[order]
    hits = np.add.reduceat(weight * positive, tied, axis=1)
    misses = np.add.reduceat(weight * ~positive, tied, axis=1)
    below = np.cumsum(misses, axis=1) - misses / 2
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    return np.where(pairs > 0, (hits * below).sum(axis=1) / np.maximum(pairs, 1e-300), np.nan)


def _mean_of_present(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Scores:
    present = whole > 0
    return (part / np.where(present, whole, 1)).sum(axis=1) / present.sum(axis=1)


def _largest_share(n_classes: int, label: Labels) -> float:
    return float(np.bincount(label, minlength=n_classes).max() / len(label))


def _constant_f1(n_classes: int, label: Labels) -> float:
    share = _largest_share(n_classes, label)
    return 2 * share**2 / (1 + share)


METRICS = {
    "balanced_accuracy": Metric(balanced_accuracy, lambda n_classes, label: 1 / n_classes),
    "kappa": Metric(kappa, lambda n_classes, label: 0.0),
    "auroc": Metric(auroc, lambda n_classes, label: 0.5),
    "accuracy": Metric(accuracy, _largest_share),
    "weighted_f1": Metric(weighted_f1, _constant_f1),
}
"""Name to metric. Chance of accuracy and weighted F1 is that of always saying the commonest class."""


Values = NDArray[np.float64]
"""(window, part, output) what is told of each part of each window, or what is true of it."""


def r2(said: Values, true: Values, weight: Weights) -> Scores:
    """Share of each output's variance over windows and parts that is explained, the mean over outputs; below 0 for what is
    worse than the mean; 0 for one that does not vary and is not told exactly (scikit-learn's `r2_score`, uniform average)."""
    error = ((true - said) ** 2).sum(axis=1)
    centred = true - true.mean(axis=(0, 1))
    total = weight.sum(axis=1)[:, None] * true.shape[1]
    variance = weight @ (centred**2).sum(axis=1) - (weight @ centred.sum(axis=1)) ** 2 / total
    varies = variance > 1e-12 * np.maximum(weight @ (true**2).sum(axis=1), 1e-300)
    missed = weight @ error
    told = 1 - missed / np.where(varies, variance, 1.0)
    return np.mean(np.where(varies, told, missed == 0), axis=1)


def pearson_r(said: Values, true: Values, weight: Weights) -> Scores:
    """Correlation of each output with what is told, over windows and parts; the mean over outputs. A constant correlates 0."""
    a, b = said - said.mean(axis=(0, 1)), true - true.mean(axis=(0, 1))
    total = weight.sum(axis=1)[:, None] * true.shape[1]

    def moment(x: Values, y: Values) -> NDArray[np.float64]:
        return weight @ (x * y).sum(axis=1) - (weight @ x.sum(axis=1)) * (weight @ y.sum(axis=1)) / total

    spread = np.sqrt(np.maximum(moment(a, a), 0) * np.maximum(moment(b, b), 0))
    return np.mean(np.where(spread > 1e-12, moment(a, b) / np.maximum(spread, 1e-12), 0.0), axis=1)


LEAST_RATE = 1e-9
"""A count that is expected to be less counts as this, whose logarithm is finite."""


def co_bps(said: Values, true: Values, weight: Weights) -> Scores:
    """Bits a spike that expected counts tell more of counts than each neuron's mean does, if neurons fire as Poisson processes.

    (log-likelihood of `said` − that of the means) / (spikes · log 2), over all neurons together (Pei et al. 2021, Neural Latents
    Benchmark, arXiv:2109.04463, equation 2); the means are those of the scored windows.
    """
    rate = np.maximum(said, LEAST_RATE)
    told = (true * np.log(rate) - rate).sum(axis=(1, 2))
    spikes = weight @ true.sum(axis=1)
    total = weight.sum(axis=1)[:, None] * true.shape[1]
    mean = np.maximum(spikes / total, LEAST_RATE)
    constant = (spikes * np.log(mean) - mean * total).sum(axis=1)
    return (weight @ told - constant) / (np.maximum(spikes.sum(axis=1), 1.0) * np.log(2))


def check_values(said: Values, true: Values) -> None:
    """Raise `DataError` unless finite values are told of every part of every window."""
    if said.shape != true.shape or said.ndim != 3 or not len(said):
        raise DataError(f"predictions of shape {said.shape} do not fit targets of shape {true.shape}")
    if not np.isfinite(said).all():
        row = int(np.argmin(np.isfinite(said).all(axis=(1, 2))))
        raise DataError(f"the prediction for window {row} is not a finite number")


def check_rates(said: Values, true: Values) -> None:
    """The same, and that no expected count is negative."""
    check_values(said, true)
    if said.min() < 0:
        raise DataError(f"an expected count of {said.min():g} is not possible")


def by_part(metric: Metric) -> Metric:
    """A score of classes as one of (window, part, class) probabilities and (window, part) labels, −1 where there is none."""

    def flat(said: Values, label: Labels) -> tuple[Probabilities, Labels, NDArray[np.bool_]]:
        known = (label >= 0).reshape(-1)
        return said.reshape(len(known), -1)[known], label.reshape(-1)[known], known

    def weighted(said: Values, label: Labels, weight: Weights) -> Scores:
        probability, found, known = flat(said, label)
        return metric.weighted(probability, found, np.repeat(weight, label.shape[1], axis=1)[:, known])

    return Metric(
        weighted,
        lambda n, label: metric.chance(n, label[label >= 0]),
        lambda said, label: metric.fit(*flat(said, label)[:2]),
        classes=False,
    )


def top(k: int) -> Metric:
    """Share of windows whose own segment is among the `k` that lie nearest to what is told, of all different ones that were
    tested: a segment that several people heard is one.

    Nearness is the cosine of vectors whose outputs are standardised by the true ones (Défossez et al. 2023, §2.5). What lies
    equally near counts by the chance that it would be among them, so that an answer that is always the same scores chance.
    """

    def weighted(said: Values, true: Values, weight: Weights) -> Scores:
        mean, spread = true.mean(axis=0), np.maximum(true.std(axis=0), 1e-12)
        a, b = (((one - mean) / spread).reshape(len(one), -1) for one in (said, true))
        a, b = (one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (a, b))
        first, which = different(b)
        near = a @ b[first].T
        own = near[np.arange(len(a)), which][:, None]
        nearer = (near > own + 1e-9).sum(axis=1)
        tied = (np.abs(near - own) <= 1e-9).sum(axis=1)
        return weight @ np.clip((k - nearer) / tied, 0, 1) / weight.sum(axis=1)

    def chance(_: int, true: NDArray[Any]) -> float:
        return min(1.0, k / len(different(true.reshape(len(true), -1))[0]))

    return Metric(weighted, chance, check_values, classes=False)


def different(rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first of each different row, and of every row which of these it equals, but for rounding."""
    size = max(float(np.abs(rows).max()), 1e-300)
    rounded = np.round(rows / size, 6)
    _, first, which = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), which.reshape(-1).astype(np.int64)


OF_SEGMENTS = {"top_10": top(10), "top_1": top(1)}
"""Scores of vectors that are to be found among those of all tested windows."""
OF_VALUES = {
    "r2": Metric(r2, lambda n, true: 0.0, check_values, classes=False),
    "pearson_r": Metric(pearson_r, lambda n, true: 0.0, check_values, classes=False),
}
"""Scores of real numbers; always telling the mean scores 0."""
OF_RATES = {"co_bps": Metric(co_bps, lambda n, true: 0.0, check_rates, classes=False), **OF_VALUES}
"""Scores of expected counts."""


def bootstrap(
    metric: Metric,
    predictions: Sequence[Probabilities],
    labels: Labels,
    groups: NDArray[np.int64] | NDArray[np.str_],
    rng: np.random.Generator,
    n: int = 2000,
) -> Interval:
    """The metric's mean over seeds (`predictions`: an array for each) and its 95 % interval.

    A cluster bootstrap: whole held-out groups (subjects) are drawn with replacement, windows where there
    is one group, and a draw is the same for all seeds. Draws that lack one of the classes are drawn anew.
    The interval is the expanded percentile interval (Hesterberg 2015), which widens the plain one for few
    groups as Student's t widens the normal; with three or four groups it is nearly the whole range of the
    draws. It says how much the score would vary with other subjects, not with other seeds. Raises
    `DataError` where predictions and labels do not fit.
    """
    return _interval(
        lambda weight: _mean_score(metric, predictions, labels, weight),
        strata(metric, labels),
        groups,
        rng,
        n,
    )


def paired_difference(
    metric: Metric,
    a: Sequence[Probabilities],
    b: Sequence[Probabilities],
    labels: Labels,
    groups: NDArray[np.int64] | NDArray[np.str_],
    rng: np.random.Generator,
    n: int = 2000,
) -> Interval:
    """`bootstrap` of the mean over matched seeds of score(a) − score(b), both on the same draws."""
    if len(a) != len(b):
        raise DataError(f"a paired difference needs as many seeds on both sides, not {len(a)} and {len(b)}")

    def difference(weight: Weights) -> Scores:
        return _mean_score(metric, a, labels, weight) - _mean_score(metric, b, labels, weight)

    return _interval(difference, strata(metric, labels), groups, rng, n)


def strata(metric: Metric, labels: NDArray[Any]) -> Labels:
    """(window,) of what every draw must hold each: the classes, or one for all where windows have none."""
    return labels if metric.classes else np.zeros(len(labels), np.int64)


def _mean_score(
    metric: Metric, predictions: Sequence[Probabilities], labels: Labels, weight: Weights
) -> Scores:
    if not predictions:
        raise DataError("there are no predictions to score")
    for probability in predictions:
        metric.fit(probability, labels)
    return np.mean([metric.weighted(probability, labels, weight) for probability in predictions], axis=0)


def _interval(
    score: Callable[[Weights], Scores],
    labels: Labels,
    groups: NDArray[np.int64] | NDArray[np.str_],
    rng: np.random.Generator,
    n: int,
) -> Interval:
    if len(groups) != len(labels):
        raise DataError(f"{len(groups)} groups do not fit {len(labels)} labels")
    names, member = np.unique(groups, return_inverse=True)
    over = "group" if len(names) > 1 else "window"
    if over == "window":
        member = np.arange(len(labels))
    point = float(score(np.ones((1, len(labels))))[0])
    units = int(member.max()) + 1
    if units < 2:
        raise DataError("an interval needs two windows or more")
    drawn = np.concatenate([score(weight) for weight in _draws(labels, member, units, rng, n)])
    drawn = drawn[np.isfinite(drawn)]  # parts of windows may leave a draw without a class
    if not len(drawn):
        return Interval(point, np.nan, np.nan, over, units)
    tail = norm.cdf(np.sqrt(units / (units - 1)) * t.ppf(0.025, units - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(point, float(low), float(high), over, units)


def _draws(
    labels: Labels, member: NDArray[np.int64], units: int, rng: np.random.Generator, n: int
) -> Iterator[Weights]:
    """Batches of weights, `n` draws in all, each with every class that the labels hold."""
    one_hot = (labels[:, None] == np.unique(labels)).astype(float)
    batch, wanted, tried = max(1, LARGEST // len(labels)), n, 0
    while wanted:
        counts = rng.multinomial(units, np.full(units, 1 / units), size=min(batch, n))
        weight = counts[:, member].astype(float)
        weight = weight[(weight @ one_hot > 0).all(axis=1)][:wanted]
        wanted, tried = wanted - len(weight), tried + len(counts)
        if tried > 1000 * n:
            raise DataError(f"{units} groups are too few to draw from: hardly a draw holds every class")
        if len(weight):
            yield weight
