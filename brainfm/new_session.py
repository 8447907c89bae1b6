"""A new session without labels: what aligning it with the training sessions gives, and where it harms.

Every method sees the signal of all windows of the tested session, and no label of it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.baselines.tangent_space import TangentSpace
from brainfm.data.leaks import Fold
from brainfm.data.recording import Recording
from brainfm.data.selection import FIELDS
from brainfm.data.windows import take
from brainfm.evaluation import Evaluation
from brainfm.metrics import METRICS, Probabilities
from brainfm.panel import Panel, cached_features, probe_fold
from brainfm.pooling import Pool
from brainfm.probes import Protocol, classifier
from brainfm.scores import Aside

STEPS, RATE = 20, 1e-2
"""Of entropy minimisation: few, since it can only lead away from what was fitted."""
Features = NDArray[np.float32]
Numbers = NDArray[np.int64]


STARTS = {
    "frozen:session statistics": "frozen",
    "frozen:entropy": "frozen:logistic, session statistics",
    "frozen:Euclidean alignment": "frozen",
    "classical:tangent_space recentred": "classical:tangent_space",
}
"""What each method starts from."""


def aside(panel: Panel, protocol: Protocol, pool: Pool) -> Aside | None:
    """A row for each method that applies, beside what it starts from; None where a session is on both sides of the folds."""
    evaluation = panel.evaluation
    domains = evaluation.domains
    if any(set(domains[fold.train]) & set(domains[fold.test]) for fold in evaluation.folds):
        return None
    found = methods(panel, protocol, pool)
    rows = [evaluation.row(name, [predictions]) for name, predictions in found.items()]
    words = [
        gain(evaluation, name, found[start], found[name]) for name, start in STARTS.items() if name in found
    ]
    head = "Methods see the signal of the tested session and none of its labels; entropy starts from the logistic probe."
    return Aside(
        "A new session without labels",
        rows,
        evaluation.metric,
        evaluation.chance().score,
        " ".join([head, *words]),
    )


def methods(panel: Panel, protocol: Protocol, pool: Pool) -> dict[str, Probabilities]:
    """Out-of-fold predictions by method, of the first seed's models."""
    evaluation, domains = panel.evaluation, panel.evaluation.domains
    seed = next(iter(panel.models))

    def of(of_evaluation: Evaluation, change: Callable[[Features], Features], how: Protocol) -> Probabilities:
        def predict(number: int, fold: Fold) -> Probabilities:
            values = change(cached_features(panel.chosen[seed, number], of_evaluation, pool))
            return probe_fold(evaluation, values, fold, how)

        return evaluation.out_of_fold(predict)

    def entropy(number: int, fold: Fold) -> Probabilities:
        values = by_session(cached_features(panel.chosen[seed, number], evaluation, pool), domains)
        return tent(evaluation, values, fold, domains)

    out = {
        "frozen": of(evaluation, lambda same: same, protocol),
        "frozen:session statistics": of(evaluation, lambda values: by_session(values, domains), protocol),
        "frozen:logistic, session statistics": of(
            evaluation, lambda values: by_session(values, domains), "logistic"
        ),
        "frozen:entropy": evaluation.out_of_fold(entropy),
    }
    several = len(evaluation.recordings[0].signal(evaluation.modality).sensors) > 1
    if evaluation.modality in FIELDS and evaluation.comparable and several:
        out["frozen:Euclidean alignment"] = of(euclidean(evaluation), lambda same: same, protocol)
        out["classical:tangent_space"] = evaluation.baseline(TangentSpace())
        out["classical:tangent_space recentred"] = evaluation.baseline(TangentSpace(recentre="domain"))
    return out


def gain(evaluation: Evaluation, name: str, plain: Probabilities, adapted: Probabilities) -> str:
    """In how many sessions a method does better and worse than what it starts from."""
    metric, label = METRICS[evaluation.metric], evaluation.windows.label[evaluation.tested]
    owner = evaluation.domains[evaluation.tested]
    gaps = [
        metric(adapted[rows], label[rows]) - metric(plain[rows], label[rows])
        for rows in (owner == one for one in np.unique(owner))
        if len(set(label[rows].tolist())) == evaluation.classes
    ]
    better, worse = sum(one > 1e-9 for one in gaps), sum(one < -1e-9 for one in gaps)
    lowest = f", {min(gaps):+.2f} at worst".replace("-", "−") if worse else ""
    return f"{name.partition(':')[2] or name}: better in {better} of {len(gaps)} sessions, worse in {worse}{lowest}."


def by_session(features: Features, domains: Numbers) -> Features:
    """Each session's features at mean 0 and variance 1: batch statistics (Li et al. 2016, "Revisiting batch normalization for
    practical domain adaptation"), for a probe."""
    out = np.empty_like(features)
    for one in np.unique(domains):
        rows = domains == one
        std = features[rows].std(axis=0)
        out[rows] = (features[rows] - features[rows].mean(axis=0)) / np.where(std > 0, std, 1)
    return out


def euclidean(evaluation: Evaluation) -> Evaluation:
    """Every session's sensors whitened by its own mean covariance (He & Wu 2020, "Transfer learning for brain-computer
    interfaces: a Euclidean space data alignment approach", equations 10 and 11), and brought back to its own size."""
    domains = evaluation.domains
    recordings = list(evaluation.recordings)
    for one in np.unique(domains):
        rows = np.flatnonzero(domains == one)
        change = whitening(take(recordings, evaluation.windows, rows, evaluation.modality).astype(np.float64))
        for index in np.unique(evaluation.windows.recording[rows]):
            recordings[index] = turned(evaluation.recordings[index], evaluation.modality, change)
    return replace(evaluation, recordings=recordings)


def whitening(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(sensor, sensor) R^(−1/2) of windows (window, sensor, time), times the root of R's mean eigenvalue."""
    centred = signal - signal.mean(axis=2, keepdims=True)
    covariance = np.einsum("wst,wut->su", centred, centred) / (len(signal) * signal.shape[2])
    value, vector = np.linalg.eigh(covariance)
    value = np.maximum(value, 1e-6 * value.max())  # an average reference leaves one direction empty
    whitened: NDArray[np.float64] = (vector * np.sqrt(value.mean() / value)) @ vector.T
    return whitened


def turned(recording: Recording, modality: str, change: NDArray[np.float64]) -> Recording:
    """The recording with its sensors mixed so, under a content hash of its own."""
    signal = recording.signal(modality)
    mixed = recording.with_signal(modality, replace(signal, data=change @ signal.load()))
    return replace(
        mixed,
        content_hash=hashlib.sha256(recording.content_hash.encode() + change.tobytes()).hexdigest(),
    )


def tent(evaluation: Evaluation, features: Features, fold: Fold, domains: Numbers) -> Probabilities:
    """A logistic probe whose features are scaled and shifted, session by session, until it is surer of its own answers.

    Entropy minimisation over an affine map of normalised features (Wang et al. 2021, "Tent: fully test-time adaptation by
    entropy minimization", section 3). It can make a wrong answer sure.
    """
    label = evaluation.windows.label[fold.train]
    fitted = classifier("logistic", label, evaluation.inner(fold)).fit(features[fold.train], label)
    scaler, linear = fitted.model[0], fitted.model[-1]
    weight, bias = linear.coef_, linear.intercept_
    if len(weight) == 1:  # two classes have one row in scikit-learn
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    out = np.zeros((len(fold.test), evaluation.classes))
    for one in np.unique(domains[fold.test]):
        rows = np.flatnonzero(domains[fold.test] == one)
        values = scaler.transform(features[fold.test[rows]])
        out[np.ix_(rows, fitted.classes_)] = surer(values, weight, bias)
    return out


def surer(
    features: Features, weight: NDArray[np.float64], bias: NDArray[np.float64], steps: int = STEPS
) -> NDArray[np.float64]:
    """(window, class) after `steps` of minimising the mean entropy of these windows' answers."""
    values, weights, offset = (
        torch.from_numpy(np.asarray(one, np.float64)) for one in (features, weight, bias)
    )
    scale, shift = torch.ones(values.shape[1]).double(), torch.zeros(values.shape[1]).double()
    parameters: Sequence[torch.Tensor] = [scale.requires_grad_(), shift.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, RATE)
    for _ in range(steps):
        logits = (values * scale + shift) @ weights.T + offset
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        entropy.backward()
        optimiser.step()
    with torch.no_grad():
        answer: NDArray[np.float64] = ((values * scale + shift) @ weights.T + offset).softmax(1).numpy()
    return answer
