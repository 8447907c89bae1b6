"""Scores against scikit-learn's, and what an interval promises."""

import numpy as np
import pytest
from scipy.stats import poisson
from sklearn import metrics as reference

from brainfm.errors import DataError
from brainfm.metrics import METRICS, OF_RATES, OF_SEGMENTS, OF_VALUES, bootstrap, by_part, paired_difference


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


def _numbers(seed: int = 0, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Two outputs of different size in three parts of each window, told with noise."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n, 3, 2)) * [1.0, 50.0] + [0.0, 300.0]
    return true + rng.standard_normal(true.shape) * [0.5, 40.0], true


def test_scores_of_numbers_are_scikit_learns() -> None:
    said, true = _numbers()
    flat = said.reshape(-1, 2), true.reshape(-1, 2)
    assert OF_VALUES["r2"](said, true) == pytest.approx(reference.r2_score(flat[1], flat[0]), abs=1e-12)
    expected = np.mean([np.corrcoef(flat[0][:, k], flat[1][:, k])[0, 1] for k in range(2)])
    assert OF_VALUES["pearson_r"](said, true) == pytest.approx(expected, abs=1e-12)


def test_the_mean_scores_nothing_and_less_is_below() -> None:
    _, true = _numbers()
    mean = np.broadcast_to(true.mean(axis=(0, 1)), true.shape)
    assert OF_VALUES["r2"](mean, true) == pytest.approx(0.0, abs=1e-12)
    assert OF_VALUES["pearson_r"](mean, true) == 0.0
    assert OF_VALUES["r2"](-true, true) < -1 and OF_VALUES["pearson_r"](-true, true) == pytest.approx(-1)


def _counts(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal([-0.5, 0.5, -2.5], 0.8, (150, 4, 3)))
    return rate, rng.poisson(rate).astype(float)


def test_bits_a_spike_are_those_of_the_definition() -> None:
    """Pei et al. 2021, equation 2, term by term, with scipy's Poisson distribution."""
    rate, count = _counts()
    null = np.broadcast_to(count.mean(axis=(0, 1)), count.shape)
    gained = poisson.logpmf(count, rate).sum() - poisson.logpmf(count, null).sum()
    assert OF_RATES["co_bps"](rate, count) == pytest.approx(gained / count.sum() / np.log(2), abs=1e-10)
    assert OF_RATES["co_bps"](rate, count) > 0.1
    assert OF_RATES["co_bps"](null, count) == pytest.approx(0.0, abs=1e-10)
    assert OF_RATES["co_bps"](rate[::-1], count) < 0


@pytest.mark.parametrize("name", sorted(OF_RATES))
def test_a_weight_is_a_repetition_of_numbers_too(name: str) -> None:
    said, true = _counts()
    weight = np.random.default_rng(1).integers(0, 3, len(true))
    repeated = np.repeat(np.arange(len(true)), weight)
    [weighted] = OF_RATES[name].weighted(said, true, weight[None].astype(float))
    assert weighted == pytest.approx(OF_RATES[name](said[repeated], true[repeated]), abs=1e-10)


def test_numbers_have_an_interval() -> None:
    said, true = _numbers()
    rng = np.random.default_rng(0)
    found = bootstrap(OF_VALUES["r2"], [said], true, np.arange(len(true)) % 6, rng, n=300)
    assert found.low < found.score < found.high < 1
    gained = paired_difference(
        OF_VALUES["r2"], [said], [true * 0], true, np.arange(len(true)) % 6, rng, n=300
    )
    assert gained.low > 0


def test_an_output_that_does_not_vary_is_scikit_learns_too() -> None:
    """In all windows, in one subject's, or in a draw of them: no score, interval or test is ruined by it."""
    said, true = _numbers()
    still = true.copy()
    still[..., 0] = 0.25
    flat = [values.reshape(-1, values.shape[-1]) for values in (still, said)]
    assert OF_VALUES["r2"](said, still) == pytest.approx(reference.r2_score(*flat), abs=1e-9)
    exact = said.copy()
    exact[..., 0] = 0.25
    assert OF_VALUES["r2"](exact, still) == pytest.approx(
        reference.r2_score(flat[0], exact.reshape(flat[1].shape))
    )
    groups = np.arange(len(true)) % 3
    part = true.copy()
    part[groups == 2, :, 0] = 0.25
    found = bootstrap(OF_VALUES["r2"], [said], part, groups, np.random.default_rng(0), n=300)
    assert -3 < found.low <= found.score <= found.high <= 1


def test_draws_without_a_class_in_any_part_are_no_scores() -> None:
    label = np.repeat(np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]), 3, axis=0)
    said = np.random.default_rng(0).random((9, 4, 2))
    metric = by_part(METRICS["auroc"])
    found = bootstrap(metric, [said], label, np.repeat([0, 1, 2], 3), np.random.default_rng(0), n=200)
    assert found.low <= found.score <= found.high
    nothing = bootstrap(metric, [said], label * 0, np.repeat([0, 1, 2], 3), np.random.default_rng(0), n=20)
    assert np.isnan([nothing.score, nothing.low, nothing.high]).all()


def test_classes_of_parts_are_scored_where_they_have_a_label() -> None:
    probability, label = _predictions(3)
    parts, labels = probability.reshape(100, 3, 3), label.reshape(100, 3).copy()
    labels[::4, 1] = -1
    known = labels.reshape(-1) >= 0
    for name, metric in METRICS.items():
        expected = metric(probability[known], label[known])
        assert by_part(metric)(parts, labels) == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (np.zeros((5, 2, 1)), "do not fit targets"),
        (np.full((4, 2, 1), np.nan), "the prediction for window 0 is not a finite number"),
        (np.full((4, 2, 1), -1.0), "an expected count of -1 is not possible"),
    ],
)
def test_impossible_numbers_are_refused(said: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        OF_RATES["co_bps"](said, np.ones((4, 2, 1)))


def test_the_right_segment_is_among_the_nearest() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(60, 1, 8)) * 5 + 100
    said = true + rng.normal(size=true.shape) * 8
    standard = [(one - true.mean(axis=0))[:, 0] / true.std(axis=0)[0] for one in (said, true)]
    near = reference.pairwise.cosine_similarity(*standard)
    for name, k in (("top_1", 1), ("top_10", 10)):
        expected = reference.top_k_accuracy_score(np.arange(60), near, k=k, labels=np.arange(60))
        assert OF_SEGMENTS[name](said, true) == pytest.approx(expected, abs=1e-12)
        assert 0.1 < expected < 1.0
        same = np.broadcast_to(true[:1], true.shape)
        assert OF_SEGMENTS[name](same, true) == pytest.approx(k / 60, abs=0.02)
        assert OF_SEGMENTS[name](0 * said + true.mean(axis=0), true) == pytest.approx(k / 60)
        assert OF_SEGMENTS[name].chance(8, true) == k / 60
