"""An evaluation of what else than one label is told of windows: numbers, expected counts, a label for every part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.baselines import inner_folds
from brainfm.data.cards import DataCard
from brainfm.data.leaks import (
    Fold,
    Split,
    check_fold,
    near,
    persons,
    runs,
    stimuli,
    subject_sessions,
    subjects,
)
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording
from brainfm.data.splits import BLOCKS, bouts, chunks, split
from brainfm.data.targets import Target, Targets
from brainfm.data.windows import Cut, Windows, take, without
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.metrics import METRICS, OF_RATES, OF_SEGMENTS, OF_VALUES, Metric, Probabilities, by_part
from brainfm.probes import RidgeProbe
from brainfm.regressors import Regressor
from brainfm.ridge import Ridge
from brainfm.sequence_probe import SequenceProbe
from brainfm.sequence_scores import OF_SEQUENCES
from brainfm.sounds import Sound

FLOOR = 0.05
"""Of a neuron's mean count in training: a linear probe can tell less than nothing, and is then taken to mean this."""
SCORES = {
    "values": OF_VALUES,
    "rates": OF_RATES,
    "classes": METRICS,
    "segments": OF_SEGMENTS,
    "sequences": OF_SEQUENCES,
}
USUAL = {
    "values": "r2",
    "rates": "co_bps",
    "classes": "balanced_accuracy",
    "segments": "top_10",
    "sequences": "symbol_accuracy",
}


@dataclass(frozen=True)
class Targeted(Evaluation):
    """The same rows, folds and draws; predictions are (window, part, output).

    `label` of the windows is the row of `targets`, so that whoever permutes labels permutes targets.
    """

    targets: Targets = field(kw_only=True)
    regressors: Sequence[tuple[str, Regressor]] = field(default=(), kw_only=True)

    @classmethod
    def of_target(
        cls,
        card: DataCard,
        target: Target,
        parts: int,
        split_name: Split | None = None,
        window: Cut | None = None,
        metric: str | None = None,
        regressors: Sequence[Regressor] = (),
        folds: int | None = None,
        gap: float | None = None,
        limit: int | None = None,
        seed: int = 0,
        tracks: Mapping[str, Sound] | None = None,
    ) -> "Targeted":
        """Lay out a target on a card's recordings; what is not given is as the card's own task has it.

        `tracks` are made, by name, of what the recordings hold before anything is told. Raises `DataError` where it can't be.
        """
        if card.task is None and (window is None or split_name is None):
            raise DataError(f"{card.name} has no `task` section; say in the recipe how to cut and split")
        name = split_name or card.task.split  # type: ignore[union-attr] # one of the two is there
        whole = card.recordings(limit=limit)
        for track, sound in (tracks or {}).items():
            whole = sound.on(whole, track)
        recordings = target.seen(whole, card.modality)
        windows = (window or card.task.window)(recordings, card.modality, [])  # type: ignore[union-attr]
        if not len(windows):
            raise DataError(f"{card.name}: no recording is as long as a window of {windows.seconds:g} s")
        told = target(whole, windows, card.modality, parts)
        windows, told = without(windows, told.known, "nothing known to tell"), told.rows(told.known)
        if not len(windows):
            raise DataError(f"{card.name}: what is to be told is known in no window")
        made = folds_of(name, windows, recordings, folds, gap)
        windows = replace(windows, label=np.arange(len(windows)))
        named = [(part.kind, part) for part in regressors]
        chosen = metric or USUAL[told.of]
        evaluation = cls(card, recordings, windows, name, made, chosen, seed, targets=told, regressors=named)
        _ = evaluation._metric  # a score that is none of these targets is refused now, not after hours
        return evaluation

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs, or the labels."""
        return self.targets.names

    @property
    def parts(self) -> int:
        """Of each window."""
        return self.targets.parts

    @property
    def classes(self) -> int:
        return len(self.names)

    def out_of_fold(self, predict: Any) -> Probabilities:
        out = np.full((len(self.windows), self.parts, self.classes), np.nan)
        for number, fold in enumerate(self.folds):
            out[fold.test] = predict(number, fold).reshape(len(fold.test), self.parts, -1)
        return out[self.tested]

    def inner(self, fold: Fold) -> NDArray[np.int64]:
        """Stimuli where these are held out, else subjects, sessions or runs as far as there are two, else contiguous blocks."""
        inside = self.windows.rows(fold.train)
        for of in (stimuli,) if self.split == "CrossStimulus" else (subjects, subject_sessions, runs):
            unit = np.unique(of(inside, self.recordings), return_inverse=True)[1].astype(np.int64)
            if unit.max() > 0:
                return unit
        order = np.lexsort((inside.start, inside.recording))
        blocks = np.empty(len(order), np.int64)
        for number, rows in enumerate(np.array_split(order, BLOCKS)):
            blocks[rows] = number
        return blocks

    def shuffled(self, fold: Fold, rng: np.random.Generator) -> NDArray[np.int64]:
        """(window,) rows of the targets, those of the training windows permuted within each recording."""
        rows = self.windows.label.copy()
        owner = self.windows.recording[fold.train]
        for one in np.unique(owner):
            mine = fold.train[owner == one]
            rows[mine] = rng.permutation(rows[mine])
        return rows

    def per_group(self, predictions: Mapping[str, Sequence[Probabilities]]) -> dict[str, dict[str, float]]:
        """Each row's score on each held-out subject."""
        owner = self.windows.recording[self.tested]
        who = np.array([self.recordings[index].subject or "all" for index in owner])
        out = {
            one: {
                name: float(
                    np.mean([self._metric(said[who == one], self._labels[who == one]) for said in several])
                )
                for name, several in predictions.items()
            }
            for one in sorted(set(who))
        }
        return out if len(out) > 1 else {}

    def probe(
        self, features: NDArray[np.float32], fold: Fold, rows: NDArray[np.int64] | None = None
    ) -> Probabilities:
        """Ridge on the features of the training windows, predictions for the test windows, (window, part, output).

        Features are (window, feature), with several parts those of one part after those of the other. `rows` (window,) stand in
        for the rows of the targets in training.
        """
        of = fold.train if rows is None else rows[fold.train]
        if self.targets.of == "sequences":
            return self._sequences(features, fold, of)
        apart = features.reshape(len(features) * self.parts, -1)
        train, test = (self._every_part(one) for one in (fold.train, fold.test))
        groups = np.repeat(self.inner(fold), self.parts)
        true = self.targets.value[of]
        if self.targets.of == "classes":
            label = true.reshape(-1)
            known = label >= 0
            classifier = RidgeProbe(inner_folds(label[known], groups[known]))
            classifier.fit(apart[train[known]], label[known])
            out = np.zeros((len(test), self.classes))
            out[:, classifier.classes_] = classifier.predict_proba(apart[test])
        else:
            flat = true.reshape(len(train), -1).astype(np.float64)
            out = self._possible(Ridge().fit(apart[train], flat, groups).predict(apart[test]), flat)
        return out.reshape(len(fold.test), self.parts, -1)

    def _sequences(self, features: NDArray[np.float32], fold: Fold, of: NDArray[np.int64]) -> Probabilities:
        """CTC on the features of every moment, which ridge has no answer for."""
        moments = features.reshape(len(features), self.parts, -1)
        groups = self.inner(fold)
        probe = SequenceProbe(inner_folds(np.zeros(len(groups), np.int64), groups), self.classes)
        return probe.fit(moments[fold.train], self.targets.value[of]).predict_proba(moments[fold.test])

    def baseline(self, part: Any) -> Probabilities:
        """Out-of-fold predictions of a classical regressor, each part of a window by its own signal alone."""
        if self.targets.of == "sequences":
            raise DataError("a regression tells numbers, and sequences are labels; leave regressors away")
        prepared = prepare(self.recordings, part.steps(), self.modality)
        first = prepared[0].signal(self.modality)

        def cut(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            signal = take(prepared, self.windows, rows, self.modality).astype(np.float64)
            if signal.shape[2] % self.parts:
                raise DataError(f"{signal.shape[2]} samples can't be divided into {self.parts} equal parts")
            apart = signal.reshape(*signal.shape[:2], self.parts, -1).transpose(0, 2, 1, 3)
            return apart.reshape(-1, *apart.shape[2:])

        def predict(_: int, fold: Fold) -> Probabilities:
            true = self.targets.value[fold.train].reshape(len(fold.train) * self.parts, -1).astype(np.float64)
            groups = np.repeat(self.inner(fold), self.parts)
            fitted = part.build(first.sfreq).fit(cut(fold.train), true, groups)
            return self._possible(fitted.predict(cut(fold.test)), true)

        def each(number: int, fold: Fold) -> Probabilities:
            out: Probabilities | None = None
            for own, tested in self._of_each(fold):
                said = predict(number, own)
                out = np.full((len(fold.test), *said.shape[1:]), np.nan) if out is None else out
                out[tested] = said
            assert out is not None  # a fold tests somebody
            return out

        return self.out_of_fold(each if part.by_subject else predict)

    def _of_each(self, fold: Fold) -> Iterator[tuple[Fold, NDArray[np.bool_]]]:
        """The fold of each person whom it tests, and which of its test windows are theirs. Raises `DataError` for one whom it
        does not train on."""
        who = persons(self.windows, self.recordings)
        for one in sorted(set(who[fold.test])):
            train, tested = fold.train[who[fold.train] == one], who[fold.test] == one
            if not len(train):
                raise DataError(
                    f"{one} has no training window, and the regression is each person's own; set apart: false"
                )
            yield Fold(train, fold.test[tested], fold.held_out), tested

    def _possible(self, said: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected counts are never negative."""
        return np.maximum(said, FLOOR * true.mean(axis=0) + 1e-6) if self.targets.of == "rates" else said

    def _every_part(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return (rows[:, None] * self.parts + np.arange(self.parts)).reshape(-1)

    @property
    def _metric(self) -> Metric:
        known = SCORES[self.targets.of]
        if self.metric not in known:
            raise DataError(f"{self.metric} is no score of {self.targets.of}; take one of {', '.join(known)}")
        return by_part(known[self.metric]) if self.targets.of == "classes" else known[self.metric]

    @cached_property
    def _labels(self) -> NDArray[Any]:
        return self.targets.value[self.tested]


def folds_of(
    name: Split, windows: Windows, recordings: Sequence[Recording], folds: int | None, gap: float | None
) -> list[Fold]:
    """The folds of a split of windows without classes: as `splits.split`, and where a session has fewer stretches than two for
    each fold, blocks of time with a gap."""
    number = folds or BLOCKS
    several = len(set(runs(windows, recordings))) > 1
    if name != "WithinSession" or several or len(bouts(windows, recordings)) >= 2 * number:
        return split(name, windows, recordings, folds, gap)
    order = np.lexsort((windows.start, windows.recording)).astype(np.int64)
    gap = max(1.0, windows.seconds) if gap is None else gap
    made = []
    for place, part in enumerate(chunks(order.tolist(), number)):
        test = np.array(sorted(part), np.int64)
        rest = np.setdiff1d(order, test)
        train = rest[~near(windows, rest, test, gap)]
        made.append(Fold(train, test, f"the recording, block {place + 1} of {number}"))
        check_fold(name, made[-1], windows, recordings)
    return made
