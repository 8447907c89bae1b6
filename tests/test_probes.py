"""Probes: the ridge probe beside scikit-learn's, its penalty chosen on inner folds alone, and nothing found in noise."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

from brainfm.attentive import AttentiveProbe
from brainfm.baselines import inner_folds
from brainfm.probes import PENALTIES, TEMPERATURE, Neighbours, RidgeProbe, classifier
from brainfm.stepwise import Stepwise

Features = NDArray[np.float32]
Labels = NDArray[np.int64]


def data(
    rng: np.random.Generator,
    n: int = 240,
    width: int = 12,
    share: tuple[float, ...] = (0.5, 0.5),
    apart: float = 1.0,
) -> tuple[Features, Labels]:
    """Normal features; the classes, of these shares, differ along one direction each."""
    label = rng.choice(len(share), size=n, p=share)
    means = apart * np.eye(width)[: len(share)]
    return (rng.normal(size=(n, width)) + means[label]).astype(np.float32), label.astype(np.int64)


def groups_of(n: int, count: int = 6) -> Labels:
    return (np.arange(n) * count // n).astype(np.int64)


def by_sklearn(features: Features, label: Labels, penalty: float, test: Features) -> NDArray[np.float64]:
    """Class-balanced ridge on one-hot targets; the penalty a multiple of the mean eigenvalue of the weighted kernel."""
    weight = compute_sample_weight("balanced", label)
    mean = np.average(features, axis=0, weights=weight)
    std = features.std(axis=0)
    rows = ((features - mean) / std).astype(np.float64)
    kernel = np.sqrt(weight)[:, None] * rows
    scale = np.square(kernel).sum() / len(rows)
    one_hot = (label[:, None] == np.unique(label)).astype(float)
    model = Ridge(alpha=penalty * scale, fit_intercept=True).fit(rows, one_hot, sample_weight=weight)
    return np.asarray(model.predict((test - mean) / std))


@pytest.mark.parametrize("share", [(0.5, 0.5), (0.85, 0.15), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize(("n", "width"), [(240, 12), (60, 200)])
def test_the_ridge_probe_is_scikit_learns(share: tuple[float, ...], n: int, width: int) -> None:
    rng = np.random.default_rng(0)
    (features, label), (test, _) = data(rng, n, width, share), data(rng, 50, width, share)
    probe = RidgeProbe(inner_folds(label, groups_of(n))).fit(features, label)
    expected = by_sklearn(features, label, probe.penalty, test)
    np.testing.assert_allclose(probe.decision_function(test), expected, atol=1e-4)


def test_the_penalty_is_chosen_on_inner_folds_alone() -> None:
    """The grid is gone through again with scikit-learn, fitting on the fitting side of every fold only."""
    rng = np.random.default_rng(1)
    features, label = data(rng, 90, 60, (0.6, 0.4))
    folds = inner_folds(label, groups_of(90))
    assert len(folds) > 2
    scores = np.zeros(len(PENALTIES))
    for fit, held in folds:
        for index, penalty in enumerate(PENALTIES):
            told = by_sklearn(features[fit], label[fit], penalty, features[held]).argmax(axis=1)
            scores[index] += balanced_accuracy_score(label[held], told)
    best = PENALTIES[np.flatnonzero(scores >= scores.max() - 1e-9)[-1]]
    probe = RidgeProbe(folds).fit(features, label)
    assert probe.penalty == best
    assert PENALTIES[0] < best  # with 60 features and 90 windows the weakest penalty overfits


def test_among_equals_the_larger_penalty_wins() -> None:
    """Far apart, every penalty decodes all held-out windows."""
    features, label = data(np.random.default_rng(2), 120, 4, apart=20.0)
    assert RidgeProbe(inner_folds(label, groups_of(120))).fit(features, label).penalty == PENALTIES[-1]


def test_without_folds_the_penalty_is_the_middle_one() -> None:
    features, label = data(np.random.default_rng(0), 20)
    assert RidgeProbe([]).fit(features, label).penalty == PENALTIES[len(PENALTIES) // 2]


@pytest.mark.parametrize("protocol", ["ridge", "logistic", "knn"])
def test_scale_and_offset_of_a_feature_do_not_matter(protocol: str) -> None:
    rng = np.random.default_rng(3)
    (features, label), (test, _) = data(rng), data(rng, 60)
    factor = (10.0 ** rng.uniform(-2, 2, features.shape[1])).astype(np.float32)
    offset = rng.normal(size=features.shape[1]).astype(np.float32) * factor
    plain, scaled = (classifier(protocol, label, groups_of(240)) for _ in range(2))  # type: ignore[arg-type]
    plain.fit(features, label)
    scaled.fit(features * factor + offset, label)
    np.testing.assert_allclose(
        scaled.predict_proba(test * factor + offset), plain.predict_proba(test), atol=2e-3
    )


def test_a_constant_feature_says_nothing() -> None:
    rng = np.random.default_rng(4)
    (features, label), (test, _) = data(rng), data(rng, 60)
    folds = inner_folds(label, groups_of(240))
    plain = RidgeProbe(folds).fit(features, label).decision_function(test)
    more = np.hstack([features, np.full((240, 1), 3.0, np.float32)])
    odd = np.hstack([test, np.full((60, 1), 300.0, np.float32)])
    np.testing.assert_allclose(RidgeProbe(folds).fit(more, label).decision_function(odd), plain, atol=1e-4)


@pytest.mark.parametrize("share", [(0.5, 0.5), (0.9, 0.1)])
@pytest.mark.parametrize("protocol", ["ridge", "logistic", "knn"])
def test_rare_classes_count_as_much_as_common_ones(protocol: str, share: tuple[float, ...]) -> None:
    """One direction tells the classes apart by 2.5 standard deviations: 0.89 at best, from either side alike."""
    rng = np.random.default_rng(5)
    (features, label), (test, truth) = data(rng, 400, 4, share, 1.77), data(rng, 4000, 4, share, 1.77)
    probe = classifier(protocol, label, groups_of(400)).fit(features, label)  # type: ignore[arg-type]
    told = probe.predict_proba(test).argmax(axis=1)
    recalls = [float((told[truth == name] == name).mean()) for name in (0, 1)]
    assert np.mean(recalls) > 0.85
    assert abs(recalls[0] - recalls[1]) < 0.12


@pytest.mark.parametrize("protocol", ["ridge", "logistic", "knn"])
def test_noise_is_decoded_at_chance(protocol: str) -> None:
    rng = np.random.default_rng(6)
    scores = []
    for _ in range(5):
        (features, label), (test, truth) = data(rng, 80, 20, apart=0.0), data(rng, 2000, 20, apart=0.0)
        probe = classifier(protocol, label, groups_of(80)).fit(features, label)  # type: ignore[arg-type]
        scores.append(balanced_accuracy_score(truth, probe.predict_proba(test).argmax(axis=1)))
    assert np.mean(scores) == pytest.approx(0.5, abs=0.025)


@pytest.mark.parametrize("protocol", ["ridge", "logistic", "knn"])
def test_probabilities_are_ordered_as_the_values_and_sum_to_one(protocol: str) -> None:
    rng = np.random.default_rng(7)
    features, label = data(rng, share=(0.4, 0.3, 0.3), apart=3.0)
    probe = classifier(protocol, label, groups_of(240)).fit(features, label)  # type: ignore[arg-type]
    probability = probe.predict_proba(features)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-5)
    assert probe.classes_.tolist() == [0, 1, 2]
    assert balanced_accuracy_score(label, probability.argmax(axis=1)) > 0.8


def test_twice_is_bit_identical() -> None:
    features, label = data(np.random.default_rng(8))
    folds = inner_folds(label, groups_of(240))
    once, again = (RidgeProbe(folds).fit(features, label).decision_function(features) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_neighbours_vote_as_scikit_learns_do() -> None:
    """With an even prior and votes that weigh the same, what is left is scikit-learn's own classifier by cosine."""
    features, label = data(np.random.default_rng(9), 90, 6, apart=2.0)
    probe = Neighbours(5).fit(features, label)
    distance, row = probe.near_.kneighbors(features[:20])
    weight = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / TEMPERATURE)
    share = np.bincount(label) / len(label)
    votes = np.stack([(weight * (label[row] == k)).sum(axis=1) / share[k] / 2 for k in (0, 1)], axis=1) + 0.25
    np.testing.assert_allclose(
        probe.predict_proba(features[:20]), votes / votes.sum(axis=1, keepdims=True), rtol=1e-6
    )


def tokens(rng: np.random.Generator, label: Labels, count: int = 30, width: int = 6) -> Features:
    """Noise, in which one token alone tells the class, each time another: only who looks for it can hear it."""
    out = rng.normal(size=(len(label), count, width)).astype(np.float32)
    where = rng.integers(count - 2, size=len(label))
    rows = np.arange(len(label))
    out[rows, where, 0] = 5.0  # the token that matters
    out[rows, where, 1] = 3.0 * (2 * label - 1)
    out[: len(label) // 2, -2:] = np.nan  # padding
    return out


def test_attention_finds_the_token_that_tells_where_the_mean_does_not() -> None:
    rng = np.random.default_rng(10)
    label, truth = (rng.integers(2, size=n).astype(np.int64) for n in (160, 400))
    fitted, unseen = tokens(rng, label), tokens(rng, truth)
    probe = classifier("attentive", label, groups_of(160)).fit(fitted, label)
    attentive = balanced_accuracy_score(truth, probe.predict_proba(unseen).argmax(axis=1))
    mean = classifier("ridge", label, groups_of(160)).fit(np.nanmean(fitted, axis=1), label)
    pooled = balanced_accuracy_score(truth, mean.predict_proba(np.nanmean(unseen, axis=1)).argmax(axis=1))
    assert attentive > 0.9 > 0.8 > pooled, (attentive, pooled)


def test_attention_ignores_padding_and_draws_from_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brainfm.stepwise.MOST", 30)
    rng = np.random.default_rng(11)
    label = rng.integers(2, size=60).astype(np.int64)
    seen = tokens(rng, label)
    probe, again, other = (
        classifier("attentive", label, groups_of(60), seed).fit(seen, label) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(probe.predict_proba(seen), again.predict_proba(seen))
    assert not np.array_equal(probe.predict_proba(seen), other.predict_proba(seen))
    longer = np.concatenate([seen, np.full_like(seen[:, :3], np.nan)], axis=1)
    np.testing.assert_allclose(probe.predict_proba(longer), probe.predict_proba(seen), atol=1e-6)
    every = AttentiveProbe.check_every
    assert probe.steps in range(every, 30 + 1, every)


class Scripted(Stepwise[list[int]]):
    """A probe whose held-out losses are written down: of the inner fold that holds out window n, row n."""

    check_every = 50
    losses = ((9.0, 5.0, 2.0, 1.0), (9.0, 1.0, 3.0, 4.0), (1.0, 5.0, 2.0, 9.0), (0.0, 99.0, 99.0, 99.0))

    def _scale(self, features: np.ndarray) -> None:
        self.scaled = features[:, 0].tolist()

    def _ready(self, features: np.ndarray) -> list[int]:
        return features[:, 0].astype(int).tolist()

    def _learn(self, ready: list[int], true: np.ndarray, steps: int) -> Iterator[int]:
        self.learnt = ready
        for self.taken in range(1, steps + 1):
            yield self.taken

    def _loss(self, ready: list[int], true: np.ndarray) -> torch.Tensor:
        assert ready == true.tolist()
        assert set(ready).isdisjoint(self.learnt)
        assert self.scaled == self.learnt, "scaled by what it learns from"
        return torch.tensor(self.losses[ready[0]][self.taken // self.check_every - 1])


def test_as_many_steps_are_taken_as_tell_held_out_windows_best() -> None:
    """On the mean of the first three inner folds, whose single bests are others; then on all windows."""
    window = np.arange(4)
    folds = [(np.delete(window, one), window[[one]]) for one in window]
    probe = Scripted(folds).fit(window[:, None].astype(np.float32), window)
    assert probe.steps == probe.taken == 150
    assert probe.learnt == probe.scaled == [0, 1, 2, 3]
    assert Scripted([]).fit(window[:, None].astype(np.float32), window).steps == 100


@pytest.mark.parametrize("protocol", ["ridge", "logistic", "knn", "attentive"])
def test_an_outlier_in_the_test_fold_changes_nothing_that_is_fitted(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale, choices and weights come from the training rows: other test windows get the same answers to the bit."""
    monkeypatch.setattr("brainfm.stepwise.MOST", 30)
    rng = np.random.default_rng(12)
    label = rng.integers(2, size=80).astype(np.int64)
    features = tokens(rng, label) if protocol == "attentive" else data(rng, 80)[0]
    train, test = np.arange(60), np.arange(60, 80)
    planted = features.copy()
    planted[-1] = 1e6
    answers = []
    for values in (features, planted):
        probe = classifier(protocol, label[train], groups_of(60))  # type: ignore[arg-type]
        answers.append(probe.fit(values[train], label[train]).predict_proba(values[test])[:-1])
    np.testing.assert_array_equal(*answers)
