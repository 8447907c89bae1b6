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
from brainfm.data.leaks import Fold
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.errors import CheckpointError, DataError
from brainfm.evaluation import Evaluation
from brainfm.few_shot import few
from brainfm.jobs.probe import Options, probe
from brainfm.manifest import Manifest
from brainfm.metrics import METRICS
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.panel import Panel, cached_features, default_pool, probe_fold, token_features, twin
from brainfm.recipe import PretrainRecipe
from brainfm.scores import Scores, interval, table

QUICK = Options(quiet=True, classical="none", seeds=1)


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return tiny.people(folder, subjects=4, seconds=60.0)


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
    assert [row.name for row in scores.rows] == ["chance", "shuffled", "untrained", "frozen", *classical]
    assert scores.rows[0].score == scores.chance == 0.5
    for row in scores.rows[1:]:
        assert row.low <= row.score <= row.high and np.isfinite([row.low, row.high]).all()
        assert row.n_test == scores.rows[0].n_test > 20
    assert [row.seeds for row in scores.rows[1:]] == [3, 3, 1, 1, 1, 1]


def test_frozen_less_untrained_is_paired(scores: Scores) -> None:
    difference, *others = scores.differences
    assert difference.name == "frozen − untrained" and difference.seeds == 1
    assert [one.minus for one in others] == [
        "shuffled",
        "classical:band_power",
        "classical:tangent_space",
        "classical:csp_lda",
    ]
    by_name = {row.name: row.score for row in scores.rows}
    assert difference.score == pytest.approx(by_name["frozen"] - by_name["untrained"])
    assert difference.low <= difference.score <= difference.high


def test_differences_are_tested_over_people_and_corrected(scores: Scores) -> None:
    """Two people: four flips of signs, so no p is below a quarter, and Holm's correction can't lower any."""
    for one in scores.differences:
        each = [found["frozen"] - found[one.minus] for found in scores.per_group.values()]
        flips = [np.mean([a * each[0], b * each[1]]) for a in (1, -1) for b in (1, -1)]
        assert one.units == 2 and one.p == pytest.approx(
            min(0.75, np.mean(np.array(flips) >= np.mean(each) - 1e-12))
        )
        assert 0.25 <= one.p <= one.p_holm <= 1
    assert min(one.p_holm for one in scores.differences) == pytest.approx(
        min(1, 5 * min(one.p for one in scores.differences))
    )


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


def test_shuffled_labels_stay_within_a_person(card: Path, clean: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    fold, owner = evaluation.folds[0], evaluation.windows.recording
    label = evaluation.shuffled(fold, np.random.default_rng(0))
    np.testing.assert_array_equal(label[fold.test], evaluation.windows.label[fold.test])
    for one in np.unique(owner):
        assert sorted(label[owner == one]) == sorted(evaluation.windows.label[owner == one])
    assert (label != evaluation.windows.label).mean() > 0.2
    panel = Panel.of([BrainFM.from_pretrained(clean)], evaluation)
    first, again, other = (panel.shuffled(0, "ridge", "mean", draw) for draw in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_labels_of_whole_people_are_shuffled_over_all() -> None:
    """Patients and controls: inside a person there is nothing to shuffle."""
    recordings = [Recording({}, dataset="d", subject=str(who)) for who in range(4)]
    windows = Windows(
        np.repeat(np.arange(4), 10), np.tile(np.arange(10.0), 4), 1.0, np.repeat([0, 1, 0, 1], 10), ("a", "b")
    )
    fold = Fold(np.arange(30), np.arange(30, 40), "subject 3")
    evaluation = Evaluation(None, recordings, windows, "CrossSubject", [fold], "accuracy")  # type: ignore[arg-type]
    label = evaluation.shuffled(fold, np.random.default_rng(0))
    assert (label[:30] != windows.label[:30]).any() and sorted(label[:30]) == sorted(windows.label[:30])
    np.testing.assert_array_equal(label[30:], windows.label[30:])


def test_untrained_twins_differ_by_seed_and_frozen_does_not(card: Path, clean: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    panel = Panel.of([BrainFM.from_pretrained(clean)], evaluation)
    assert not np.array_equal(*[panel.untrained(seed, "ridge", "mean") for seed in (0, 1)])
    np.testing.assert_array_equal(*[panel.frozen(0, "ridge", "mean") for _ in range(2)])


def digest(model: BrainFM) -> str:
    pieces = [name.encode() + value.numpy().tobytes() for name, value in sorted(model.state_dict().items())]
    return hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("protocol", ["ridge", "knn", "attentive"])
def test_frozen_is_frozen(
    card: Path, clean: Path, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainfm.stepwise.MOST", 10)
    weights = clean / "checkpoints" / "step-00000006" / "model.safetensors"
    stored = weights.read_bytes()
    model = BrainFM.from_pretrained(clean)
    before = digest(model)
    model.train()  # as a user may hand it over: dropout must be off all the same
    panel = Panel.of([model], Evaluation.of(DataCard.load(card)))
    answers = []
    for number in range(2):
        monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path / str(number)))
        answers.append(panel.frozen(0, protocol, "mean"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(*answers)
    assert digest(model) == before
    assert not model.training and not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert weights.read_bytes() == stored


def test_tokens_are_the_encoders_and_pool_to_the_features(card: Path, clean: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    model = BrainFM.from_pretrained(clean)
    tokens = token_features(model, evaluation)
    assert tokens.shape == (len(evaluation.windows), 8 * 8, model.width) and np.isfinite(tokens).all()
    np.testing.assert_allclose(tokens.mean(axis=1), cached_features(model, evaluation, "mean"), atol=1e-4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brainfm.panel.LARGEST", 1000)
        with pytest.raises(DataError, match="use --limit, or a protocol of pooled features"):
            token_features(model, evaluation)


def test_two_runs_with_a_limit_agree_to_the_last_digit(
    card: Path, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("probe", clean, card, "--limit", "3", "--seeds", "2", "--windows-per-class", "1", "--json")
    said = []
    for number in range(2):
        monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path / str(number)))
        result = tiny.brainfm(*words)
        assert result.code == 0, result.err
        said.append(result.out)
    assert said[0] == said[1] and len(said[0]) > 1000


def test_a_learning_curve_has_its_points_and_says_what_it_lacks(card: Path, clean: Path) -> None:
    found = probe([clean], card, replace(QUICK, classical="all", seeds=2, windows_per_class=(3, 1, 500)))
    counts = [(point.windows_per_class, point.row.name) for point in found.curve]
    names = ["untrained", "frozen", "classical:csp_lda"]
    assert set(counts) <= {(count, name) for count in (1, 3) for name in names}
    assert {(3, name) for name in names} <= set(counts)
    assert all(
        point.row.low <= point.row.score <= point.row.high and point.row.seeds == 2 for point in found.curve
    )
    assert any("500 windows per class are more than the" in note for note in found.notes)
    again = replace(found, curve=found.curve[:1])
    assert "1 labelled window per class" in table(again) and "3 labelled windows" in table(found)
    assert tiny.only_sentence(tiny.brainfm("probe", clean, card, "--windows-per-class", "1,x")).startswith(
        "--windows-per-class takes whole numbers"
    )


def test_small_subsets_train_and_everything_is_tested(card: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card))
    for count, draw in ((1, 0), (1, 1), (4, 0)):
        smaller = few(evaluation, count, draw)
        for fold, whole in zip(smaller.folds, evaluation.folds, strict=True):
            np.testing.assert_array_equal(fold.test, whole.test)
            assert set(fold.train) < set(whole.train)
            assert np.bincount(evaluation.windows.label[fold.train]).tolist() == [count, count]
    one, four = (few(evaluation, count, 0).folds[0].train for count in (1, 4))
    assert set(one) < set(four)
    assert set(one) != set(few(evaluation, 1, 1).folds[0].train)


def test_another_dataset_trains(card: Path, clean: Path, folder: Path) -> None:
    """Other people with other electrodes at another rate: those in common, at the lower rate."""
    reader = "{kind: simulated, subjects: 3, seconds: 60.0, sensors: 12, seed: 4, sfreq: 200.0}"
    other = tiny.card(folder, "others", reader)
    found = probe([clean], card, replace(QUICK, classical="all", train_on=[other]))
    assert found.split.startswith(
        "CrossDataset: 2 folds, each holds out one of 2 subjects (03, 04) of people"
    )
    assert found.split.endswith("all windows of others train")
    assert found.held_out == ["people, subject 03", "people, subject 04"] and not found.contaminated
    assert {row.name for row in found.rows} > {"frozen", "classical:csp_lda"}
    evaluation = Evaluation.of(DataCard.load(card), train_on=[DataCard.load(other)])
    assert {recording.signal("eeg").sfreq for recording in evaluation.recordings} == {128.0}
    assert evaluation.comparable
    for fold in evaluation.folds:
        names = [
            {evaluation.recordings[i].dataset for i in evaluation.windows.recording[rows]}
            for rows in (fold.train, fold.test)
        ]
        assert names == [{"others"}, {"people"}]


def test_what_can_not_train_another_dataset_is_refused(card: Path, clean: Path, folder: Path) -> None:
    def said(*words: object) -> str:
        return tiny.only_sentence(tiny.brainfm("probe", clean, card, *words))

    assert "can't be tested by what was trained on itself" in said("--train-on", card)
    lacks = tiny.card(
        folder, "feet", "{kind: simulated, subjects: 2, seconds: 60.0, sensors: 8, classes: [left_hand, feet]}",
        more=tiny.TASK.replace("right_hand", "feet"),
    )  # fmt: skip
    assert "feet: no window is labelled 'right_hand'" in said("--train-on", lacks)
    twin_card = folder / "copies.md"
    twin_card.write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
    assert "the same signal" in said("--train-on", twin_card)
    assert "which is CrossDataset and not WithinSession" in said(
        "--train-on", lacks, "--split", "WithinSession"
    )


def test_every_subject_is_left_out_alone_whatever_groups_a_card_asks_for(folder: Path) -> None:
    grouped = tiny.card(
        folder, "grouped", "{kind: simulated, subjects: 4, seconds: 40.0, sensors: 8}",
        more=tiny.TASK.replace("CrossSubject", "CrossSubject\n  folds: 2"),
    )  # fmt: skip
    evaluations = [Evaluation.of(DataCard.load(grouped), name) for name in (None, "LeaveOneSubjectOut")]
    assert [len(one.folds) for one in evaluations] == [2, 4]
    assert evaluations[1].words.startswith("LeaveOneSubjectOut: 4 folds, each holds out one of 4 subjects")


def test_clean_recordings_have_rows_of_their_own(folder: Path) -> None:
    """Two groups of two people, of whom pretraining saw one each: no fold is clean, but two people are."""
    mixed = tiny.card(
        folder, "mixed", "{kind: simulated, subjects: 4, seconds: 60.0, sensors: 8, seed: 9}",
        more=tiny.TASK.replace("CrossSubject", "CrossSubject\n  folds: 2"),
    )  # fmt: skip
    run = pretrain(mixed, folder / "half", "data.hold_out={mixed: ['02', '04']}")
    found = probe([run], mixed, QUICK)
    assert found.contaminated and found.contamination.startswith("seen without labels")
    verdicts = {"01": "seen without labels", "02": "clean", "03": "seen without labels", "04": "clean"}
    assert found.exposure == {f"mixed/{who}/01": verdict for who, verdict in verdicts.items()}
    aside = found.asides["clean_only"]
    assert [row.name for row in aside.rows] == ["shuffled", "untrained", "frozen"]
    whole, clean = found.rows[-1], aside.rows[-1]
    assert clean.n_test == whole.n_test / 2
    parts = [found.per_group[who]["frozen"] for who in ("02", "04")]
    assert clean.score == pytest.approx(np.mean(parts), abs=0.03)
    assert "2 clean, 2 seen without labels" in table(found)
    assert np.isfinite([clean.low, clean.high]).all()
    assert aside.sentence.endswith(
        "these rows are theirs alone: intervals are over 2 of 4 held-out subjects."
    )


def test_one_clean_person_of_several_has_no_interval(folder: Path) -> None:
    """Windows are not what the page says is drawn; and chance is that of the rows which are shown."""
    uneven = tiny.card(
        folder, "uneven", "{kind: simulated, subjects: 4, seconds: 60.0, sensors: 8, seed: 9}",
        more=tiny.TASK.replace("CrossSubject", "CrossSubject\n  folds: 2").replace("balanced_", ""),
    )  # fmt: skip
    evaluation = Evaluation.of(DataCard.load(uneven))
    model = BrainFM.from_pretrained("brainfm-tiny")
    model.manifest = Manifest.of(evaluation.recordings[1:], "eeg", with_labels=False)
    panel = Panel.of([model], evaluation)
    said = np.random.default_rng(0).random((len(evaluation.tested), 2))
    aside = panel.clean_only({"frozen": [said]})
    assert aside is not None
    first = evaluation.windows.recording[evaluation.tested] == 0
    label = evaluation.windows.label[evaluation.tested]
    (row,) = aside.rows
    assert row.score == METRICS["accuracy"](said[first], label[first]) and row.n_test == first.sum()
    assert np.isnan([row.low, row.high]).all() and interval(row) == "", "the page prints a dash"
    assert aside.sentence.endswith("1 of 4 held-out subjects, which makes no interval.")
    assert aside.mark == np.bincount(label[first]).max() / first.sum() != evaluation.chance().score


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


def test_a_score_of_numbers_is_no_score_of_labels(card: Path, clean: Path) -> None:
    result = tiny.brainfm("probe", clean, card, "--metric", "r2")
    assert "r2 is no score of labels; take one of balanced_accuracy" in tiny.only_sentence(result)


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


TASK = """card: {card}
head: {{kind: linear, pool: sensor}}
train: {{steps: 1, batch: 8, learning_rate: 1.0e-4, save_every: 1}}
seed: 3
"""
PARTS = """target: {kind: labels, labels: [left_hand, right_hand]}
window: {kind: sliding, seconds: 8.0, stride: 8.0}
split: WithinSession
folds: 2
"""


def task(card: Path, path: Path, more: str = "") -> Path:
    """A recipe of `finetune/`; with `PARTS` it tells a label of every part of a window."""
    words = TASK.format(card=card) + more
    path.write_text(
        words.replace("kind: linear, pool: sensor", "kind: sequence, rows: mean") if more else words
    )
    return path


def test_a_tasks_split_and_seed_can_be_others(card: Path, clean: Path, tmp_path: Path) -> None:
    """What is not asked for is the recipe's; what is asked for is what happens, and what the report says."""
    path = task(card, tmp_path / "task.yaml")
    own = probe([clean], path, QUICK)
    assert own.split.startswith("CrossSubject") and own.seed == 3 and own.protocol == "ridge"
    other = probe([clean], path, replace(QUICK, split="WithinSession", seed=7, protocol="knn"))
    assert other.split.startswith("WithinSession") and other.seed == 7 and other.protocol == "knn"
    row = {of.seed: of.rows[1] for of in (own, probe([clean], path, replace(QUICK, seed=7)))}
    assert row[3].name == "shuffled" and row[3].score != row[7].score, "other labels were shuffled"
    direct = probe([clean], card, replace(QUICK, split="WithinSession", seed=7, protocol="knn"))
    assert [vars(one) for one in other.rows] == [vars(one) for one in direct.rows]


def test_a_target_takes_another_split_and_no_classifier(card: Path, clean: Path, tmp_path: Path) -> None:
    path = task(card, tmp_path / "parts.yaml", PARTS)
    own = probe([clean], path, QUICK)
    assert own.split.startswith("WithinSession: 2 folds") and own.protocol == "ridge"
    other = probe([clean], path, replace(QUICK, split="CrossSubject", seed=7))
    assert other.split.startswith("CrossSubject: 2 folds, each holds out one of") and other.seed == 7
    for protocol in ("knn", "logistic", "attentive"):
        said = tiny.only_sentence(tiny.brainfm("probe", clean, path, "--protocol", protocol))
        assert said == (
            "people: what is told are classes, which frozen features are probed for by ridge; "
            f"{protocol} is for one label of a window, so leave --protocol away"
        )
    for split, words in (("CrossSession", "at least two sessions"), ("CrossStimulus", "inside an event")):
        said = tiny.only_sentence(tiny.brainfm("probe", clean, path, "--split", split))
        assert words in said
