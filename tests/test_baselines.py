"""Each baseline decodes data made for it, scores at chance where labels are shuffled, and refuses what it
can't serve.
"""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from brainfm.baselines import Baseline, Tuned, inner_folds, logistic
from brainfm.baselines.cca import correlations
from brainfm.baselines.tangent_space import recentred
from brainfm.errors import DataError
from brainfm.part import known

SFREQ, SENSORS, TIMES, WINDOWS = 128.0, 6, 256, 240
SETTINGS: dict[str, dict[str, Any]] = {
    "tangent_space": {},
    "csp_lda": {},
    "band_power": {},
    "cca": {"frequencies": [13.0, 17.0]},
    "erp_covariance": {},
    "spectrogram": {},
    "binned_rates": {},
    "max_correlation": {},
    "voxels": {"select": 1},
    "connectivity": {},
}
SPIKES = ("binned_rates", "max_correlation")
"""Decoders of counts, which are never negative."""


def _baseline(kind: str, **settings: Any) -> Baseline:
    return Baseline.model_validate({"kind": kind, **(settings or SETTINGS[kind])})


def _windows(kind: str, sensors: int = SENSORS, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise of 10 µV in four domains; the second class has more 10 Hz, another flicker, or a bump at 0.5
    s.
    """
    rng = np.random.default_rng(seed)
    label, domain = rng.integers(0, 2, WINDOWS), np.arange(WINDOWS) % 4
    if kind in SPIKES:  # every neuron fires more in one of the classes
        rate = np.array([0.02, 0.06])[(label[:, None] + np.arange(sensors)) % 2]
        return rng.poisson(rate[:, :, None], (WINDOWS, sensors, TIMES)).astype(float), label, domain
    time = np.arange(TIMES) / SFREQ
    signal = rng.standard_normal((WINDOWS, sensors, TIMES))
    pattern = rng.standard_normal(sensors)
    phase = rng.uniform(0, 2 * np.pi, (WINDOWS, 1))
    if kind == "cca":
        source = 0.6 * np.sin(2 * np.pi * np.where(label, 17, 13)[:, None] * time + phase)
    elif kind in ("erp_covariance", "voxels"):
        source = label[:, None] * np.exp(-(((time - 0.5) / 0.1) ** 2))
    else:
        source = label[:, None] * np.sin(2 * np.pi * 10 * time + phase)
    return 1e-5 * (signal + pattern[:, None] * source[:, None]), label, domain


def _score(baseline: Baseline, signal: np.ndarray, label: np.ndarray, domain: np.ndarray) -> float:
    train = domain < 3
    decoder = baseline.build(SFREQ, signal.shape[1], 2).fit(signal[train], label[train], domain[train])
    probability = decoder.predict_proba(signal[~train], domain[~train])
    assert np.allclose(probability.sum(axis=1), 1)
    return balanced_accuracy_score(label[~train], probability.argmax(axis=1))


def test_every_baseline_is_tested() -> None:
    assert set(SETTINGS) == set(known(Baseline))


@pytest.mark.parametrize("kind", SETTINGS)
def test_decodes_what_it_is_made_for(kind: str) -> None:
    assert _score(_baseline(kind), *_windows(kind)) > 0.8


@pytest.mark.parametrize("kind", SETTINGS)
def test_is_at_chance_on_shuffled_labels(kind: str) -> None:
    signal, label, domain = _windows(kind)
    shuffled = [np.random.default_rng(seed).permutation(label) for seed in range(6)]
    mean = np.mean([_score(_baseline(kind), signal, other, domain) for other in shuffled])
    assert 0.4 < mean < 0.6


@pytest.mark.parametrize("kind", SETTINGS)
def test_neither_unit_nor_repetition_changes_an_answer(kind: str) -> None:
    signal, label, domain = _windows(kind)
    volts, microvolts, again = (
        _baseline(kind)
        .build(SFREQ, SENSORS, 2)
        .fit(scale * signal, label, domain)
        .predict_proba(scale * signal, domain)
        for scale in (1.0, 1e6, 1.0)
    )
    assert np.array_equal(volts, again)
    assert np.allclose(volts, microvolts, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(set(SETTINGS) - {"csp_lda", "connectivity", "max_correlation"}))
def test_serves_a_single_sensor(kind: str) -> None:
    assert _score(_baseline(kind), *_windows(kind, sensors=1)) > 0.6


def test_connectivity_refuses_what_has_no_pairs_or_too_many() -> None:
    for sensors in (1, 1001):
        with pytest.raises(DataError, match=f"pairs 2 to 1000 sensors, not {sensors}"):
            _baseline("connectivity").build(SFREQ, sensors, 2)


def test_voxels_choose_by_the_training_windows_alone() -> None:
    """Labels of noise: chosen on all windows, 20 of 2000 voxels would seem to tell them."""
    rng = np.random.default_rng(0)
    signal, label = rng.standard_normal((60, 2000, 2)), np.arange(60) % 2
    score = _score(_baseline("voxels", select=20), signal, label, np.arange(60) // 15)
    best = np.abs(np.corrcoef(signal.mean(axis=2).T, label)[-1, :-1]).argsort()[-20:]
    circular = _score(_baseline("voxels", select=20), signal[:, best], label, np.arange(60) // 15)
    assert score < 0.75 < circular
    with pytest.raises(DataError, match="can't select 20 of 5 sensors"):
        _baseline("voxels", select=20).build(0.5, 5, 2)


@pytest.mark.parametrize("classifier", ["svm", "logistic", "ridge"])
def test_every_classifier_of_voxels_serves_three_classes_of_single_maps(classifier: str) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(90) % 3
    signal = rng.standard_normal((90, 12, 1)) + 2 * np.eye(3)[label].repeat(4, axis=1)[:, :, None]
    domain = np.arange(90) // 30
    decoder = _baseline("voxels", classifier=classifier).build(1.0, 12, 4)
    decoder.fit(signal[domain < 2], label[domain < 2], domain[domain < 2])
    probability = decoder.predict_proba(signal[domain == 2], domain[domain == 2])
    assert probability.shape == (30, 4) and (probability[:, 3] == 0).all()
    assert (probability.argmax(axis=1) == label[domain == 2]).mean() > 0.8


def test_a_correlation_over_one_count_is_refused() -> None:
    with pytest.raises(DataError, match="one neuron in one bin"):
        _baseline("max_correlation").build(SFREQ, 1, 2)
    assert _score(_baseline("max_correlation", bins=4), *_windows("max_correlation", sensors=2)) > 0.6


def test_csp_refuses_a_single_sensor() -> None:
    with pytest.raises(DataError, match="two sensors or more"):
        _baseline("csp_lda").build(SFREQ, 1, 2)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("cca", {"frequencies": [70.0]}),
        ("tangent_space", {"bands": [[10.0, 70.0]]}),
        ("band_power", {"bands": [[60.0, 90.0]]}),
    ],
)
def test_a_frequency_above_nyquist_is_refused(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="Hz"):
        _baseline(kind, **settings).build(SFREQ, SENSORS, 2)


def test_bands_let_the_tangent_space_see_a_frequency() -> None:
    """The flicker's power is equal in both classes: only a covariance per band tells them apart."""
    windows = _windows("cca")
    bands = _baseline("tangent_space", bands=[[12.0, 14.0], [16.0, 18.0]])
    assert _score(bands, *windows) > 0.8 > _score(_baseline("tangent_space"), *windows) + 0.15


def test_recentring_bridges_domains_that_are_mixed_differently() -> None:
    signal, label, domain = _windows("tangent_space")
    rng = np.random.default_rng(1)
    gain = np.exp(1.5 * rng.standard_normal((4, SENSORS)))
    moved = signal * gain[domain][:, :, None]
    recentre = _score(_baseline("tangent_space", recentre="domain"), moved, label, domain)
    assert recentre > 0.8
    assert recentre >= _score(_baseline("tangent_space"), moved, label, domain)


def test_recentred_matrices_have_the_identity_as_their_mean() -> None:
    from pyriemann.tangentspace import TangentSpace

    rng = np.random.default_rng(0)
    factors = rng.standard_normal((40, 3, 6))
    domain = np.arange(40) % 2
    matrices = recentred(factors @ factors.transpose(0, 2, 1), domain)
    for name in (0, 1):
        assert np.allclose(TangentSpace().fit(matrices[domain == name]).reference_, np.eye(3), atol=1e-5)


def test_canonical_correlations_are_scikit_learns() -> None:
    from sklearn.cross_decomposition import CCA

    signal, _, _ = _windows("cca")
    time = np.arange(TIMES) / SFREQ
    waves = np.stack([f(2 * np.pi * 13 * n * time) for n in (1, 2) for f in (np.sin, np.cos)], axis=1)
    left, right = CCA(1, max_iter=5000, tol=1e-12).fit_transform(signal[0].T * 1e5, waves)
    expected = np.corrcoef(left[:, 0], right[:, 0])[0, 1]
    assert correlations(signal[:1], SFREQ, [13.0], 2)[0, 0] == pytest.approx(expected, abs=1e-4)


def test_an_average_reference_changes_no_correlation_by_noise() -> None:
    signal, _, _ = _windows("cca")
    referenced = signal - signal.mean(axis=1, keepdims=True)
    whole, without_last = (correlations(x, SFREQ, [13.0], 2) for x in (referenced, referenced[:, :-1]))
    assert np.allclose(whole, without_last, atol=1e-6)


def test_inner_folds_hold_out_whole_domains() -> None:
    _, label, domain = _windows("csp_lda")
    folds = inner_folds(label, domain)
    assert len(folds) == 4
    for train, test in folds:
        assert not set(domain[train]) & set(domain[test])


def test_inner_folds_of_one_domain_are_blocks_and_of_nothing_are_none() -> None:
    label = np.tile([0, 1], 20)
    for _, test in inner_folds(label, np.zeros(40, int)):
        assert np.ptp(test) == len(test) - 1
    assert inner_folds(np.array([0, 0, 1]), np.zeros(3, int)) == []


def test_the_chosen_strength_is_gridsearchs() -> None:
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 60)
    features = rng.standard_normal((120, 30)) + 0.3 * label[:, None]
    folds = inner_folds(label, np.arange(120) % 5)
    ours = logistic(folds)
    theirs = GridSearchCV(ours.pipeline, {ours.name: ours.values}, cv=folds, scoring="neg_log_loss")
    chosen = ours.fit(features, label).model.get_params()[ours.name]
    assert chosen == theirs.fit(features, label).best_params_[ours.name]


def test_without_folds_the_classifier_stays_as_it_is() -> None:
    fitted = logistic([]).fit(np.eye(3), np.array([0, 1, 1]))
    assert isinstance(fitted, Tuned)
    assert fitted.model.get_params()["logisticregression__C"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda signal, label: (signal, label * 0), "one class only"),
        (
            lambda signal, label: (signal * (np.arange(SENSORS) != 2)[:, None], label),
            "sensor number 2 is flat",
        ),
        (
            lambda signal, label: (np.where(np.arange(SENSORS)[:, None] == 3, np.nan, signal), label),
            "sensor number 3",
        ),
    ],
)
def test_unusable_training_windows_are_refused(change: Any, message: str) -> None:
    signal, label, domain = _windows("csp_lda")
    signal, label = change(signal, label)
    with pytest.raises(DataError, match=message):
        _baseline("csp_lda").build(SFREQ, SENSORS, 2).fit(signal, label, domain)


def test_a_class_that_training_lacks_gets_no_probability() -> None:
    signal, label, domain = _windows("band_power")
    decoder = _baseline("band_power").build(SFREQ, SENSORS, 3).fit(signal, label * 2, domain)
    probability = decoder.predict_proba(signal, domain)
    assert probability.shape == (WINDOWS, 3)
    assert (probability[:, 1] == 0).all()


def test_steps_are_the_band_that_the_part_names() -> None:
    [step] = _baseline("csp_lda").steps()
    assert (step.kind, step.model_dump()["low"], step.model_dump()["high"]) == ("band_pass", 8.0, 30.0)
    assert list(_baseline("csp_lda", low=None, high=None).steps()) == []
