"""Codes of real tokenizers: trained, resumed to the bit, refused where they are hardly used, looked at."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import MakeRecipe

from brainfm.batch import Batch
from brainfm.chance import entropy
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import CheckpointError, DataError, RecipeError
from brainfm.gather import stream
from brainfm.held_out import kept_back
from brainfm.jobs.tokenize import EVERY, gather, learner
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.recipe import TokenizeRecipe

SIGNAL = {
    "prepare": [{"kind": "robust_scale", "scope": "recording", "clip": 15.0}],
    "seconds": 2.0,
    "tokenizer": {"kind": "patch", "seconds": 0.125, "sfreq": 128.0},
}
CODES = {"modality": "eeg", "quantizer": {"kind": "vq", "codes": 16}, "hidden": 16, "width": 8}
TRAIN = {"steps": 6, "batch": 16, "learning_rate": 2e-3, "precision": "no", "save_every": 3}
KEYS = {"usage", "perplexity", "dead", "correlation", "spectral_error", "bits_per_second", "advice"}
LEVELS = ["{kind: vq, codes: 16}", "{kind: rvq, codes: 8, depth: 2}", "{kind: fsq, levels: [4, 4]}"]


def write(folder: Path, card: Path, **sections: Any) -> Path:
    """A recipe file of a tiny codec."""
    sections = {**SIGNAL, "codes": CODES, "data": {"cards": [str(card)]}, "train": TRAIN, **sections}
    path = folder / "tiny_codes.yaml"
    path.write_text("# A test's codes.\n" + json.dumps(sections), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated people of forty seconds."""
    return tiny.people(tmp_path_factory.mktemp("card"), subjects=2, seconds=40.0)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, card: Path) -> Path:
    return write(tmp_path_factory.mktemp("recipe"), card)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A codec that passed."""
    out = tmp_path_factory.mktemp("run") / "codes"
    result = tiny.brainfm("tokenize", "train", recipe, "--out", out, "--json")
    assert result.code == 0, result.err
    assert result.json.keys() >= KEYS and result.json["codec"] == str(out / "codec")
    return out


@pytest.fixture(scope="module")
def codec(run: Path) -> Codec:
    return Codec.load(run)


def windows(recording: Recording, codec: Codec, rows: int = 4, seconds: float = 2.0) -> Batch:
    """The first windows of a raw recording, prepared as the codec wants them."""
    prepared = codec.prepare([recording])
    cut = Sliding(seconds=seconds)(prepared, "eeg", [])
    return Stream("eeg", prepared, cut, codec.recipe.prepare).batch(np.arange(rows))


def person(seconds: float = 20.0) -> Recording:
    return modality("eeg").simulate(np.random.default_rng(3), seconds=seconds, sensors=8)


def test_a_run_leaves_a_codec_its_log_and_a_report(run: Path, codec: Codec) -> None:
    assert {path.name for path in (run / "codec").iterdir()} == {
        "config.json",
        "manifest.json",
        "model.safetensors",
    }
    assert [row["step"] for row in tiny.rows(run)] == [1, 2, 3, 4, 5, 6]
    assert {"signal", "amplitude", "phase", "commitment"} <= tiny.rows(run)[0].keys()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "mathdefault" not in page, "an axis is labelled with a formula"
    assert "What the codes say" in page and "Rate and distortion" in page and "Which codes are used" in page
    assert codec.health is not None and codec.health.ok
    assert [entry.subject for entry in codec.manifest.entries] == ["01", "02"]


def test_training_makes_the_codes_say_more(run: Path, recipe: Path) -> None:
    untrained = learner(gather(TokenizeRecipe.load(recipe))).eval()
    trained, batch = Codec.load(run), windows(person(), untrained)

    def error(codec: Codec) -> float:
        one = codec.reconstruct(batch)
        return float((one.held - one.told).square().mean() / one.held.square().mean())

    assert error(trained) < error(untrained)


def test_killed_and_resumed_it_is_the_same_to_the_bit(run: Path, recipe: Path, tmp_path: Path) -> None:
    """Through k-means, running means and codes that start again."""
    out = tmp_path / "again"
    shutil.copytree(run, out)
    shutil.rmtree(out / "codec")
    shutil.rmtree(out / "checkpoints" / "step-00000006")
    result = tiny.brainfm("tokenize", "train", recipe, "--out", out, "--json")
    assert result.code == 0, result.err
    assert tiny.rows(out) == tiny.rows(run)
    for name in (
        "codec/model.safetensors",
        "codec/config.json",
        "checkpoints/step-00000006/training.safetensors",
    ):
        assert (out / name).read_bytes() == (run / name).read_bytes(), name


def test_a_codebook_too_large_for_its_corpus_fails_with_the_size_to_take(
    recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "large"
    words = ["tokenize", "train", recipe, "--out", out]
    large = tiny.sets("codes.quantizer={kind: vq, codes: 1024, kmeans: false, restart: 0.0}")
    sentence = tiny.only_sentence(tiny.brainfm(*words, *large, "--json"))
    assert "of 1024 codes are used" in sentence and "under the 80%" in sentence and "take codes: " in sentence
    assert not (out / "codec").exists() and (out / "report.html").exists()
    assert json.loads((out / "health.json").read_text())["ok"] is False
    for folder in (out, out / "checkpoints" / "step-00000006"):
        with pytest.raises(CheckpointError, match="no codec that passed"):
            Codec.load(folder)
    looked = tiny.brainfm("tokenize", "inspect", out, "--json")
    assert looked.code == 0 and looked.json["ok"] is False and looked.json["dead"] > 204
    advised = int(sentence.partition("take codes: ")[2].partition(",")[0])
    fits = tiny.sets(f"codes.quantizer={{kind: vq, codes: {advised}}}")
    result = tiny.brainfm("tokenize", "train", recipe, "--out", tmp_path / "fits", *fits, "--json")
    assert result.code == 0 and result.json["usage"] >= 0.8


def test_the_same_run_can_be_judged_otherwise(run: Path, recipe: Path, tmp_path: Path) -> None:
    """The threshold decides no loss: training is not repeated, and a codec that no longer passes is taken away."""
    out, large = tmp_path / "run", tiny.sets("codes.quantizer={kind: vq, codes: 512, restart: 0.0}")
    words = ["tokenize", "train", recipe, "--out", out, *large]
    assert tiny.brainfm(*words, "--set", "codes.usage=0.01", "--json").code == 0
    rows = tiny.rows(out)
    assert (out / "codec").exists()
    tiny.only_sentence(tiny.brainfm(*words, "--set", "codes.usage=0.999", "--json"))
    assert not (out / "codec").exists() and tiny.rows(out) == rows


@pytest.mark.parametrize("quantizer", LEVELS)
def test_inspect_says_what_fewer_bits_would_say(
    quantizer: str, recipe: Path, run: Path, tmp_path: Path
) -> None:
    out = run
    if "vq, codes: 16" not in quantizer:
        out = tmp_path / "run"
        settings = tiny.sets(f"codes.quantizer={quantizer}", "codes.usage=0.1")
        assert tiny.brainfm("tokenize", "train", recipe, "--out", out, *settings, "--json").code == 0
    found = tiny.brainfm("tokenize", "inspect", out, "--json", "--out", tmp_path / "page").json
    assert found.keys() >= KEYS and (tmp_path / "page" / "report.html").exists()
    points = found["rate_distortion"]
    bits = [point["bits_per_second"] for point in points]
    assert bits == sorted(bits) and bits[-1] == pytest.approx(found["bits_per_second"])
    assert points[-1]["correlation"] == pytest.approx(found["correlation"])
    if "rvq" in quantizer:
        assert [point["bits_per_second"] for point in points] == pytest.approx([3 / 0.125, 6 / 0.125])


def test_inspect_of_a_card_leaves_out_what_was_trained_on(run: Path, card: Path, tmp_path: Path) -> None:
    seen = tiny.brainfm("tokenize", "inspect", run, "--card", card, "--out", tmp_path / "a", "--json").json
    assert seen["on"].endswith("trained on")
    more = tiny.people(tmp_path, subjects=3, seconds=40.0)
    fresh = tiny.brainfm("tokenize", "inspect", run, "--card", more, "--out", tmp_path / "b", "--json").json
    assert fresh["on"].startswith("1 recordings of ")


def test_held_out_people_are_not_trained_on(card: Path, tmp_path: Path) -> None:
    path = write(tmp_path, card, data={"cards": [str(card)], "hold_out": {card.stem: ["02"]}})
    data = gather(TokenizeRecipe.load(path))
    assert [one.subject for one in data.train.recordings] == ["01"] and data.on == "held-out recordings"
    assert [one.subject for one in data.test.recordings] == ["02"]
    assert [entry.subject for entry in data.manifest.entries] == ["01"]


def test_other_cards_keep_who_is_held_out_of_those_that_stay(card: Path, tmp_path: Path) -> None:
    held = {card.stem: ["02"], "simulated_eeg": ["01"]}
    path = write(tmp_path, card, data={"cards": [str(card), "simulated_eeg"], "hold_out": held})
    on = TokenizeRecipe.load(path).on([str(card)])
    assert on.data.cards == [str(card)] and on.data.hold_out == {card.stem: ["02"]}
    assert on.hash != TokenizeRecipe.load(path).hash


def test_stretches_that_are_kept_back_share_no_sample(recipe: Path) -> None:
    loaded = TokenizeRecipe.load(recipe, ["stride=0.5"])
    data = gather(loaded)
    train, test = data.train.windows, data.test.windows
    assert len(train) > 3 * len(test) > 0
    for index, start in zip(test.recording, test.start, strict=True):
        others = train.start[train.recording == index]
        assert (np.abs(others - start) >= train.seconds - 1e-9).all()
    assert sum(train.dropped.values()) > 0


def test_recordings_too_short_to_keep_anything_back_are_said_to_be_seen(recipe: Path) -> None:
    loaded = TokenizeRecipe.load(recipe)
    short = stream([person(8.0)], loaded, "eeg")
    train, test = kept_back(short, EVERY)
    assert train is short and test is None


def test_codes_are_of_the_signal_not_of_its_unit(codec: Codec) -> None:
    recording = person()
    signal = recording.signal("eeg")
    raised = replace(signal, data=signal.load() * 1e6)
    scaled = recording.with_signal("eeg", raised)
    assert torch.equal(codec.codes(windows(recording, codec)), codec.codes(windows(scaled, codec)))


def test_a_code_is_of_its_own_patch_alone(codec: Codec) -> None:
    """Wherever it lies in the window, and whatever happens on another sensor or before it."""
    batch = windows(person(), codec)
    codes = codec.codes(batch).unflatten(1, (8, 16))
    later = replace(batch, signal=batch.signal.roll(-16, dims=-1))
    assert torch.equal(codec.codes(later).unflatten(1, (8, 16))[:, :, :-1], codes[:, :, 1:])
    loud = batch.signal.clone()
    loud[:, 0, :16] += 100.0
    struck = codec.codes(replace(batch, signal=loud)).unflatten(1, (8, 16))
    assert torch.equal(struck[:, 1:], codes[:, 1:]) and torch.equal(struck[:, 0, 1:], codes[:, 0, 1:])


def test_tokens_carry_their_codes_and_keep_them_when_some_are_taken(codec: Codec) -> None:
    batch = windows(person(), codec)
    tokens = codec.tokenize(batch).tokens
    assert tokens.code is not None and tokens.code.shape == (4, 128, 1) and tokens.code.dtype == torch.int64
    index = torch.tensor([[5, 3]] * 4)
    taken = tokens.take(index)
    assert taken.code is not None and torch.equal(taken.code, tokens.code[:, [5, 3]])
    plain, _ = codec.held(batch)
    assert plain.tokens.code is None and plain.tokens.take(index).code is None


def test_a_model_tells_the_codes_of_an_attached_codec(codec: Codec, make_recipe: MakeRecipe) -> None:
    batch = windows(person(), codec)
    like = make_recipe(signals={"eeg": SIGNAL})
    model = BrainFM.fresh(BrainFMConfig.of(like), 0)
    assert model.tokenize(batch).tokens.code is None
    model.attach(codec)
    code = model.tokenize(batch).tokens.code
    assert code is not None and torch.equal(code, codec.codes(batch))
    assert not [name for name in model.state_dict() if "codec" in name]
    with pytest.raises(DataError, match="tokens are made otherwise than this model's"):
        BrainFM.fresh(BrainFMConfig.of(make_recipe()), 0).attach(codec)  # patches of another length


def test_the_order_of_sensors_is_the_order_of_codes(codec: Codec) -> None:
    batch, order = windows(person(), codec), torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    codes = codec.codes(batch).unflatten(1, (8, 16))
    assert torch.equal(codec.codes(batch.sensors(order)).unflatten(1, (8, 16)), codes[:, order])


def test_padding_is_not_learnt_from(recipe: Path) -> None:
    codec = learner(gather(TokenizeRecipe.load(recipe)))
    batch = windows(person(), codec)
    valid = batch.valid.clone()
    valid[:, 6:] = False
    padded = replace(batch, valid=valid, padded=True)
    noise = padded.signal.clone()
    noise[:, 6:] = 1e3
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    losses = []
    for signal in (padded.signal, noise):
        codec.load_state_dict(state)
        generator = torch.Generator().manual_seed(entropy(0, 1))
        losses.append(codec(replace(padded, signal=signal), generator).total.item())
    assert losses[0] == losses[1]


def test_what_the_tokenizer_is_to_learn_is_learnt_with_the_codes(card: Path, tmp_path: Path) -> None:
    settings = {"kind": "sources", "seconds": 0.125, "sfreq": 128.0, "sources": 4, "heads": 1, "hidden": 16}
    out = tmp_path / "run"
    path = write(tmp_path, card, tokenizer=settings, codes={**CODES, "usage": 0.0})
    result = tiny.brainfm("tokenize", "train", path, "--out", out, "--json")
    assert result.code == 0, result.err
    assert "sources" in tiny.rows(out)[0]
    assert result.json["bits_per_second"] == pytest.approx(4 / 0.125 * 4 / 8), (
        "four sources say eight sensors"
    )
    loaded = Codec.load(out)
    assert loaded.codes(windows(person(), loaded)).shape == (4, 64, 1)


def test_a_modality_that_the_tokenizer_cannot_read_is_refused(card: Path, tmp_path: Path) -> None:
    settings = {"kind": "regions", "scale": "channel", "seconds": 0.125, "sfreq": 128.0}
    with pytest.raises(RecipeError, match="eeg can't be read by the tokenizer regions"):
        TokenizeRecipe.load(write(tmp_path, card, tokenizer=settings))


def of_spikes(folder: Path) -> Path:
    """A card of one simulated recording of another instrument."""
    reader = "{kind: simulated, modality: spikes, subjects: 1, seconds: 10.0, sensors: 4}"
    path = tiny.card(folder, "of_spikes", reader, more="")
    path.write_text(path.read_text(encoding="utf-8").replace("modality: eeg\n", "modality: spikes\n"))
    return path


def test_mistakes_are_one_sentence(run: Path, card: Path, recipe: Path, tmp_path: Path) -> None:
    def sentence(*words: Any) -> str:
        return tiny.only_sentence(tiny.brainfm("tokenize", *words))

    without = sentence("train", "patch_250ms", "--out", tmp_path / "a")
    assert "has no `codes:` section" in without and "codes_eeg, " in without and "eegformer, " in without
    events = "tokenizer={kind: spike_events, seconds: 0.1, sfreq: 1000.0}"
    assert "which is discrete already and has no codes" in sentence("train", "codes_spikes", "--set", events)
    assert "is no folder" in sentence("inspect", tmp_path / "nothing")
    assert "'codez' is not known" in sentence(
        "train", recipe, "--set", "codes.quantizer={kind: vq, codez: 3}"
    )
    assert "hold no eeg recording" in sentence("inspect", run, "--card", of_spikes(tmp_path))
    assert "belongs to a run of another recipe" in sentence("train", recipe, "--out", run, "--seed", "3")
    assert "can't start a codebook of 100000 codes" in sentence(
        "train", recipe, "--out", tmp_path / "b", "--set", "codes.quantizer={kind: vq, codes: 100000}"
    )


def test_a_damaged_codec_is_refused(run: Path, tmp_path: Path) -> None:
    for name, text in {"config.json": "{}", "model.safetensors": "no"}.items():
        broken = tmp_path / name.replace(".", "_")
        shutil.copytree(run / "codec", broken)
        (broken / name).write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError):
            Codec.load(broken)


def test_another_modality_is_refused(codec: Codec) -> None:
    with pytest.raises(DataError, match="codes for eeg, not meg"):
        codec.codes(replace(windows(person(), codec), modality="meg"))
