"""What else than one label is told of windows: targets where they belong, baselines, and decoders of numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.answers import Answer
from brainfm.data.cards import DataCard
from brainfm.data.leaks import near
from brainfm.data.recording import Events, Recording, Sensors, Signal, Track
from brainfm.data.targets import Target, Targets
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError, RecipeError
from brainfm.model import BrainFM
from brainfm.recipe import FinetuneRecipe
from brainfm.regressors.bayesian import Bayesian
from brainfm.regressors.wiener import Wiener
from brainfm.ridge import Ridge
from brainfm.targeted import Targeted

SECONDS = 120.0


def neurons(seconds: float = SECONDS, seed: int = 0, n: int = 8) -> Recording:
    """Neurons at 40 Hz that are tuned to a cursor's velocity, and the cursor, on a clock of its own."""
    rng = np.random.default_rng(seed)
    steps = round(seconds * 40)
    moved = np.stack([np.convolve(rng.normal(size=steps + 39), np.hanning(40), "valid") for _ in range(2)])
    moved /= moved.std(axis=1, keepdims=True)
    rate = np.exp(rng.normal(0, 0.9, (n, 2)) @ moved - 0.7)
    sensors = Sensors.of([f"n{row}" for row in range(n)], "neuron", "count")
    signal = Signal(rng.poisson(rate).astype(float), 40.0, sensors)
    label = np.where(moved[0] > 0, "right", "left")
    edges = np.flatnonzero(np.r_[True, label[1:] != label[:-1]])
    events = Events(edges / 40.0, np.diff(np.r_[edges, steps]) / 40.0, tuple(map(str, label[edges])))
    tracks = {"velocity": Track(moved.T.copy(), 40.0, "m/s", names=("x", "y"))}
    return Recording({"spikes": signal}, events, tracks, dataset="hand", subject="01", content_hash="a")


def target(kind: str, **more: Any) -> Target:
    return Target.model_validate({"kind": kind, **more})


def cut(recording: Recording, seconds: float = 1.0) -> Any:
    return Sliding(seconds=seconds)([recording], "spikes", [])


def test_a_track_is_told_of_its_own_part() -> None:
    """Of a track of time itself the mean over a part is the part's middle, whatever the rates."""
    one = neurons(10.0)
    ramp = Track((np.arange(73 * 12) + 0.5) / 73.0 - 0.5, 73.0, "s", start=-0.5)
    one = replace(one, tracks={"time": ramp})
    windows = cut(one)
    told = target("track", track="time")([one], windows, "spikes", 4)
    assert (told.of, told.unit, told.names, told.value.shape) == ("values", "s", ("time",), (10, 4, 1))
    middle = windows.start[:, None] + (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(told.value[..., 0], middle, atol=0.007)
    late = target("track", track="time", last=0.1, lag=0.2)([one], windows, "spikes", 1)
    np.testing.assert_allclose(late.value[..., 0], windows.start[:, None] + 1.15, atol=0.007)


def test_one_direction_of_a_track() -> None:
    one = neurons(10.0)
    both = target("track", track="velocity")([one], cut(one), "spikes", 1)
    along = target("track", track="velocity", along=[0.6, -0.8])([one], cut(one), "spikes", 1)
    assert both.names == ("velocity.x", "velocity.y") and along.names == ("velocity",)
    np.testing.assert_allclose(along.value[..., 0], both.value @ [0.6, -0.8])


def test_what_was_not_measured_is_not_told() -> None:
    one = neurons(10.0)
    lost = one.tracks["velocity"].data.copy()
    lost[100:110] = np.nan
    one = replace(one, tracks={"velocity": replace(one.tracks["velocity"], data=lost)})
    told = target("track", track="velocity")([one], cut(one), "spikes", 2)
    np.testing.assert_array_equal(np.flatnonzero(~told.known), [2])


def test_hidden_neurons_are_counted_and_not_seen() -> None:
    one = neurons(10.0)
    hidden = target("neurons", every=4)
    (seen,) = hidden.seen([one], "spikes")
    assert seen.signal("spikes").sensors.name == ("n0", "n1", "n2", "n4", "n5", "n6")
    told = hidden([one], cut(one), "spikes", 2)
    counts = one.signal("spikes").load()[[3, 7]].reshape(2, 10, 2, 20).sum(axis=3)
    np.testing.assert_array_equal(told.value, counts.transpose(1, 2, 0))
    assert (told.of, told.names) == ("rates", ("n3", "n7"))


def test_parts_carry_the_label_that_they_lie_in() -> None:
    one = neurons(10.0)
    told = target("labels", labels=["left", "right"], overlap=0.9)([one], cut(one), "spikes", 10)
    right = (one.tracks["velocity"].data[:, 0] > 0).reshape(10, 10, 4).mean(axis=2)
    np.testing.assert_array_equal(told.value == 1, right >= 0.9)
    np.testing.assert_array_equal(told.value == 0, right <= 0.1)
    assert (told.value == -1).any() and told.known.all()


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("track", {"track": "velocty"}, "has no track 'velocty'; did you mean 'velocity'"),
        ("track", {"track": "velocity", "along": [1.0]}, "has 2 columns, `along` 1"),
        ("neurons", {"every": 9}, "counts are told of neurons, 9 or more"),
        ("labels", {"labels": ["up", "down"]}, "no event is labelled up or down"),
    ],
)
def test_impossible_targets_are_one_sentence(kind: str, more: dict[str, Any], words: str) -> None:
    one = neurons(10.0)
    with pytest.raises(DataError, match=words):
        target(kind, **more)([one], cut(one), "spikes", 1)


def test_ridge_is_scikit_learns() -> None:
    from sklearn.linear_model import Ridge as Reference

    rng = np.random.default_rng(0)
    features, weights = rng.normal(3, 2, (80, 12)), rng.normal(size=(12, 2))
    true = features @ weights + rng.normal(size=(80, 2))
    found = Ridge().fit(features[:60], true[:60], np.arange(60) // 10)
    standard = (features - features[:60].mean(axis=0)) / features[:60].std(axis=0)
    alpha = found.penalty * found._solution.scale
    expected = Reference(alpha).fit(standard[:60], true[:60]).predict(standard[60:])
    np.testing.assert_allclose(found.predict(features[60:]), expected, atol=1e-8)


def test_a_penalty_is_chosen_where_it_matters() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(90, 60))
    none = Ridge().fit(noise, rng.normal(size=(90, 1)), np.arange(90) // 10)
    plain = Ridge().fit(noise, noise[:, :1] * 1.0, np.arange(90) // 10)
    assert none.penalty > 10 * plain.penalty


def test_a_wiener_filter_needs_the_past() -> None:
    """What follows the counts of a while ago is told from five parts of a window, not from their sum."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (400, 3, 10)).astype(float)
    true = (counts[:, :, 2:4].sum(axis=2) - counts[:, :, 8:].sum(axis=2)) @ rng.normal(size=(3, 1))
    groups = np.arange(400) // 40
    scores = []
    for bins in (5, 1):
        fitted = Wiener(bins=bins).build(40.0).fit(counts[:300], true[:300], groups[:300])
        error = fitted.predict(counts[300:]) - true[300:]
        scores.append(1 - error.var() / true[300:].var())
    assert scores[0] > 0.99 and scores[1] < 0.1


def test_place_fields_tell_the_place() -> None:
    rng = np.random.default_rng(0)
    where = rng.uniform(0, 100, 1500)
    centre = np.linspace(0, 100, 12)
    field = 6 * np.exp(-(((where[:, None] - centre) / 10) ** 2))
    counts = rng.poisson(field).astype(float)[..., None]
    fitted = Bayesian(bins=40).build(4.0).fit(counts[:1000], where[:1000, None], np.zeros(1000, int))
    error = np.abs(fitted.predict(counts[1000:])[:, 0] - where[1000:])
    assert np.median(error) < 4
    with pytest.raises(DataError, match="tells one number, not 2"):
        Bayesian().build(4.0).fit(counts, np.zeros((1500, 2)), np.zeros(1500, int))


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    """A MATLAB-like file of counts and velocity, and its card."""
    from scipy.io import savemat

    one = neurons()
    (folder / "files").mkdir()
    content = {"counts": one.signal("spikes").load().T, "moved": one.tracks["velocity"].data}
    savemat(folder / "files" / "m_demo.mat", content)
    reader = (
        "{kind: binned_counts, pieces: [{counts: counts, tracks: {velocity: moved}}], axes: [bin, neuron], "
        "step: 0.025, unit: count}"
    )
    return tiny.card(folder, "hand", reader, "files", "{subject}_demo.mat", more="", modality="spikes")


SIGNALS = "signals={spikes: {prepare: [], seconds: 1.0, tokenizer: {kind: spike_counts, seconds: 0.25, sfreq: 40.0}}}"


@pytest.fixture(scope="module")
def run(card: Path, folder: Path) -> Path:
    assert tiny.brainfm(*tiny.train_words(card, folder / "run", SIGNALS, steps=4)).code == 0
    return folder / "run"


def recipe(card: Path, folder: Path, target: str, head: str, more: str = "") -> Path:
    """A task's file."""
    path = folder / f"task-{abs(hash((target, head, more)))}.yaml"
    path.write_text(
        f"card: {card}\ntarget: {target}\nwindow: {{kind: sliding, seconds: 1.0, stride: 0.5}}\n"
        f"split: WithinSession\nfolds: 2\nhead: {head}\n{more}"
        "train: {steps: 40, batch: 32, learning_rate: 3.0e-3, precision: 'no', save_every: 40}\n",
        encoding="utf-8",
    )
    return path


def test_blocks_of_time_leave_a_gap(card: Path) -> None:
    evaluation = Targeted.of_target(
        DataCard.load(card),
        target("track", track="velocity"),
        4,
        "WithinSession",
        Sliding(seconds=1.0, stride=0.25),
    )
    assert len(evaluation.folds) == 5
    every = np.concatenate([fold.test for fold in evaluation.folds])
    np.testing.assert_array_equal(np.sort(every), np.arange(len(evaluation.windows)))
    for fold in evaluation.folds:
        assert not near(evaluation.windows, fold.train, fold.test, 1.0).any()
        assert np.ptp(evaluation.windows.start[fold.test]) < SECONDS / 5


def test_linear_features_tell_numbers_and_permuted_targets_do_not(card: Path) -> None:
    evaluation = Targeted.of_target(
        DataCard.load(card), target("track", track="velocity"), 2, "WithinSession", Sliding(seconds=1.0)
    )
    rng = np.random.default_rng(0)
    mixed = evaluation.targets.value @ rng.normal(size=(2, 5)) + rng.normal(0, 0.1, (120, 2, 5))
    features = mixed.reshape(120, -1).astype(np.float32)

    def score(rows: Callable[[Any], Any]) -> float:
        return evaluation.row(
            "x", [evaluation.out_of_fold(lambda _, fold: evaluation.probe(features, fold, rows(fold)))]
        ).score

    assert score(lambda fold: None) > 0.9
    assert score(lambda fold: evaluation.shuffled(fold, rng)) < 0.1


def finetuned(path: Path, run: Path, out: Path) -> tiny.Result:
    found = tiny.brainfm("finetune", path, "--from", run, "--out", out, "--json")
    assert found.code == 0, found.err
    return found


@pytest.fixture(scope="module")
def velocity(card: Path, run: Path, folder: Path) -> tiny.Result:
    """Velocity for every quarter of a second, beside a Wiener filter."""
    path = recipe(
        card,
        folder,
        "{kind: track, track: velocity}",
        "{kind: sequence, rows: apart}",
        "regressors: [{kind: wiener, bins: 5, resolution: 0.025}]\n",
    )
    return finetuned(path, run, folder / "velocity")


def test_velocity_is_decoded_for_every_patch(velocity: tiny.Result) -> None:
    rows = {row["name"]: row for row in velocity.json["rows"]}
    assert list(rows) == [
        "chance",
        "shuffled",
        "untrained",
        "frozen",
        "classical:wiener",
        "scratch",
        "finetuned",
    ]
    assert velocity.json["metric"] == "r2" and rows["chance"]["score"] == 0.0
    assert rows["classical:wiener"]["score"] > 0.3
    assert rows["finetuned"]["score"] > 0.3 and rows["frozen"]["low"] > 0.1
    assert rows["finetuned"]["low"] < rows["finetuned"]["score"] < rows["finetuned"]["high"]


def test_a_decoder_of_numbers_reads_a_new_file(velocity: tiny.Result, folder: Path) -> None:
    """In the target's own unit and at the times of the patches: near the hand of a file, far from that of another."""
    decoder = BrainFM.from_pretrained(velocity.json["decoder"])
    assert decoder.decoder is not None and decoder.decoder.answer.of == "values"
    words = ("predict", velocity.json["decoder"], folder / "files" / "m_demo.mat")
    found = tiny.brainfm(*words, "--subject", "m", "--json")
    assert found.code == 0 and found.json["notes"] == [], found.err
    windows = found.json["windows"]
    assert len(windows) == SECONDS * 4 and found.json["seconds"] == 0.25 and found.json["of"] == "values"
    assert [row["start"] for row in windows[:5]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    told = np.array([[row["value"][name] for name in found.json["labels"]] for row in windows])
    true = neurons().tracks["velocity"].data.reshape(-1, 10, 2).mean(axis=1)
    error = 1 - ((told - true) ** 2).sum() / ((true - true.mean(axis=0)) ** 2).sum()
    assert error > 0.4
    table = tiny.brainfm(*words, "--stranger").out
    assert table.splitlines()[0] == "start,seconds,velocity.1,velocity.2"
    said = tiny.only_sentence(tiny.brainfm(*words))
    assert "knows the sensors of subject m, and none of" in said and "--subject and --session" in said


def test_counts_of_hidden_neurons_are_told(card: Path, run: Path, folder: Path) -> None:
    path = recipe(card, folder, "{kind: neurons, every: 4}", "{kind: sequence, rows: apart}")
    found = finetuned(path, run, folder / "neurons").json
    rows = {row["name"]: row["score"] for row in found["rows"]}
    assert found["metric"] == "co_bps" and rows["finetuned"] > 0.02 and rows["frozen"] > 0.02
    decoder = BrainFM.from_pretrained(found["decoder"]).decoder
    assert decoder is not None and decoder.labels == ["n004", "n008"] and len(decoder.sensors) == 6


def test_a_probe_takes_a_task(card: Path, run: Path, folder: Path, velocity: tiny.Result) -> None:
    """The same frozen row as beside fine-tuning, and a report of the card."""
    path = next(path for path in folder.glob("task-*.yaml") if "wiener" in path.read_text(encoding="utf-8"))
    found = tiny.brainfm("probe", run, path, "--seeds", "1", "--out", folder / "probe", "--json")
    assert found.code == 0, found.err
    for name in ("frozen", "untrained", "classical:wiener"):
        (one,), (other,) = (
            [row for row in said["rows"] if row["name"] == name] for said in (found.json, velocity.json)
        )
        assert one == other
    assert (folder / "probe" / "report.html").exists()


@pytest.mark.usefixtures("velocity")
def test_poolings_that_do_not_keep_time_are_refused_where_parts_are_told(run: Path, folder: Path) -> None:
    """Their columns, cut into as many pieces as there are parts, would be scored as if they were moments."""
    path = next(path for path in folder.glob("task-*.yaml") if "wiener" in path.read_text(encoding="utf-8"))
    for pool in ("mean", "place", "sensor", "all"):
        said = tiny.only_sentence(tiny.brainfm("probe", run, path, "--pool", pool, "--seeds", "1", "--json"))
        assert f"4 parts of each window are told, and pooling by {pool} does not keep them apart" in said
        assert said.endswith("use --pool time or moments")
    for pool in ("time", "moments"):
        found = tiny.brainfm("probe", run, path, "--pool", pool, "--seeds", "1", "--json")
        assert found.code == 0 and found.json["pool"] == pool, found.err


@pytest.mark.usefixtures("velocity")
def test_another_target_has_a_folder_of_its_own(card: Path, run: Path, folder: Path) -> None:
    path = recipe(card, folder, "{kind: track, track: velocity, lag: 0.1}", "{kind: sequence, rows: apart}")
    said = tiny.only_sentence(
        tiny.brainfm("finetune", path, "--from", run, "--out", folder / "velocity", "--json")
    )
    assert "belongs to a run of another recipe and data" in said


def test_the_segment_that_went_with_a_window_is_found(card: Path, run: Path, folder: Path) -> None:
    """Of 239 segments the right one is among ten far more often than by chance."""
    found = finetuned(
        recipe(card, folder, "{kind: segment, track: velocity, steps: 4}", "{kind: linear, pool: all}"),
        run,
        folder / "segment",
    ).json
    rows = {row["name"]: row["score"] for row in found["rows"]}
    assert found["metric"] == "top_10" and rows["chance"] == pytest.approx(10 / 239, abs=0.001)
    assert rows["finetuned"] > 5 * rows["chance"] and rows["frozen"] > 5 * rows["chance"]


def test_a_segment_out_of_joint_is_not_found(card: Path) -> None:
    score = {}
    for lag in (0.0, 17.3):
        segment = target("segment", track="velocity", steps=4, lag=lag)
        evaluation = Targeted.of_target(
            DataCard.load(card), segment, 1, "WithinSession", Sliding(seconds=1.0, stride=0.5)
        )
        counts = neurons().signal("spikes").load()
        starts = np.round(evaluation.windows.start * 40).astype(int)
        features = np.stack([counts[:, at : at + 40].reshape(8, 4, 10).sum(axis=2).ravel() for at in starts])
        said = evaluation.out_of_fold(
            lambda _, fold, told=evaluation, held=features: told.probe(held.astype(np.float32), fold)
        )
        score[lag] = evaluation.row("x", [said]).score / evaluation.chance().score
    assert score[0.0] > 6 and score[17.3] < 2


def test_an_answer_is_learnt_in_its_own_way() -> None:
    """Numbers are standardised, counts stand over their mean, parts without a label weigh nothing."""
    value = np.random.default_rng(0).normal(5, 3, (50, 2, 1))
    numbers = Answer.to(Targets(value, ("a",), "values", "m"))
    _, perfect = numbers.loss(torch.tensor((value - value.mean()) / value.std()), torch.tensor(value))
    assert float(perfect) < 1e-10
    output = torch.zeros(50, 2, 1)
    np.testing.assert_allclose(numbers.told(output), value.mean())
    counts = Answer.to(Targets(np.full((50, 2, 1), 4.0), ("n",), "rates"))
    np.testing.assert_allclose(counts.told(output), 4.0)
    label = torch.tensor([[0, -1], [1, -1]])
    logits = torch.tensor([[[9.0, 0.0], [0.0, 9.0]], [[0.0, 9.0], [9.0, 0.0]]])
    assert float(Answer().loss(logits, label)[1]) < 1e-3
    assert float(Answer().loss(logits, torch.full_like(label, -1))[1]) == 0.0
    segments = Answer.to(Targets(value, ("a",), "segments", "m"))
    own = torch.tensor((value - value.mean()) / value.std()).float()
    assert segments.loss(own, torch.tensor(value))[1] < segments.loss(own.flip(0), torch.tensor(value))[1]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"labels": ["a", "b"], "target": {"kind": "track", "track": "x"}}, "give one of the two"),
        ({"head": {"kind": "sequence", "rows": "mean"}}, "needs a target that tells of them"),
        ({"metric": "r2"}, "metric, folds, gap and regressors are for a target"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(sections: dict[str, Any], words: str) -> None:
    usual = {
        "card": "x",
        "head": {"kind": "linear", "pool": "mean"},
        "train": {"steps": 1, "learning_rate": 1.0},
    }
    with pytest.raises(RecipeError, match=words):
        FinetuneRecipe.resolve({**usual, **sections})


def test_a_score_of_labels_is_no_score_of_numbers(card: Path) -> None:
    with pytest.raises(DataError, match="balanced_accuracy is no score of values; take one of r2, pearson_r"):
        Targeted.of_target(
            DataCard.load(card),
            target("track", track="velocity"),
            1,
            "WithinSession",
            Sliding(seconds=1.0),
            metric="balanced_accuracy",
        )
