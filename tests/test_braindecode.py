"""braindecode's models by name and by weights, and our encoder in braindecode's own classifier. Skips without braindecode."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from brainfm.adapters import named
from brainfm.adapters.braindecode import TABLE
from brainfm.errors import CheckpointError
from brainfm.jobs.probe import Options, probe
from brainfm.scores import Scores
from brainfm.window_encoder import WindowEncoder

models = pytest.importorskip("braindecode.models", reason="braindecode is an extra: pip install braindecode")
QUICK = Options(quiet=True, classical="none", seeds=1)


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    """Four people's trials of two seconds, at 128 Hz."""
    return tiny.people(folder, subjects=4, seconds=40.0)


def rows(scores: Scores) -> list[str]:
    return [row.name for row in scores.rows]


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    """What stands for released weights of a small BIOT: another seed's, for 16 bipolar channels of the 10-20 system."""
    torch.manual_seed(5)
    model = models.BIOT(
        n_chans=16, n_times=400, n_outputs=4, sfreq=200, embed_dim=32, num_layers=1, num_heads=2
    )
    at = folder / "biot"
    at.mkdir()
    save_file({key: value.clone() for key, value in model.state_dict().items()}, at / "model.safetensors")
    said = {"n_chans": 16, "sfreq": 200, "embed_dim": 32, "num_layers": 1, "num_heads": 2}
    (at / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return at


@pytest.fixture(scope="module")
def whole_head(folder: Path) -> Path:
    """Four people with the 10-20 system, of which bipolar channels can be made."""
    reader = "{kind: simulated, subjects: 4, seconds: 40.0, sensors: 19}"
    return tiny.card(folder, "whole_head", reader)


def test_a_model_by_name_gets_the_whole_table(card: Path) -> None:
    scores = probe(["braindecode:BIOT"], card, replace(QUICK, classical="card"))
    assert rows(scores) == ["chance", "shuffled", "untrained", "frozen"]
    said = " ".join(scores.notes)
    assert "has no weights" in said and "brought up to the model's 200 Hz" in said


@pytest.mark.parametrize("name", ["Labram", "CBraMod", "EEGNet", "ShallowFBCSPNet"])
def test_models_of_every_manner_give_features(card: Path, name: str) -> None:
    model = named(f"braindecode:{name}")
    assert model is not None
    model.maker.settings = (
        {"n_layer": 1} if name == "CBraMod" else {"num_layers": 1} if name == "Labram" else {}
    )  # type: ignore[attr-defined]
    scores = probe([model], card, QUICK)
    assert rows(scores) == ["chance", "shuffled", "untrained", "frozen"]
    assert scores.pool == ("sensor" if name == "CBraMod" else "mean")
    # no weights: the frozen network is the untrained one of seed 0
    assert scores.rows[2].score == pytest.approx(scores.rows[3].score)


def test_weights_are_loaded_whole_and_counted(weights: Path, whole_head: Path) -> None:
    scores = probe([f"braindecode:BIOT@{weights}"], whole_head, QUICK)
    count = len(
        [key for key in load_file(weights / "model.safetensors") if not key.startswith("final_layer.")]
    )
    assert any(f"100.0% of {count} tensors loaded, 0 left over" in note for note in scores.notes)
    assert scores.rows[1].score != scores.rows[2].score


def test_weights_come_from_the_hub_by_their_name(weights: Path, whole_head: Path) -> None:
    with mock.patch("huggingface_hub.snapshot_download", return_value=str(weights)) as asked:
        there = probe(["braindecode:BIOT@lab/biot"], whole_head, QUICK)
    assert asked.call_args.args[0] == "lab/biot"
    here = probe([f"braindecode:BIOT@{weights}"], whole_head, QUICK)
    assert [row.score for row in there.rows] == [row.score for row in here.rows]


def changed(weights: Path, to: Path, **said: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A copy's tensors and config, to be spoilt."""
    to.mkdir()
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    return load_file(weights / "model.safetensors"), {**config, **said}


def kept(to: Path, state: dict[str, torch.Tensor], config: dict[str, Any]) -> str:
    save_file(state, to / "model.safetensors")
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return f"braindecode:BIOT@{to}"


KEY = "encoder.patch_embedding.projection.weight"


@pytest.mark.parametrize("how", ["renamed", "missing", "reshaped", "rate", "unit"])
def test_less_than_the_whole_backbone_is_refused(
    how: str, weights: Path, whole_head: Path, tmp_path: Path
) -> None:
    state, config = changed(weights, tmp_path / how)
    tensor = state[KEY]
    if how == "renamed":
        state["encoder.embedding.weight"] = state.pop(KEY)
    elif how == "missing":
        del state[KEY]
    elif how == "reshaped":
        state[KEY] = tensor[:, :50].clone()
    elif how == "rate":
        config["sfreq"] = 256
    name = kept(tmp_path / how, state, config)
    if how == "unit":
        name = name.replace("BIOT", "EEGNet")
    words = {
        "renamed": f"lacks 1 of the backbone's .* tensors \\({KEY}\\)",
        "missing": f"lacks 1 of the backbone's .* tensors \\({KEY}\\)",
        "reshaped": f"has in another shape 1 of .* \\({KEY}\\)",
        "rate": "its config says 256 Hz, but BIOT is a model of 200 Hz",
        "unit": "does not know in which unit EEGNet reads signals",
    }
    with pytest.raises(CheckpointError, match=words[how]) as caught:
        probe([name], whole_head, QUICK)
    assert "\n" not in str(caught.value)


def test_a_wrong_montage_is_refused(weights: Path, card: Path) -> None:
    result = tiny.brainfm("probe", f"braindecode:BIOT@{weights}", card)
    said = tiny.only_sentence(result)
    assert "of the 16 sensors that this model reads" in said and "lacks FP1-F7" in said


def test_a_name_that_braindecode_lacks_is_refused(card: Path) -> None:
    said = tiny.only_sentence(tiny.brainfm("probe", "braindecode:Labramm", card))
    assert "braindecode has no model 'Labramm'; did you mean 'Labram'?" in said


def test_what_is_known_of_units_is_about_models_that_exist() -> None:
    assert set(TABLE) <= set(vars(models))


def windows(seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """One person's trials, their hands, and MNE's description of the channels."""
    recording = tiny.person(seed, 120.0)
    raw = tiny.raw_of(recording).set_montage("standard_1005")
    data, marks = raw.get_data(), recording.events
    starts = (marks.onset * 128).astype(int)
    label = np.array([word == "right_hand" for word in marks.label], np.int64)
    return np.stack([data[:, at : at + 256] for at in starts]).astype(np.float32), label, raw.info["chs"]


def loss(probability: np.ndarray, y: np.ndarray) -> float:
    """Cross-entropy."""
    return float(-np.log(probability[np.arange(len(y)), y]).mean())


def test_our_encoder_learns_in_braindecodes_classifier() -> None:
    from braindecode import EEGClassifier
    from skorch.helper import SliceDataset  # noqa: F401 # skorch is braindecode's trainer

    x, y, chs = windows()
    torch.manual_seed(0)
    net = EEGClassifier(
        WindowEncoder,
        module__chs_info=chs,
        module__sfreq=128.0,
        module__checkpoint="brainfm-tiny",
        optimizer=torch.optim.AdamW,
        optimizer__lr=1e-3,
        train_split=None,
        batch_size=8,  # braindecode drops a last batch that is not full
        max_epochs=12,
        classes=[0, 1],
        verbose=0,
    )
    before = loss(net.set_params(max_epochs=0).fit(x, y).predict_proba(x), y)
    net.set_params(max_epochs=12).fit(x, y)
    assert loss(net.predict_proba(x), y) < 0.5 * before and net.score(x, y) > 0.9
    assert net.predict_proba(x).shape == (len(x), 2)
    assert net.module_.final_layer.out_features == 2
    features = net.module_.eval()(torch.from_numpy(x), return_features=True)["features"]
    assert features.shape == (len(x), 128 * x.shape[1])
