"""One task laid out once for every row of its table: the same windows, the same folds, the same bootstrap draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.baselines import Baseline
from brainfm.data.cards import DataCard, overlaps_with
from brainfm.data.leaks import Fold, Split, datasets, persons
from brainfm.data.modalities import owner
from brainfm.data.preprocess import Step, prepare
from brainfm.data.recording import Recording
from brainfm.data.splits import groups, in_words, inner_groups, split
from brainfm.data.windows import Cut, Windows, layouts, require_classes, take
from brainfm.errors import DataError
from brainfm.metrics import METRICS, Metric, Probabilities, bootstrap, paired_difference
from brainfm.scores import Difference, Row

Predict = Callable[[int, Fold], Probabilities]
"""From the number and the rows of a fold to (test window, class), having seen labels of the training rows alone."""

DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Evaluation:
    """The labelled windows of a card, who is held out, and how a row of predictions is scored."""

    card: DataCard
    recordings: Sequence[Recording]
    windows: Windows
    split: Split
    folds: Sequence[Fold]
    metric: str
    seed: int = 0

    @classmethod
    def of(
        cls,
        card: DataCard,
        split_name: Split | None = None,
        window: Cut | None = None,
        labels: Sequence[str] | None = None,
        metric: str | None = None,
        limit: int | None = None,
        seed: int = 0,
        train_on: Sequence[DataCard] = (),
    ) -> "Evaluation":
        """Lay out a card's own task, or another split, window, labels or metric. Raises `DataError` where it can't be.

        With `train_on` the split is CrossDataset: windows of those cards train, cut and labelled as this card's task says.
        """
        if card.task is None:
            raise DataError(
                f"{card.name} has no `task` section; say there which labels to decode and how to cut windows"
            )
        name = asked(card, split_name, train_on)
        recordings = card.recordings(limit=limit)
        others = [one for other in train_on for one in other.recordings(limit=limit)]
        if others:
            recordings = alike([*recordings, *others], card.modality)
        windows = (window or card.task.window)(recordings, card.modality, labels or card.task.labels)
        require_classes(windows)
        for other in train_on:
            require_labels(other.name, windows, recordings)
        own = name == card.task.split
        folds = split(
            name, windows, recordings, card.task.folds if own else None, card.task.gap if own else None
        )
        if train_on:
            folds = [
                fold for fold in folds if recordings[windows.recording[fold.test[0]]].dataset == card.name
            ]
        made = cls(card, recordings, windows, name, folds, metric or card.task.metric, seed)
        _ = made._metric  # a score that is none of labels is refused now, not after hours
        return made

    @property
    def modality(self) -> str:
        return self.card.modality

    @property
    def classes(self) -> int:
        return len(self.windows.labels)

    @cached_property
    def tested(self) -> NDArray[np.int64]:
        """Rows that some fold holds out, sorted."""
        return np.unique(np.concatenate([fold.test for fold in self.folds]))

    @cached_property
    def domains(self) -> NDArray[np.int64]:
        """(window,) one number per subject and session: what a recentring may use without labels."""
        place = [
            f"{recording.dataset}/{recording.subject}/{recording.session}" for recording in self.recordings
        ]
        return np.unique(np.array(place)[self.windows.recording], return_inverse=True)[1].astype(np.int64)

    @property
    def unit(self) -> str:
        """What the bootstrap draws, in words."""
        drawn, word = self._drawn
        return f"{len(np.unique(drawn))} held-out {word}s"

    def units(self, among: NDArray[np.bool_]) -> tuple[int, int]:
        """How many of the units that the bootstrap draws these of the tested windows have, and how many there are."""
        drawn = self._drawn[0]
        return len(np.unique(drawn[among])), len(np.unique(drawn))

    def units_words(self, among: NDArray[np.bool_]) -> str:
        """The same for a table of these windows alone."""
        some, every = self.units(among)
        words = f"{some} of {every} held-out {self._drawn[1]}s"
        return f"{words}, which makes no interval" if alone(some, every) else f"intervals are over {words}"

    @property
    def words(self) -> str:
        """The split in one sentence, of the subjects that its folds test."""
        return in_words(self.split, self.folds, self.windows, self.recordings)

    def out_of_fold(self, predict: Predict) -> Probabilities:
        """(tested window, class): every tested window predicted by what was fitted without its fold."""
        out = np.full((len(self.windows), self.classes), np.nan)
        for number, fold in enumerate(self.folds):
            out[fold.test] = predict(number, fold)
        return out[self.tested]

    def inner(self, fold: Fold) -> NDArray[np.int64]:
        """A group for each training row, to choose a regularisation inside the training fold.

        One group where a class has a single window: nothing can be chosen then, and probes take the middle of their grid.
        """
        if np.bincount(self.windows.label[fold.train], minlength=self.classes).min() < 2:
            return np.zeros(len(fold.train), np.int64)
        return inner_groups(self.split, self.windows, self.recordings, fold.train)

    def shuffled(self, fold: Fold, rng: np.random.Generator) -> NDArray[np.int64]:
        """(window,) labels, those of the training rows permuted within each subject.

        Over all of them where that changes nothing, since every subject is of one class.
        """
        label = self.windows.label.copy()
        who = persons(self.windows, self.recordings)[fold.train]
        groups = [fold.train[who == one] for one in np.unique(who)]
        if all(len(np.unique(label[rows])) == 1 for rows in groups):
            groups = [fold.train]
        for rows in groups:
            label[rows] = rng.permutation(label[rows])
        return label

    def row(
        self, name: str, predictions: Sequence[Probabilities], among: NDArray[np.bool_] | None = None
    ) -> Row:
        """The metric's mean over seeds with its interval over who was held out; of some of the tested windows if so asked.

        Windows of one subject of several have no interval: there is nobody to draw instead, and drawing windows would say
        something else.
        """
        kept = np.ones(len(self.tested), bool) if among is None else among
        some, labels = [one[kept] for one in predictions], self._labels[kept]
        count, drawn = int(kept.sum()), self._drawn[0][kept]
        if alone(*self.units(kept)):
            score = float(np.mean([self._metric(one, labels) for one in some]))
            return Row(name, score, n_test=count, seeds=len(predictions))
        interval = bootstrap(self._metric, some, labels, drawn, self._rng, n=DRAWS)
        return Row(name, interval.score, interval.low, interval.high, count, len(predictions))

    def difference(
        self, of: str, a: Sequence[Probabilities], minus: str, b: Sequence[Probabilities]
    ) -> Difference:
        """Row `of` less row `minus`, seed by seed, on the same draws; where one has fewer, each is paired with each."""
        pairs = math.lcm(len(a), len(b))
        a_, b_ = (list(one) * (pairs // len(one)) for one in (a, b))
        found = paired_difference(self._metric, a_, b_, self._labels, self._drawn[0], self._rng, n=DRAWS)
        seeds = min(len(a), len(b))
        return Difference(of, minus, found.score, found.low, found.high, len(self.tested), seeds)

    def chance(self, among: NDArray[np.bool_] | None = None) -> Row:
        """What a decoder that has seen no signal can reach; on some of the tested windows if so asked."""
        labels = self._labels if among is None else self._labels[among]
        return Row("chance", self._metric.chance(self.classes, labels), n_test=len(labels))

    def per_group(self, predictions: Mapping[str, Sequence[Probabilities]]) -> dict[str, dict[str, float]]:
        """Each row's score on each held-out subject (or session) that has every class."""
        owner = self.windows.recording[self.tested]
        subjects = np.array([self.recordings[index].subject or "all" for index in owner])
        out: dict[str, dict[str, float]] = {}
        for subject in sorted(set(subjects)):
            rows = subjects == subject
            if len(set(self._labels[rows])) == self.classes:
                out[subject] = {
                    name: float(np.mean([self._metric(one[rows], self._labels[rows]) for one in several]))
                    for name, several in predictions.items()
                }
        return out if len(out) > 1 else {}

    def baseline(self, part: Baseline) -> Probabilities:
        """Out-of-fold predictions of a classical decoder, on recordings prepared its own way.

        The recordings of one fold must share their sensors; those of two need not (see `comparable`).
        """
        return self.baseline_on(part, self.recordings)

    def baseline_on(self, part: Baseline, worse: Sequence[Recording]) -> Probabilities:
        """The same, tested on these in the place of the recordings that it was fitted to."""
        prepared = prepare(self.recordings, part.steps(), self.modality)
        asked = prepared if worse is self.recordings else prepare(worse, part.steps(), self.modality)
        label, recordings = self.windows.label, [*prepared, *asked]

        def cut(fold: Fold) -> NDArray[np.float64]:
            where = self.windows.recording.copy()
            where[fold.test] += len(prepared)
            rows = np.concatenate([fold.train, fold.test])  # at once, so that other sensors are refused
            return take(recordings, replace(self.windows, recording=where), rows, self.modality).astype(
                np.float64
            )

        def predict(_: int, fold: Fold) -> Probabilities:
            both = cut(fold)
            train, test = both[: len(fold.train)], both[len(fold.train) :]
            sfreq = prepared[int(self.windows.recording[fold.test[0]])].signal(self.modality).sfreq
            decoder: Any = part.build(sfreq, train.shape[1], self.classes)
            decoder.fit(train, label[fold.train], self.domains[fold.train], self.inner(fold))
            return decoder.predict_proba(test, self.domains[fold.test])

        return self.out_of_fold(predict)

    @property
    def comparable(self) -> bool:
        """Whether the recordings of every fold share sensors and rate, as a classical decoder needs: where people have contacts
        or voxels of their own, they do if each is tested on the rest of their own session."""
        used = [
            np.unique(self.windows.recording[np.concatenate([fold.train, fold.test])]) for fold in self.folds
        ]
        return all(len(layouts([self.recordings[row] for row in rows], self.modality)) == 1 for rows in used)

    @property
    def _metric(self) -> Metric:
        if self.metric not in METRICS:
            raise DataError(f"{self.metric} is no score of labels; take one of {', '.join(METRICS)}")
        return METRICS[self.metric]

    @property
    def _labels(self) -> NDArray[np.int64]:
        return self.windows.label[self.tested]

    @property
    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 3])

    @cached_property
    def _drawn(self) -> tuple[NDArray[np.int64], str]:
        return groups(self.split, self.windows.rows(self.tested), self.recordings)


def alone(some: int, every: int) -> bool:
    """Whether so many units are a single one of several, which a bootstrap has nothing to draw against."""
    return some == 1 < every


def asked(card: DataCard, name: Split | None, train_on: Sequence[DataCard]) -> Split:
    """The split that is meant. Raises `DataError` where cards to train on and the split contradict each other, or the sets
    are known to share people."""
    assert card.task is not None  # the caller has looked
    if not train_on:
        if (name or card.task.split) == "CrossDataset":
            raise DataError("CrossDataset trains on other cards; name them with --train-on CARD")
        return name or card.task.split
    if name not in (None, "CrossDataset"):
        raise DataError(f"--train-on trains on other cards, which is CrossDataset and not {name}")
    names = [other.name for other in train_on]
    if card.name in names or len(set(names)) < len(names):
        raise DataError(
            f"{card.name} can't be tested by what was trained on itself, nor a card be given twice"
        )
    for other in train_on:
        if other.modality != card.modality:
            raise DataError(f"{other.name} is of {other.modality}, but {card.name} of {card.modality}")
    for overlap in overlaps_with(card, names):
        if overlap.other in names:
            raise DataError(
                f"{card.name} shares {overlap.what} with {overlap.other} ({overlap.why}); train on another set"
            )
    return "CrossDataset"


def require_labels(dataset: str, windows: Windows, recordings: Sequence[Recording]) -> None:
    """Raise `DataError` unless this dataset has windows of every label."""
    found = set(windows.label[datasets(windows, recordings) == dataset].tolist())
    for index, label in enumerate(windows.labels):
        if index not in found:
            raise DataError(
                f"{dataset}: no window is labelled {label!r}; a set to train on has the labels of the set that is tested"
            )


def alike(recordings: Sequence[Recording], modality: str) -> list[Recording]:
    """Recordings of several datasets with the sensors that all share, if any, and the lowest of their rates.

    Untouched where they are alike, or where sensors are a person's own.
    """
    from brainfm.data.preprocess.pick import Pick
    from brainfm.data.preprocess.resample import Resample

    signals = [recording.signal(modality) for recording in recordings]
    if len(layouts(recordings, modality)) == 1 or any(owner(one, modality) for one in recordings):
        return list(recordings)
    first, *rest = [signal.sensors.name for signal in signals]
    common = [name for name in first if all(name in other for other in rest)]
    steps: list[Step] = [Pick(names=common)] if common else []
    return prepare(recordings, [*steps, Resample(sfreq=min(signal.sfreq for signal in signals))], modality)
