"""Identity: how well the same features tell who it is, and what they are worth once that is erased."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from brainfm.data.leaks import datasets, near, persons, subject_sessions
from brainfm.erasure import Eraser
from brainfm.evaluation import Evaluation
from brainfm.metrics import METRICS, Probabilities
from brainfm.panel import Panel, cached_features, probe_fold, twin
from brainfm.pooling import Pool
from brainfm.probes import Protocol, RidgeProbe
from brainfm.scores import Aside, Row

BLOCKS = 4
"""Of each recording, in time: each is told from the others."""
SHUFFLES = 20
"""Of who is who, for the null."""
Numbers = NDArray[np.int64]
Features = NDArray[np.float32]


def asides(panel: Panel, protocol: Protocol, pool: Pool) -> dict[str, Aside]:
    """Subject (else session) and dataset told from the features of training windows, and the score without the subject."""
    evaluation = panel.evaluation
    model = next(iter(panel.chosen.values()))
    networks = {"frozen": model}
    if model.has_twin:
        networks["untrained"] = twin(model, next(iter(panel.models)))
    features = {name: cached_features(one, evaluation, pool) for name, one in networks.items()}
    rows = evaluation.folds[0].train
    out: dict[str, Aside] = {}
    for word, of in (("subject", persons), ("session", subject_sessions), ("dataset", datasets)):
        who = np.unique(of(evaluation.windows, evaluation.recordings)[rows], return_inverse=True)[1]
        if len(set(who.tolist())) > 1 and not (word == "session" and "identity_subject" in out):
            out[f"identity_{word}"] = told(evaluation, features, rows, who.astype(np.int64), word)
    people = concept(evaluation)
    if people is not None and all(len(np.unique(people[fold.train])) > 1 for fold in evaluation.folds):
        out["erased"] = without(panel, protocol, pool, people)
    return out


def concept(evaluation: Evaluation) -> Numbers | None:
    """(window,) whose each is; None where all are one person's."""
    who = np.unique(persons(evaluation.windows, evaluation.recordings), return_inverse=True)[1]
    return who.astype(np.int64) if who.max() > 0 else None


def told(
    evaluation: Evaluation, features: dict[str, Features], rows: Numbers, who: Numbers, word: str
) -> Aside:
    """Balanced accuracy of telling `who` (row,) in blocks of time that were not fitted, and of shuffled names."""
    folds = blocks(evaluation, rows, who)
    if not folds:
        words = "The recordings are too short to tell it in one part and ask in another."
        return Aside(f"Which {word} is it?", [], "balanced_accuracy", 1 / (int(who.max()) + 1), words)
    tested = np.sort(np.concatenate([test for _, test in folds]))
    score = METRICS["balanced_accuracy"]

    def ask(values: Features, names: Numbers, erase: bool = False) -> float:
        out: Probabilities = np.zeros((len(rows), int(who.max()) + 1))
        for train, test in folds:
            change: Callable[[Features], Features] = (
                Eraser.fit(values[train], names[train]) if erase else (lambda same: same)
            )
            probe = RidgeProbe([]).fit(change(values[train]), names[train])
            out[np.ix_(test, probe.classes_)] = probe.predict_proba(change(values[test]))
        return score(out[tested], who[tested])

    rng = np.random.default_rng([evaluation.seed, 13])
    mine = features["frozen"][rows]
    null = [ask(mine, rng.permutation(who)) for _ in range(SHUFFLES)]
    found = [Row(name, ask(values[rows], who), n_test=len(tested)) for name, values in features.items()]
    low, high = np.quantile(null, [0.025, 0.975])
    erased = Row("frozen:erased", ask(mine, who, erase=True), n_test=len(tested))
    p = (1 + sum(one >= found[0].score for one in null)) / (1 + SHUFFLES)
    words = (
        f"Of {int(who.max()) + 1} in the training fold, told from features by ridge, parts of every recording held out; "
        f"shuffled names are the null ({SHUFFLES} shuffles, p = {p:.2f}). Erased: after LEACE took it from the features."
    )
    shuffled = Row("shuffled", float(np.mean(null)), float(low), float(high), len(tested), SHUFFLES)
    return Aside(
        f"Which {word} is it?",
        [shuffled, *found[::-1], erased],
        "balanced_accuracy",
        1 / (int(who.max()) + 1),
        words,
    )


def blocks(evaluation: Evaluation, rows: Numbers, who: Numbers) -> list[tuple[Numbers, Numbers]]:
    """Places in `rows` to fit on and to ask: a quarter of each recording in time is asked, what touches it is left out."""
    windows = evaluation.windows
    part = np.zeros(len(rows), np.int64)
    for recording in np.unique(windows.recording[rows]):
        mine = np.flatnonzero(windows.recording[rows] == recording)
        order = mine[np.argsort(windows.start[rows[mine]], kind="stable")]
        part[order] = np.arange(len(order)) * BLOCKS // max(len(order), 1)
    out = []
    for block in range(BLOCKS):
        test = np.flatnonzero(part == block)
        rest = np.flatnonzero(part != block)
        train = rest[~near(windows, rows[rest], rows[test], windows.seconds)]
        if len(test) and set(who[train].tolist()) == set(who.tolist()):
            out.append((train, test))
    return out


def without(panel: Panel, protocol: Protocol, pool: Pool, who: Numbers) -> Aside:
    """The task's score with the subject erased by what was fitted to the training people, beside the score as it is."""
    evaluation = panel.evaluation
    label = evaluation.windows.label
    rows = []
    for name in ("untrained", "frozen") if next(iter(panel.chosen.values())).has_twin else ("frozen",):
        for erase in (False, True):
            several = []
            for seed in panel.models:

                def predict(
                    number: int, fold: object, seed: int = seed, name: str = name, erase: bool = erase
                ) -> Probabilities:
                    model = panel.chosen[seed, number]
                    features = cached_features(
                        model if name == "frozen" else twin(model, seed), evaluation, pool
                    )
                    train = evaluation.folds[number].train
                    if erase:
                        features = Eraser.fit(features[train], who[train])(features)
                    return probe_fold(evaluation, features, evaluation.folds[number], protocol, label)

                several.append(evaluation.out_of_fold(predict))
            rows.append(evaluation.row(f"{name}:subject erased" if erase else name, several))
    words = "LEACE, fitted in the training fold, takes away all that tells its people linearly; the probe is fitted again."
    return Aside("With the subject erased", rows, evaluation.metric, evaluation.chance().score, words)
