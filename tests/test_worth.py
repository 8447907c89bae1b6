"""What the number is worth: identity told and erased, nuisances found where they were planted, worse recordings told apart."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny

from brainfm import identity, new_session, nuisance, robustness
from brainfm.baselines.band_power import BandPower
from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.jobs.probe import Options, probe
from brainfm.metrics import METRICS
from brainfm.model import BrainFM
from brainfm.panel import Panel, cached_features
from brainfm.scores import Scores

SCORE = METRICS["balanced_accuracy"]


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return tiny.people(folder, subjects=4, seconds=60.0)


@pytest.fixture(scope="module")
def evaluation(card: Path) -> Evaluation:
    return Evaluation.of(DataCard.load(card))


@pytest.fixture(scope="module")
def run(card: Path, folder: Path) -> Path:
    result = tiny.brainfm(
        *tiny.train_words(card, folder / "run", "data.hold_out={people: ['03', '04']}", steps=4)
    )
    assert result.code == 0, result.err
    return folder / "run"


@pytest.fixture(scope="module")
def scores(card: Path, run: Path) -> Scores:
    return probe([run], card, Options(quiet=True, seeds=1, worth=True))


def planted(evaluation: Evaluation, person: float, label: float) -> np.ndarray:
    """Features in which each person has a place and each class a direction."""
    rng = np.random.default_rng(0)
    who = evaluation.windows.recording
    places = rng.normal(size=(4, 10))
    noise = rng.normal(size=(len(who), 10))
    values = noise + person * places[who] + label * np.outer(evaluation.windows.label - 0.5, np.eye(10)[0])
    return values.astype(np.float32)


def rows_of(aside: Any) -> dict[str, float]:
    return {row.name: row.score for row in aside.rows}


def test_who_it_is_is_told_where_it_can_be_and_not_once_erased(evaluation: Evaluation) -> None:
    rows = evaluation.folds[0].train
    who = evaluation.windows.recording[rows] - 1
    features = {"frozen": planted(evaluation, 4.0, 0.0), "untrained": planted(evaluation, 0.0, 0.0)}
    aside = identity.told(evaluation, features, rows, who, "subject")
    found = rows_of(aside)
    null = next(row for row in aside.rows if row.name == "shuffled")
    assert found["frozen"] > 0.95 and "p = 0.05" in aside.sentence
    assert abs(found["shuffled"] - 1 / 3) < 0.12 and null.low < found["untrained"] < null.high + 0.1
    assert found["frozen:erased"] < 0.55 < found["frozen"]


def test_asked_blocks_do_not_touch_fitted_ones(evaluation: Evaluation) -> None:
    rows = evaluation.folds[0].train
    windows = evaluation.windows
    made = identity.blocks(evaluation, rows, windows.recording[rows])
    assert len(made) == identity.BLOCKS
    for train, test in made:
        for recording in np.unique(windows.recording[rows]):
            fit, ask = (
                windows.start[rows[side]][windows.recording[rows[side]] == recording]
                for side in (train, test)
            )
            assert np.abs(fit[:, None] - ask[None]).min() >= 2 * windows.seconds - 1e-9


def test_erasing_identity_takes_away_what_leaned_on_it(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that is told by who it is falls to chance; one that is told within everyone stays."""
    panel: Any = SimpleNamespace(
        evaluation=evaluation,
        models={0: []},
        chosen={(0, number): SimpleNamespace(has_twin=True) for number in range(4)},
    )
    who = identity.concept(evaluation)
    assert who is not None and len(set(who)) == 4
    monkeypatch.setattr(identity, "twin", lambda *_: None)
    monkeypatch.setattr(identity, "cached_features", lambda *_: planted(evaluation, 2.0, 4.0))
    kept = rows_of(identity.without(panel, "ridge", "mean", who))
    assert kept["frozen:subject erased"] > 0.9


def test_a_nuisance_is_found_where_it_was_planted(evaluation: Evaluation) -> None:
    """Mains hum in the windows of one class and nowhere else."""
    recordings: list[Recording] = []
    for index, recording in enumerate(evaluation.recordings):
        signal = recording.signal("eeg")
        data, time = signal.load().copy(), np.arange(signal.n_times) / signal.sfreq
        for row in np.flatnonzero(evaluation.windows.recording == index):
            start = evaluation.windows.start[row]
            inside = (time >= start) & (time < start + evaluation.windows.seconds)
            loud = 3.0 * evaluation.windows.label[row]
            data[:, inside] += loud * data.std() * np.sin(2 * np.pi * 50 * time[inside])
        recordings.append(recording.with_signal("eeg", replace(signal, data=data)))
    clean, hum = (
        rows_of(nuisance.aside(one, "ridge"))
        for one in (evaluation, replace(evaluation, recordings=recordings))
    )
    assert set(clean) == {
        "nuisance:mains hum", "nuisance:overall amplitude", "nuisance:eye band, frontal sensors", "nuisance:muscle band",
    }  # fmt: skip
    assert hum["nuisance:mains hum"] > 0.95 > 0.7 > clean["nuisance:mains hum"]
    assert hum["nuisance:eye band, frontal sensors"] < 0.75


def test_every_table_is_there(scores: Scores) -> None:
    assert list(scores.asides) == ["identity_subject", "erased", "nuisance", "robustness", "adaptation"]
    names = rows_of(scores.asides["robustness"])
    wanted = ["as they are", "10 % of sensors missing", "30 % of sensors missing", "50 % of sensors missing"]
    wanted += ["noise at 10 dB", "noise at 0 dB", "half the window", "half of the sensors, the same"]
    others = "half of the sensors, the others"
    classical = [row.name for row in scores.rows if row.name.startswith("classical:")][-1]
    assert set(names) == {
        f"{who}:{what}" for who in ("frozen", "untrained") for what in [*wanted, others]
    } | {f"{classical}:{what}" for what in wanted}
    assert f"Refused: {classical}:{others}." in scores.asides["robustness"].sentence
    main = {row.name: row.score for row in scores.rows}
    assert names["frozen:as they are"] == rows_of(scores.asides["erased"])["frozen"] == main["frozen"]
    assert names["untrained:as they are"] == main["untrained"]
    assert names[f"{classical}:as they are"] == main[classical]
    assert rows_of(scores.asides["adaptation"])["frozen"] == main["frozen"]


def test_a_classical_decoder_is_asked_about_worse_recordings(evaluation: Evaluation, run: Path) -> None:
    """Fitted to the sensors or the half of the window that are left, or to clean recordings where there is noise."""
    model = BrainFM.from_pretrained(run)
    named = {one.name: one for one in robustness.conditions(Panel.of([model], evaluation), "sensor")}
    told = {name: partial(robustness.classical, evaluation, BandPower(), one) for name, one in named.items()}
    usual = evaluation.baseline(BandPower())
    np.testing.assert_array_equal(told["as they are"](), usual)
    fewer = robustness.under(evaluation, lambda one: robustness.missing(one, "eeg", 0.5, 0))
    np.testing.assert_array_equal(told["50 % of sensors missing"](), fewer.baseline(BandPower()))
    half = replace(evaluation, windows=replace(evaluation.windows, seconds=evaluation.windows.seconds / 2))
    np.testing.assert_array_equal(told["half the window"](), half.baseline(BandPower()))
    clean = [robustness.noisy(one, "eeg", 200.0, 0) for one in evaluation.recordings]
    np.testing.assert_allclose(evaluation.baseline_on(BandPower(), clean), usual, atol=1e-6)
    loud = [robustness.noisy(one, "eeg", 0.0, 0) for one in evaluation.recordings]
    np.testing.assert_array_equal(told["noise at 0 dB"](), evaluation.baseline_on(BandPower(), loud))
    assert not np.allclose(told["noise at 0 dB"](), usual, atol=0.01)
    with pytest.raises(DataError, match="band_power can't be tested on other sensors"):
        told["half of the sensors, the others"]()


def test_a_missing_sensor_says_the_mean_of_training(evaluation: Evaluation, run: Path) -> None:
    model = BrainFM.from_pretrained(run)
    fold = evaluation.folds[0]
    fitted = cached_features(model, evaluation, "sensor")
    worse = robustness.under(evaluation, lambda one: robustness.missing(one, "eeg", 0.5, 0))
    asked = robustness.aligned(model, worse, evaluation, fitted, fold, "sensor")
    assert asked.shape == fitted.shape
    kept = set(worse.recordings[0].signal("eeg").sensors.name)
    mean = fitted[fold.train].mean(axis=0).reshape(8, -1)
    for row, name in enumerate(evaluation.recordings[0].signal("eeg").sensors.name):
        told = asked.reshape(len(asked), 8, -1)[:, row]
        assert np.allclose(told, mean[row], atol=1e-5) == (name not in kept)
    assert len(kept) == 4


def test_places_are_asked_about_with_sensors_missing(evaluation: Evaluation, run: Path) -> None:
    """They are no rows of tokens, so nothing is put in for those that are gone."""
    model = BrainFM.from_pretrained(run)
    worse = robustness.under(evaluation, lambda one: robustness.missing(one, "eeg", 0.5, 0))
    fitted = cached_features(model, evaluation, "place")
    asked = robustness.aligned(model, worse, evaluation, fitted, evaluation.folds[0], "place")
    np.testing.assert_array_equal(asked, cached_features(model, worse, "place"))
    named = {one.name for one in robustness.conditions(Panel.of([model], evaluation), "place")}
    assert "half the window" in named


def test_worse_recordings_have_hashes_of_their_own(evaluation: Evaluation) -> None:
    """Kept features go by them: noise must not be answered with what the clean signal gave."""
    recording = evaluation.recordings[0]
    made = [robustness.noisy(recording, "eeg", ratio, seed) for ratio in (0.0, 10.0) for seed in (0, 1)] + [
        robustness.missing(recording, "eeg", 0.3, 0),
        robustness.every_second(recording, "eeg", 0),
    ]
    assert len({one.content_hash for one in made} | {recording.content_hash}) == len(made) + 1
    noise = made[0].signal("eeg").load() - recording.signal("eeg").load()
    np.testing.assert_allclose(noise.std(axis=1), recording.signal("eeg").load().std(axis=1), rtol=0.05)


def test_an_outlier_in_the_test_fold_changes_no_training_feature(evaluation: Evaluation, run: Path) -> None:
    model = BrainFM.from_pretrained(run)
    fold = evaluation.folds[0]
    owner = int(evaluation.windows.recording[fold.test[0]])
    signal = evaluation.recordings[owner].signal("eeg")
    data = signal.load().copy()
    data[:, 100] = 1.0  # a volt
    recordings = list(evaluation.recordings)
    recordings[owner] = robustness.changed(
        recordings[owner].with_signal("eeg", replace(signal, data=data)), "outlier"
    )
    before, after = (
        cached_features(model, one, "sensor")
        for one in (evaluation, replace(evaluation, recordings=recordings))
    )
    np.testing.assert_array_equal(before[fold.train], after[fold.train])
    assert not np.array_equal(before[fold.test], after[fold.test])


def shifted(evaluation: Evaluation) -> np.ndarray:
    """Features that tell the class, each session with an offset and a scale of its own."""
    rng = np.random.default_rng(1)
    values = planted(evaluation, 0.0, 3.0)
    for one in np.unique(evaluation.domains):
        rows = evaluation.domains == one
        values[rows] = values[rows] * rng.uniform(0.5, 2, 10) + 8 * rng.normal(size=10)
    return values.astype(np.float32)


def test_session_statistics_mend_a_shift_between_sessions(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_session, "cached_features", lambda *_: shifted(evaluation))
    panel: Any = SimpleNamespace(
        evaluation=replace(evaluation, card=evaluation.card),
        models={0: []},
        chosen={(0, n): None for n in range(4)},
    )
    monkeypatch.setattr(new_session, "euclidean", lambda same: same)
    found = rows_of(new_session.aside(panel, "ridge", "mean"))
    assert found["frozen"] < 0.7 < 0.85 < found["frozen:session statistics"]
    assert found["frozen:entropy"] > 0.85
    assert "classical:tangent_space recentred" in found


def test_session_statistics_harm_where_a_session_is_of_one_class_mostly(evaluation: Evaluation) -> None:
    """What every session has at mean zero tells nothing of how common a class is in it: a failure that is known."""
    rng = np.random.default_rng(2)
    label = (np.arange(200) % 2).astype(int)
    label[100:] = rng.random(100) < 0.05
    values = (rng.normal(size=(200, 1)) * 0.3 + label[:, None]).astype(np.float32)
    domains = np.repeat([0, 1], 100)
    adapted = new_session.by_session(values, domains)
    plain_right = ((values[100:, 0] > 0.5) == label[100:]).mean()
    adapted_right = ((adapted[100:, 0] > 0) == label[100:]).mean()
    assert plain_right > 0.9 > 0.7 > adapted_right


def test_entropy_falls_and_can_swallow_a_class() -> None:
    """A probe that leans towards one class is only made surer of it: the other is answered less and less."""
    values = np.random.default_rng(3).normal(size=(200, 4))
    weight, bias = np.array([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]), np.array([-0.6, 0.6])
    answers = [new_session.surer(values, weight, bias, steps) for steps in (0, 20, 200)]
    entropy = [float(-(one * np.log(one)).sum(axis=1).mean()) for one in answers]
    other = [float((one.argmax(axis=1) == 0).mean()) for one in answers]
    assert entropy[0] > entropy[1] > entropy[2]
    assert 0.3 > other[0] > other[1] > other[2]


def test_whitened_sessions_have_one_covariance_and_keep_their_size() -> None:
    rng = np.random.default_rng(4)
    signal = np.einsum("st,wtn->wsn", rng.normal(size=(5, 5)), rng.normal(size=(30, 5, 400))) * 1e-5
    change = new_session.whitening(signal)
    turned = change @ signal
    covariance = np.mean([np.cov(one) for one in turned], axis=0)
    size = np.trace(np.mean([np.cov(one) for one in signal], axis=0)) / 5
    np.testing.assert_allclose(covariance, size * np.eye(5), atol=0.02 * size)


def test_no_adaptation_table_where_a_session_is_on_both_sides(folder: Path, run: Path) -> None:
    one = tiny.card(
        folder, "alone", "{kind: simulated, subjects: 1, seconds: 120.0, sensors: 8, seed: 5}",
        more=tiny.TASK.replace("CrossSubject", "WithinSession\n  folds: 3"),
    )  # fmt: skip
    within = Evaluation.of(DataCard.load(one))
    panel = Panel.of([BrainFM.from_pretrained(run)], within)
    assert new_session.aside(panel, "ridge", "mean") is None
    assert identity.asides(panel, "ridge", "mean") == {}
