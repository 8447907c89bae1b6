"""A layer for each subject: nothing at first, what it is for in the end, and what strangers get."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from brainfm.batch import number_of
from brainfm.corpus import Plan, Stream
from brainfm.data.readers import Reader
from brainfm.data.windows.trials import Trials
from brainfm.errors import RecipeError
from brainfm.heads.linear import Linear
from brainfm.jobs.finetune import Finetuning, _Decode, adapt
from brainfm.layers.subjects import SubjectLayer
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings
from brainfm.recipe import FinetuneRecipe

IDS = [number_of("d/01"), number_of("d/02")]


def test_everyone_begins_as_they_are() -> None:
    layer = SubjectLayer(ids=IDS).build(4)
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x, torch.tensor([*IDS, 7])), x, rtol=0, atol=0)
    torch.testing.assert_close(layer(x, None), x, rtol=0, atol=0)


@pytest.mark.parametrize("unknown", ["identity", "mean"])
def test_each_has_a_map_and_a_stranger_what_was_asked_for(unknown: str) -> None:
    layer = SubjectLayer.model_validate({"ids": IDS, "unknown": unknown}).build(4)
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(layer.change, generator=generator)
    x = torch.randn(4, 5, 4, generator=generator)
    maps = torch.eye(4) + layer.change
    stranger = maps.mean(dim=0) if unknown == "mean" else torch.eye(4)
    found = layer(x, torch.tensor([IDS[1], IDS[0], 7, 0]))
    for row, one in enumerate((maps[1], maps[0], stranger, stranger)):
        torch.testing.assert_close(found[row], x[row] @ one.T)


def test_a_batch_says_whose_each_window_is(streams: dict[str, Stream]) -> None:
    stream = streams["eeg"]
    assert stream.batch(np.arange(2)).subject.tolist() == [0, 0], "this person has no name"
    named = replace(stream, recordings=[replace(one, dataset="d", subject="02") for one in stream.recordings])
    batch = named.batch(np.arange(3))
    assert batch.subject.tolist() == [IDS[1]] * 3
    assert batch.windows(slice(0, 2)).subject.tolist() == [IDS[1]] * 2


def two_people(stream: Stream) -> Stream:
    """The same windows as those of two people, in whom the label means the opposite."""
    (one,) = stream.recordings
    people = [replace(one, dataset="d", subject=name) for name in ("01", "02")]
    windows, n = stream.windows, len(stream.windows)
    label = np.arange(n, dtype=np.int64) % 2
    both = replace(
        windows,
        recording=np.repeat([0, 1], n),
        start=np.tile(windows.start, 2),
        label=np.concatenate([label, 1 - label]),
        labels=("a", "b"),
    )
    return replace(stream, recordings=people, windows=both)


@pytest.mark.parametrize(("layer", "least", "most"), [(None, 0.0, 0.6), (SubjectLayer(ids=IDS), 0.9, 1.0)])
def test_what_means_the_opposite_in_another_is_learnt_with_it_and_not_without(
    layer: SubjectLayer | None,
    least: float,
    most: float,
    model: BrainFM,
    streams: dict[str, Stream],
    tmp_path: Path,
) -> None:
    stream = two_people(streams["eeg"])
    settings = DecoderSettings(
        head=Linear(pool="all"), labels=["a", "b"], modality="eeg", sensors=[], channels=8,
        window=Trials(seconds=2.0), reader=Reader.model_validate({"kind": "mne_file"}), events=None, card="d",
        recipe="", subjects=layer,
    )  # fmt: skip
    train = {"steps": 120, "batch": 20, "learning_rate": 1e-3, "precision": "no", "save_every": 1000}
    sections = {"card": "simulated_eeg", "head": {"kind": "linear", "pool": "all"}, "train": train}
    recipe = FinetuneRecipe.resolve({**sections, "adaptation": [{"kind": "frozen"}]})
    net = model.with_decoder(settings, 0)
    task = Finetuning(Plan({"eeg": stream}, 20, 0), _Decode(net), net, recipe.adaptation[0], torch.ones(2))
    tuned = adapt(task, recipe, 0, tmp_path / "run", {"recipe": recipe.hash})
    said = tuned.probabilities(stream, np.arange(len(stream.windows))).argmax(axis=1)
    right = float((said == stream.windows.label).mean())
    assert least <= right <= most
    if layer is None:
        return
    start = model.state_dict()
    assert all(torch.equal(one, start[name]) for name, one in tuned.state_dict().items() if name in start)
    tuned.save_pretrained(tmp_path / "decoder")
    found = BrainFM.from_pretrained(tmp_path / "decoder")
    again = found.probabilities(stream, np.arange(len(stream.windows)))
    np.testing.assert_allclose(again, tuned.probabilities(stream, np.arange(len(again))), atol=1e-6)


def test_a_decoder_with_a_layer_for_each_subject(tmp_path: Path) -> None:
    """From the command line to a file: whose it is changes what is said, and a subject who has no map is refused."""
    card = tiny.edf_people(tmp_path, subjects=2, seconds=40.0)
    assert tiny.brainfm(*tiny.train_words(card, tmp_path / "run", steps=2)).code == 0
    sets = tiny.sets(f"card={card}", "train.steps=6", "train.precision=no", "subject_layer={unknown: mean}")
    made = tiny.brainfm(
        "finetune", "smoke", "--from", tmp_path / "run", "--out", tmp_path / "out", *sets, "--json"
    )
    assert made.code == 0, made.err
    settings = BrainFM.from_pretrained(made.json["decoder"]).decoder
    assert settings is not None and settings.subjects is not None
    assert settings.subjects.ids == [number_of(f"edf_people/{who}") for who in ("01", "02")]
    fold = BrainFM.from_pretrained(tmp_path / "out" / "folds" / "finetuned-0-0").decoder
    assert fold is not None and fold.subjects is not None and len(fold.subjects.ids) == 1, (
        "not of whom it is tested on"
    )
    file = tmp_path / "edf" / "sub01.edf"
    said = {}
    for who in ([], ["--subject", "01"], ["--subject", "02"]):
        found = tiny.brainfm("predict", made.json["decoder"], file, *who, "--json")
        said[" ".join(who)] = [row["probability"]["left_hand"] for row in found.json["windows"]]
    assert len({str(one) for one in said.values()}) == 3
    refused = tiny.only_sentence(tiny.brainfm("predict", made.json["decoder"], file, "--subject", "09"))
    assert refused == "the decoder of edf_people has no map for subject 09; leave --subject away"


def test_who_there_is_is_known_when_the_run_starts() -> None:
    sections = {
        "card": "x",
        "head": {"kind": "linear", "pool": "mean"},
        "train": {"steps": 1, "learning_rate": 1.0},
    }
    with pytest.raises(RecipeError, match="ids is known only when the run starts"):
        FinetuneRecipe.resolve({**sections, "subject_layer": {"ids": [3]}})
