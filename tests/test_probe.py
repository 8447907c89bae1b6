"""The probe: every row with its interval, the truth about what pretraining saw, and features that stay frozen."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from brainfm.data.cards import DataCard
from brainfm.errors import CheckpointError, DataError
from brainfm.evaluation import Evaluation
from brainfm.jobs.probe import Options, probe
from brainfm.metrics import METRICS
from brainfm.model import BrainFM, BrainFMConfig
from brainfm.panel import Panel, cached_features, default_pool, probe_fold, twin
from brainfm.recipe import PretrainRecipe
from brainfm.scores import Scores

QUICK = Options(quiet=True, classical="none", seeds=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return tiny.people(folder, subjects=4, seconds=60.0)


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of these tests' own."""
    monkeypatch.setenv("BRAINFM_CACHE", str(folder / "cache"))
    return folder / "cache" / "features"


def pretrain(card: Path, out: Path, *overrides: str) -> Path:
    result = tiny.brainfm(*tiny.train_words(card, out, *overrides, steps=6), "--json")
    assert result.code == 0, result.err
    return out


def held(*subjects: str) -> str:
    return f"data.hold_out={{people: [{', '.join(map(repr, subjects))}]}}"


@pytest.fixture(scope="module")
def clean(card: Path, folder: Path) -> Path:
    """A run that never saw the last two people."""
    return pretrain(card, folder / "clean", held("03", "04"))


@pytest.fixture(scope="module")
def seen(card: Path, folder: Path) -> Path:
    """A run that saw everyone."""
    return pretrain(card, folder / "seen")


@pytest.fixture(scope="module")
def scores(card: Path, clean: Path, folder: Path) -> Scores:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINFM_CACHE", str(folder / "cache of scores"))
        return probe([clean], card, Options(quiet=True))


def test_every_row_is_there_with_its_interval(scores: Scores) -> None:
    classical = ["classical:band_power", "classical:tangent_space", "classical:csp_lda"]
    assert [row.name for row in scores.rows] == ["chance", "untrained", "frozen", *classical]
    assert scores.rows[0].score == scores.chance == 0.5
    for row in scores.rows[1:]:
        assert row.low <= row.score <= row.high and np.isfinite([row.low, row.high]).all()
        assert row.n_test == scores.rows[0].n_test > 20
    assert [row.seeds for row in scores.rows[1:]] == [3, 1, 1, 1, 1]


def test_frozen_less_untrained_is_paired(scores: Scores) -> None:
    (difference,) = scores.differences
    assert difference.name == "frozen − untrained" and difference.seeds == 1
    by_name = {row.name: row.score for row in scores.rows}
    assert difference.score == pytest.approx(by_name["frozen"] - by_name["untrained"])
    assert difference.low <= difference.score <= difference.high


def test_only_people_that_pretraining_held_out_are_scored(scores: Scores) -> None:
    assert scores.held_out == ["subject 03", "subject 04"]
    assert scores.unit == "2 held-out subjects"
    assert scores.split.startswith("CrossSubject: 2 folds, each holds out one of ")
    assert scores.contamination.startswith("clean: no test recording, and no test subject")
    assert not scores.contaminated


def test_what_was_seen_is_marked(card: Path, seen: Path) -> None:
    scores = probe([seen], card, QUICK)
    assert len(scores.held_out) == 4
    assert scores.contaminated and scores.contamination.startswith("seen without labels")
    assert any("--set 'data.hold_out={people: [SUBJECT, ...]}'" in note for note in scores.notes)


def test_a_recording_is_known_again_under_another_name(card: Path, seen: Path, tmp_path: Path) -> None:
    text = card.read_text(encoding="utf-8").replace("title: people", "title: strangers")
    other = tmp_path / "strangers.md"
    other.write_text(text, encoding="utf-8")
    assert probe([seen], other, QUICK).contamination.startswith("seen without labels")


def test_strict_refuses_what_was_seen_and_allows_what_was_not(card: Path, seen: Path, clean: Path) -> None:
    with pytest.raises(DataError, match="every test recording was seen in pretraining; --strict refuses"):
        probe([seen], card, replace(QUICK, strict=True))
    assert not probe([clean], card, replace(QUICK, strict=True)).contaminated
    said = tiny.only_sentence(tiny.brainfm("probe", seen, card, "--strict", "--json"))
    assert "--strict refuses to score it" in said


def test_a_checkpoint_without_a_manifest_is_not_called_clean(card: Path, clean: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(clean / "checkpoints" / "step-00000006", tmp_path / "bare")
    (bare / "manifest.json").unlink()
    scores = probe([bare], card, QUICK)
    assert scores.contaminated and scores.contamination.startswith("unknown: ")
    with pytest.raises(DataError, match="does not say what it saw; --strict refuses"):
        probe([bare], card, replace(QUICK, strict=True))
    (bare / "manifest.json").write_text("{}x", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not a manifest"):
        probe([bare], card, QUICK)


def test_other_recordings_of_a_test_subject_are_told(tmp_path: Path) -> None:
    reader = "{kind: simulated, subjects: 2, sessions: 2, seconds: 45.0, sensors: 8}"
    card = tiny.card(tmp_path, "people", reader, more=tiny.TASK.replace("CrossSubject", "CrossSession"))
    run = pretrain(card, tmp_path / "run", held("01/02", "02/02"))
    scores = probe([run], card, QUICK)
    assert scores.held_out == ["subject 01, session 02", "subject 02, session 02"]
    assert scores.contamination.startswith("clean recordings; other recordings of the same subjects")
    assert not scores.contaminated


def test_each_fold_is_judged_by_a_checkpoint_that_did_not_see_it(
    card: Path, clean: Path, folder: Path
) -> None:
    other = pretrain(card, folder / "other", held("01", "02"))
    models = [BrainFM.from_pretrained(run) for run in (clean, other)]
    panel = Panel.of(models, Evaluation.of(DataCard.load(card)))
    assert [fold.held_out for fold in panel.evaluation.folds] == [f"subject 0{n}" for n in (1, 2, 3, 4)]
    assert [panel.chosen[0, fold] for fold in range(4)] == [models[1], models[1], models[0], models[0]]
    scores = probe([clean, other], card, replace(QUICK, strict=True))
    assert len(scores.held_out) == 4 and not scores.contaminated


def test_checkpoints_of_two_seeds_are_two_draws(card: Path, clean: Path, folder: Path) -> None:
    second = pretrain(card, folder / "second", held("03", "04"), "seed=1", "train.save_every=3")
    scores = probe([clean, second], card, replace(QUICK, seeds=5))
    rows = {row.name: row for row in scores.rows}
    assert rows["frozen"].seeds == rows["untrained"].seeds == scores.differences[0].seeds == 2
    alone = [probe([run], card, QUICK) for run in (clean, second)]
    each = [row.score for one in alone for row in one.rows if row.name == "frozen"]
    assert each[0] != each[1]
    assert rows["frozen"].score == pytest.approx(np.mean(each))


def test_untrained_twins_differ_by_seed_and_frozen_does_not(card: Path, clean: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    panel = Panel.of([BrainFM.from_pretrained(clean)], evaluation)
    assert not np.array_equal(*[panel.untrained(seed, "ridge", "mean") for seed in (0, 1)])
    np.testing.assert_array_equal(*[panel.frozen(0, "ridge", "mean") for _ in range(2)])


def digest(model: BrainFM) -> str:
    pieces = [name.encode() + value.numpy().tobytes() for name, value in sorted(model.state_dict().items())]
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def test_frozen_is_frozen(card: Path, clean: Path) -> None:
    weights = clean / "checkpoints" / "step-00000006" / "model.safetensors"
    stored = weights.read_bytes()
    model = BrainFM.from_pretrained(clean)
    before = digest(model)
    panel = Panel.of([model], Evaluation.of(DataCard.load(card)))
    panel.frozen(0, "ridge", "mean")
    assert digest(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert weights.read_bytes() == stored


def test_features_are_kept_and_used_again(
    card: Path, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path))
    first = probe([clean], card, replace(QUICK, seeds=2))
    assert len(list((tmp_path / "features").glob("*.npy"))) == 3  # the model and two untrained twins

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the features were made again")

    with monkeypatch.context() as patch:
        patch.setattr(BrainFM, "features", never)
        again = probe([clean], card, replace(QUICK, seeds=2))
        assert [vars(row) for row in again.rows] == [vars(row) for row in first.rows]
        with pytest.raises(AssertionError, match="made again"):
            probe([clean], card, replace(QUICK, pool="mean"))


def test_kept_features_belong_to_weights_and_recordings(
    card: Path, clean: Path, seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path))
    evaluation = Evaluation.of(DataCard.load(card))
    model = BrainFM.from_pretrained(clean)
    made, kept = (cached_features(model, evaluation, "mean") for _ in range(2))
    np.testing.assert_array_equal(made, kept)
    model.encoder.norm.weight.data.mul_(1.5)
    assert not np.array_equal(cached_features(model, evaluation, "mean"), made)
    later = replace(evaluation, windows=replace(evaluation.windows, start=evaluation.windows.start + 0.125))
    assert not np.array_equal(cached_features(model, later, "mean"), made)
    assert len(list((tmp_path / "features").iterdir())) == 3


def test_labels_are_learnt_and_shuffled_ones_are_not(card: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    rng = np.random.default_rng(0)
    label = evaluation.windows.label
    noise = rng.normal(size=(len(label), 40)).astype(np.float32)
    noise[:, 0] += 6.0 * label

    def score(labels: np.ndarray) -> float:
        shown = replace(evaluation, windows=replace(evaluation.windows, label=labels))
        predicted = shown.out_of_fold(lambda _, fold: probe_fold(shown, noise, fold, "ridge"))
        return float(METRICS["balanced_accuracy"](predicted, labels[shown.tested]))

    assert score(label) > 0.75
    owner = evaluation.windows.recording
    shuffled = []
    for _ in range(10):
        labels = label.copy()
        for one in np.unique(owner):
            labels[owner == one] = rng.permutation(labels[owner == one])
        shuffled.append(score(labels))
    assert abs(np.mean(shuffled) - 0.5) < 0.1


def test_a_report_of_every_row_is_written(card: Path, clean: Path, tmp_path: Path) -> None:
    words = ("probe", clean, card, "--out", tmp_path / "out", "--seeds", "1", "--protocol", "logistic")
    result = tiny.brainfm(*words, "--json")
    assert result.code == 0 and result.err == ""
    assert result.json["report"] == str(tmp_path / "out" / "report.html")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for word in ("chance", "untrained", "frozen", "csp lda", "subject 03"):
        assert word in page or word.replace(" ", "_") in page


def test_rows_are_kept_apart_only_where_they_mean_the_same(folder: Path) -> None:
    """Contacts of one name in two people are two things: a probe across people pools them, one inside a session need not."""
    paths = {path.stem: path for path in tiny.five_instruments(folder, subjects=2)}
    sets = [f"data.cards=[{paths['seeg']}, {paths['spikes']}, {paths['eeg']}]"]
    sets.append("signals={seeg: patch_250ms, spikes: spike_events, eeg: patch_250ms}")
    recipe = PretrainRecipe.load("smoke", [*tiny.NETWORK, *sets])
    model = BrainFM.fresh(BrainFMConfig.of(recipe), 0)
    within = Evaluation.of(DataCard.load(paths["seeg"]))
    across = Evaluation.of(DataCard.load(paths["seeg"]), "CrossSubject")
    assert default_pool(within, model) == "sensor" and default_pool(across, model) == "mean"
    assert default_pool(Evaluation.of(DataCard.load(paths["eeg"])), model) == "sensor"
    assert default_pool(Evaluation.of(DataCard.load(paths["spikes"])), model) == "mean"
    with pytest.raises(DataError, match="can't be pooled by sensor"):
        cached_features(model, across, "sensor")
    assert cached_features(model, within, "sensor").shape == (len(within.windows), 8 * model.width)


def test_an_untrained_twin_knows_the_same_sensors(folder: Path) -> None:
    """Else it would be compared without names, and pretraining would seem to have brought them."""
    card = next(path for path in tiny.five_instruments(folder, subjects=2) if path.stem == "spikes")
    run = folder / "twin"
    words = tiny.train_words(card, run, "signals={spikes: spike_counts_250ms}", steps=2)
    assert tiny.brainfm(*words).code == 0
    model = BrainFM.from_pretrained(run)
    other = twin(model, 7)
    ids = model.tokenizers["spikes"].vocabulary.ids
    assert len(ids) == 16 and other.tokenizers["spikes"].vocabulary.ids == ids
    assert not torch.equal(
        other.tokenizers["spikes"].vocabulary.table, model.tokenizers["spikes"].vocabulary.table
    )


def test_a_stretch_of_a_single_recording_can_be_held_out(folder: Path) -> None:
    """One person, one recording: the blocks that pretraining never touched are scored clean, the others are left out."""
    one = tiny.card(
        folder,
        "alone",
        "{kind: simulated, subjects: 1, seconds: 180.0, sensors: 8}",
        more=tiny.TASK.replace("CrossSubject", "WithinSession\n  folds: 3"),
    )
    folds = Evaluation.of(DataCard.load(one)).folds
    windows = Evaluation.of(DataCard.load(one)).windows
    start, stop = windows.start[folds[1].test].min(), windows.start[folds[1].test].max() + windows.seconds
    places = f"data.hold_out={{alone: ['01@{start:.3f}-{stop + 0.001:.3f}']}}"
    run = pretrain(one, folder / "stretch", places)
    log = BrainFM.from_pretrained(run).manifest.entries[0]
    assert log.kept_out == [[pytest.approx(start, abs=1e-3), pytest.approx(stop, abs=2e-3)]]
    scores = probe([run], one, replace(QUICK, split=None))
    assert scores.contamination.startswith("clean stretches; other stretches of the same recordings")
    assert len(scores.held_out) == 1 and not scores.contaminated
    assert any("2 of the card's 3 folds are left out" in note for note in scores.notes)
    whole = probe([pretrain(one, folder / "whole")], one, QUICK)
    assert whole.contaminated and len(whole.held_out) == 3
