"""Robustness: a probe that was fitted to whole recordings, asked about worse ones."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from brainfm.baselines import Baseline
from brainfm.data.leaks import Fold
from brainfm.data.recording import Recording
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import Panel, cached_features, probe_fold, twin
from brainfm.pooling import ANY_ROWS, Pool
from brainfm.probes import Protocol
from brainfm.scores import Aside, Row

MISSING = (0.1, 0.3, 0.5)
NOISE = (10.0, 0.0)
"""Signal to noise in decibels, of every sensor."""
FEWEST = 4
"""Sensors below which none is taken away and a montage is not halved."""
ROW_BY_ROW = ("sensor", "all")
"""Pools whose features are those of one row of tokens after another's."""
Features = NDArray[np.float32]
Change = Callable[[Recording], Recording]


@dataclass(frozen=True)
class Condition:
    """What is done to the recordings that are tested, and, for another montage, to those that train."""

    name: str
    tested: Change
    trained: Change | None = None
    share: float = 1.0
    """Of the window, from its start, that is left."""


def aside(
    panel: Panel, protocol: Protocol, pool: Pool, baselines: Sequence[tuple[str, Baseline]] = ()
) -> Aside:
    """A row of ours, of the untrained twin and of each of these classical decoders for every condition that applies."""
    names = ("frozen", "untrained") if next(iter(panel.chosen.values())).has_twin else ("frozen",)
    rows: list[Row] = []
    refused: list[str] = []
    for condition in conditions(panel, pool):
        asked: dict[str, Callable[[], Probabilities]] = {
            **{name: partial(predictions, panel, name, condition, protocol, pool) for name in names},
            **{
                f"classical:{name}": partial(classical, panel.evaluation, part, condition)
                for name, part in baselines
            },
        }
        for name, told in asked.items():
            try:
                rows.append(panel.evaluation.row(f"{name}:{condition.name}", [told()]))
            except DataError:  # one that takes no other sensors than those it was made for
                refused.append(f"{name}:{condition.name}")
    words = (
        "Probes fitted to recordings as they are, tested on worse ones. A missing sensor is taken out, and what it would "
        "have told is set to its mean in training. Half of the sensors: fitted on every second one, tested on the same or "
        "on the others, pooled by their mean."
    )
    words += (
        " A classical decoder is fitted anew to the sensors or the half of the window that are left; noise it meets unprepared."
        if baselines
        else ""
    )
    words += f" Refused: {', '.join(refused)}." if refused else ""
    return Aside("Worse recordings", rows, panel.evaluation.metric, panel.evaluation.chance().score, words)


def conditions(panel: Panel, pool: Pool) -> Iterator[Condition]:
    """Those that the recordings and the tokenizer allow."""
    evaluation = panel.evaluation
    model = next(iter(panel.chosen.values()))
    modality, seed = evaluation.modality, evaluation.seed
    signals = [recording.signal(modality) for recording in evaluation.recordings]
    fewest = min(len(signal.sensors) for signal in signals)
    yield Condition("as they are", lambda recording: recording)
    for share in MISSING if fewest >= FEWEST else ():
        less = partial(missing, modality=modality, share=share, seed=seed)
        yield Condition(f"{100 * share:.0f} % of sensors missing", less)
    for ratio in NOISE if not any(isinstance(signal.data, SpikeTimes) for signal in signals) else ():
        louder = partial(noisy, modality=modality, ratio=ratio, seed=seed)
        yield Condition(f"noise at {ratio:.0f} dB", louder)
    own = isinstance(model, BrainFM)
    patches = evaluation.windows.seconds / 2 / model.signals[modality].tokenizer.seconds if own else 0.0
    if pool in (*ANY_ROWS, "sensor") and patches >= 1 and abs(patches - round(patches)) < 1e-6:
        yield Condition("half the window", lambda recording: recording, share=0.5)
    if fewest >= FEWEST:
        even, odd = (partial(every_second, modality=modality, first=first) for first in (0, 1))
        yield Condition("half of the sensors, the same", even, even)
        yield Condition("half of the sensors, the others", odd, even)


def missing(recording: Recording, modality: str, share: float, seed: int) -> Recording:
    """Without this share of its sensors, drawn at random, the same for all recordings of so many."""
    n = len(recording.signal(modality).sensors)
    gone = np.random.default_rng([seed, 11]).permutation(n)[: round(share * n)]
    return some(recording, modality, [row for row in range(n) if row not in gone], f"missing {share} {seed}")


def every_second(recording: Recording, modality: str, first: int) -> Recording:
    """Every second sensor from `first` on."""
    rows = range(first, len(recording.signal(modality).sensors), 2)
    return some(recording, modality, list(rows), f"every second from {first}")


def some(recording: Recording, modality: str, rows: Sequence[int], what: str) -> Recording:
    """These sensors alone."""
    signal = recording.signal(modality)
    table = signal.sensors.take(rows)
    data = signal.data.take(rows) if isinstance(signal.data, SpikeTimes) else signal.load()[list(rows)]
    return changed(recording.with_signal(modality, replace(signal, data=data, sensors=table)), what)


def noisy(recording: Recording, modality: str, ratio: float, seed: int) -> Recording:
    """With white noise on every sensor, so many decibels below the signal."""
    signal = recording.signal(modality)
    data = signal.load()
    rng = np.random.default_rng([seed, 12, *recording.content_hash.encode()[:8]])
    size = data.std(axis=1, keepdims=True) * 10 ** (-ratio / 20)
    noise = rng.standard_normal(data.shape) * size
    return changed(
        recording.with_signal(modality, replace(signal, data=data + noise)), f"noise {ratio} {seed}"
    )


def changed(recording: Recording, what: str) -> Recording:
    """Under a content hash of its own, since kept features go by it."""
    return replace(
        recording, content_hash=hashlib.sha256(f"{recording.content_hash} {what}".encode()).hexdigest()
    )


def predictions(
    panel: Panel, name: str, condition: Condition, protocol: Protocol, pool: Pool
) -> Probabilities:
    """Of every tested window under a condition, by ours or its untrained twin, of the first seed."""
    evaluation = panel.evaluation
    seed = next(iter(panel.models))
    how: Pool = pool if condition.trained is None else "mean"
    worse = under(evaluation, condition.tested, condition.share)
    usual = evaluation if condition.trained is None else under(evaluation, condition.trained)

    def predict(number: int, fold: Fold) -> Probabilities:
        chosen = panel.chosen[seed, number]
        model = chosen if name == "frozen" else twin(chosen, seed)
        fitted = cached_features(model, usual, how)
        asked = aligned(model, worse, usual, fitted, fold, how)
        return probe_fold(evaluation, fitted, fold, protocol, tested=asked)

    return evaluation.out_of_fold(predict)


def classical(evaluation: Evaluation, part: Baseline, condition: Condition) -> Probabilities:
    """Of every tested window under a condition, by a decoder that was fitted to the same sensors and as long a window.

    Raises `DataError` where it would be tested on sensors that it was not fitted to.
    """
    if condition.trained not in (None, condition.tested):
        raise DataError(f"{part.kind} can't be tested on other sensors than it was fitted to")
    worse = under(evaluation, condition.tested, condition.share)
    before, after = (
        [recording.signal(evaluation.modality).sensors.name for recording in one.recordings]
        for one in (evaluation, worse)
    )
    fitted = worse if condition.share < 1 or before != after else evaluation
    return fitted.baseline_on(part, worse.recordings)


def under(evaluation: Evaluation, change: Change, share: float = 1.0) -> Evaluation:
    """The same windows of changed recordings."""
    recordings = [change(recording) for recording in evaluation.recordings]
    windows = replace(evaluation.windows, seconds=share * evaluation.windows.seconds)
    return replace(evaluation, recordings=recordings, windows=windows)


def aligned(
    model: BrainFM, worse: Evaluation, usual: Evaluation, fitted: Features, fold: Fold, pool: Pool
) -> Features:
    """(window, feature) of the worse recordings in the columns of the usual ones: rows of tokens that are gone say the mean
    of the training windows."""
    values = cached_features(model, worse, pool)
    if pool not in ROW_BY_ROW:
        return values
    index = int(usual.windows.recording[fold.test[0]])
    modality = usual.modality
    before, after = (
        model.rows(model.prepare([one.recordings[index]], modality)[0], modality) for one in (usual, worse)
    )
    if before == after:
        return values
    out = np.tile(fitted[fold.train].mean(axis=0), (len(values), 1)).reshape(len(values), len(before), -1)
    out[:, [before.index(name) for name in after]] = values.reshape(len(values), len(after), -1)
    return out.reshape(len(values), -1).astype(np.float32)
