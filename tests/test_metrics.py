"""Scores against scikit-learn's, and what an interval promises."""

import numpy as np
import pytest
from sklearn import metrics as reference

from brainfm.errors import DataError
from brainfm.metrics import METRICS, bootstrap, paired_difference


def _predictions(n_classes: int, seed: int = 0, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
    evidence = rng.standard_normal((n, n_classes)) + np.eye(n_classes)[label]
    probability = np.exp(evidence) / np.exp(evidence).sum(axis=1, keepdims=True)
    return probability, label


def _by_scikit_learn(name: str, probability: np.ndarray, label: np.ndarray) -> float:
    said = probability.argmax(axis=1)
    if name == "auroc":
        score = probability[:, 1] if probability.shape[1] == 2 else probability
        return reference.roc_auc_score(label, score, multi_class="ovr")
    return {
        "balanced_accuracy": lambda: reference.balanced_accuracy_score(label, said),
        "kappa": lambda: reference.cohen_kappa_score(label, said),
        "accuracy": lambda: reference.accuracy_score(label, said),
        "weighted_f1": lambda: reference.f1_score(label, said, average="weighted"),
    }[name]()


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", sorted(METRICS))
def test_scores_are_scikit_learns(name: str, n_classes: int) -> None:
    probability, label = _predictions(n_classes)
    expected = _by_scikit_learn(name, probability, label)
    assert METRICS[name](probability, label) == pytest.approx(expected, abs=1e-12)


def test_tied_probabilities_count_half() -> None:
    probability, label = _predictions(2)
    coarse = np.round(probability, 1)
    expected = reference.roc_auc_score(label, coarse[:, 1])
    assert METRICS["auroc"](coarse, label) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_weight_is_a_repetition(name: str) -> None:
    probability, label = _predictions(3)
    weight = np.random.default_rng(1).integers(0, 3, len(label))
    repeated = np.repeat(np.arange(len(label)), weight)
    [weighted] = METRICS[name].weighted(probability, label, weight[None].astype(float))
    assert weighted == pytest.approx(METRICS[name](probability[repeated], label[repeated]), abs=1e-12)


def test_chance_is_what_a_constant_answer_scores() -> None:
    _, label = _predictions(4)
    constant = np.eye(4)[np.full(len(label), np.bincount(label).argmax())]
    for name, metric in METRICS.items():
        assert metric.chance(4, label) == pytest.approx(metric(constant, label)), name


def test_few_subjects_are_covered_about_as_often_as_promised() -> None:
    """Subjects differ: an interval over windows would cover far less than one over subjects."""
    covered = {"group": 0, "window": 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        subject = np.repeat(np.arange(6), 40)
        right = rng.random(240) < np.clip(rng.normal(0.7, 0.1, 6), 0, 1)[subject]
        label = np.tile([0, 1], 120)
        said = np.eye(2)[np.where(right, label, 1 - label)]
        for over, groups in (("group", subject), ("window", np.zeros(240, int))):
            interval = bootstrap(METRICS["accuracy"], [said], label, groups, rng, n=400)
            assert interval.over == over
            covered[over] += interval.low <= 0.7 <= interval.high
    # The plain percentile interval covers about 0.89 here: six subjects are few.
    assert 0.91 <= covered["group"] / 150 <= 0.99
    assert covered["window"] < covered["group"]


def test_the_score_is_the_mean_over_seeds() -> None:
    (first, label), (second, _) = _predictions(3), _predictions(3, seed=0)
    second = second[:, ::-1]
    metric = METRICS["balanced_accuracy"]
    interval = bootstrap(metric, [first, second], label, label * 0, np.random.default_rng(0), n=200)
    assert interval.score == pytest.approx((metric(first, label) + metric(second, label)) / 2)
    assert interval.low < interval.score < interval.high
    assert interval.n == len(label)


def test_the_same_generator_gives_the_same_interval() -> None:
    probability, label = _predictions(3)
    groups = np.arange(len(label)) % 5
    once, again = (
        bootstrap(METRICS["auroc"], [probability], label, groups, np.random.default_rng(3), n=100)
        for _ in "ab"
    )
    assert once == again


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_model_does_not_differ_from_itself(name: str) -> None:
    probability, label = _predictions(3)
    groups = np.arange(len(label)) % 5
    interval = paired_difference(
        METRICS[name], [probability], [probability], label, groups, np.random.default_rng(0), n=100
    )
    assert (interval.score, interval.low, interval.high) == (0, 0, 0)


def test_pairing_sees_a_small_steady_gain() -> None:
    """Subjects vary by far more than the gain; only the same draws on both sides can show it."""
    rng = np.random.default_rng(0)
    subject, label = np.repeat(np.arange(8), 50), np.tile([0, 1], 200)
    right = rng.random(400) < np.linspace(0.5, 0.9, 8)[subject]
    better = right | (np.arange(400) % 10 == 0)
    a, b = (np.eye(2)[np.where(hit, label, 1 - label)] for hit in (better, right))
    metric = METRICS["balanced_accuracy"]
    gain = paired_difference(metric, [a], [b], label, subject, rng)
    alone = bootstrap(metric, [a], label, subject, rng)
    assert gain.low > 0
    assert alone.low < metric(b, label)


def test_draws_that_lack_a_class_are_drawn_anew() -> None:
    label = np.repeat([0, 1, 2], 20)
    probability = np.eye(3)[label]
    interval = bootstrap(METRICS["auroc"], [probability], label, label, np.random.default_rng(0), n=50)
    assert (interval.low, interval.high) == (1, 1)


@pytest.mark.parametrize(
    ("probability", "label", "message"),
    [
        (np.full((4, 2), 0.5), np.zeros(3, int), "do not fit 3 labels"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "window 0 is not a finite"),
        (np.full((3, 2), 0.5), np.array([0, 1, 2]), "outside the 2 classes"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    probability: np.ndarray, label: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        METRICS["accuracy"](probability, label)


def test_unmatched_seeds_are_refused() -> None:
    probability, label = _predictions(2)
    with pytest.raises(DataError, match="as many seeds"):
        paired_difference(
            METRICS["kappa"], [probability], [probability] * 2, label, label, np.random.default_rng(0)
        )
