"""Simultaneous recordings: one window with the tokens of several instruments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brainfm.chance import Chance
from brainfm.corpus import Together
from brainfm.data.readers.simulated import Simulated
from brainfm.data.reading import read_entry
from brainfm.data.recording import Recording
from brainfm.errors import DataError, RecipeError
from brainfm.gather import gather
from brainfm.learner import learner
from brainfm.recipe import PretrainRecipe, Simultaneous
from brainfm.tokens import join
from tests import tiny

MakeRecipe = Callable[..., PretrainRecipe]
BOTH = {
    "eeg": {
        "prepare": [{"kind": "resample", "sfreq": 128.0}, {"kind": "robust_scale", "scope": "recording"}],
        "seconds": 2.0,
        "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
    },
    "seeg": {
        "prepare": [{"kind": "resample", "sfreq": 128.0}, {"kind": "robust_scale", "scope": "recording"}],
        "seconds": 1.0,
        "tokenizer": {"kind": "patch", "seconds": 0.5, "sfreq": 128.0},
    },
}


@pytest.fixture(scope="module")
def both() -> Recording:
    part = Simulated(beside=["seeg"], subjects=1, seconds=60.0)
    return read_entry(part, part.find(Path(), "")[0])


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people of whom a cap and electrodes in the brain know at once."""
    path = tmp_path_factory.mktemp("cards") / "both.md"
    text = (Path(__file__).parents[1] / "data_cards" / "simulated_together.md").read_text(encoding="utf-8")
    text = text.replace(
        "beside: [seeg, spikes], subjects: 16", "beside: [seeg], subjects: 3, seconds: 24.0, sensors: 8"
    )
    path.write_text(text, encoding="utf-8")
    return path


def recipe_of(make: MakeRecipe, card: Path, **changes: Any) -> PretrainRecipe:
    given = {"signals": BOTH, "together": [{"modalities": ["eeg", "seeg"]}], "data": {"cards": [str(card)]}}
    return make(**{**given, **changes})


def told(eeg: np.ndarray, seeg: np.ndarray) -> float:
    """How well the cap's second half is told from the contacts by weights of the first: the median correlation."""
    half = eeg.shape[1] // 2
    weights = np.linalg.lstsq(seeg[:, :half].T, eeg[:, :half].T, rcond=1e-3)[0]
    guess = seeg[:, half:].T @ weights
    return float(np.median([np.corrcoef(guess[:, row], eeg[row, half:])[0, 1] for row in range(len(eeg))]))


def test_instruments_see_the_same_session(both: Recording) -> None:
    """What contacts measure tells what the cap measures at that moment, in this person and in no other."""
    assert set(both.signals) == {"eeg", "seeg"}
    assert len(both.tracks["envelopes"].data) == pytest.approx(60 * 16, abs=2)
    alone = Simulated(modality="seeg", subjects=2, seconds=60.0)
    other = read_entry(alone, alone.find(Path(), "")[1])
    eeg = both.signal("eeg").load()
    same, strange = (told(eeg, one.signal("seeg").load()[:, ::2]) for one in (both, other))
    assert same > 0.3 and abs(strange) < 0.15, (same, strange)


def test_windows_are_the_same_seconds_of_each(make_recipe: MakeRecipe, card: Path) -> None:
    _, streams, manifest = gather(recipe_of(make_recipe, card))
    assert list(streams) == ["eeg+seeg"], "recordings that are together are not alone as well"
    stream = streams["eeg+seeg"]
    assert isinstance(stream, Together) and stream.windows.seconds == 2.0
    assert len(manifest.entries) == 6
    eeg, seeg = stream.batches(stream.layouts[0][:3])
    assert (eeg.modality, seeg.modality) == ("eeg", "seeg")
    assert eeg.signal.shape[-1] == seeg.signal.shape[-1] == 256
    assert torch.equal(eeg.recording, seeg.recording)
    assert set(stream.tokens.tolist()) == {8 * 8 + 48 * 4}


def test_the_encoder_sees_both_and_each_is_told_of_from_both(make_recipe: MakeRecipe, card: Path) -> None:
    recipe, streams, _ = gather(recipe_of(make_recipe, card))
    net = learner(recipe, streams)
    stream = streams["eeg+seeg"]
    batches = stream.batches(stream.layouts[0][:3])
    view = net.view(batches, Chance(0))
    seen = view.seen
    assert [one.count for one in seen] == [piece.hidden.seen.shape[1] for piece in view.pieces]
    louder = (batches[0], type(batches[1])(**{**vars(batches[1]), "signal": 3 * batches[1].signal}))
    changed = net.view(louder, Chance(0)).seen
    assert not torch.allclose(changed[0].embedding, seen[0].embedding), "EEG tokens must see sEEG tokens"
    loss = net(batches, Chance(0))
    assert set(loss.parts) == {"patches", "statistics"}
    loss.total.backward()
    names = {name for name, one in net.named_parameters() if one.grad is None}
    assert not names


def test_joined_tokens_keep_their_rows_apart(make_recipe: MakeRecipe, card: Path) -> None:
    recipe, streams, _ = gather(recipe_of(make_recipe, card))
    net = learner(recipe, streams)
    batches = streams["eeg+seeg"].batches(streams["eeg+seeg"].layouts[0][:2])
    eeg, seeg = (net.model.tokenize(batch).tokens for batch in batches)
    both = join([eeg, seeg])
    assert both.rows == 8 + 48 and both.period == 0.0
    assert both.sensor[:, : eeg.count].max() == 7 and both.sensor[:, eeg.count :].min() == 8
    assert both.modality.unique().tolist() == [0, 1]
    assert join([eeg]) is eeg


def test_a_run_on_both_goes_through(make_recipe: MakeRecipe, card: Path, tmp_path: Path) -> None:
    from brainfm.jobs.pretrain import pretrain

    recipe = recipe_of(make_recipe, card, train={"steps": 3, "tokens": 1000, "learning_rate": 1e-3})
    pretrain(recipe, tmp_path / "run", quiet=True)
    assert [row["step"] for row in tiny.rows(tmp_path / "run")] == [1, 2, 3]


def test_what_is_never_together_is_said(make_recipe: MakeRecipe, card: Path) -> None:
    alone = recipe_of(make_recipe, card, data={"cards": ["simulated_eeg", "simulated_seeg"]})
    with pytest.raises(DataError, match="no recording holds eeg and seeg at once"):
        gather(alone, limit=1)
    with pytest.raises(DataError, match="no window of 600 s lies in eeg and seeg at once"):
        gather(recipe_of(make_recipe, card, together=[{"modalities": ["eeg", "seeg"], "seconds": 600.0}]))
    with pytest.raises(RecipeError, match="'meg' is to be together with others but is not among the signals"):
        recipe_of(make_recipe, card, together=[{"modalities": ["eeg", "meg"]}])
    assert Simultaneous(modalities=["eeg", "seeg"]).seconds is None


def test_what_two_tokenizers_learn_alike_is_their_mean(make_recipe: MakeRecipe, card: Path) -> None:
    """Two kinds of latent sources in one window: neither's loss hides the other's."""
    sources = {"kind": "sources", "sources": 4, "hidden": 16, "seconds": 0.25, "sfreq": 128.0}
    signals = {"eeg": {**BOTH["eeg"], "tokenizer": sources}, "meg": {**BOTH["eeg"], "tokenizer": sources}}
    path = card.with_name("fields.md")
    path.write_text(
        card.read_text(encoding="utf-8").replace("beside: [seeg]", "beside: [meg]"), encoding="utf-8"
    )
    together = [{"modalities": ["eeg", "meg"]}]
    recipe, streams, _ = gather(recipe_of(make_recipe, path, signals=signals, together=together))
    net = learner(recipe, streams).train()
    batches = streams["eeg+meg"].batches(streams["eeg+meg"].layouts[0][:3])
    own = [piece.tokenized.losses["sources"] for piece in net.view(batches, Chance(0)).pieces]
    assert not torch.isclose(own[0], own[1])
    torch.testing.assert_close(net(batches, Chance(0)).parts["sources"], torch.stack(own).mean())
