"""Masked codes: what is asked and of whom, the symmetric pass, and which codecs a run takes."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.recording import Recording
from brainfm.errors import BrainfmError, RecipeError
from brainfm.gather import stream
from brainfm.jobs.pretrain import pretrain
from brainfm.learner import Learner, codecs_of, learner
from brainfm.manifest import Manifest
from brainfm.recipe import PretrainRecipe, SignalRecipe
from tests.codecs import codec_of, saved
from tests.tiny import people

MakeRecipe = Callable[..., PretrainRecipe]


@pytest.fixture(scope="module")
def eeg(recipe: PretrainRecipe, person: Recording) -> Stream:
    return stream([person], recipe.signals["eeg"], "eeg")


@pytest.fixture(scope="module")
def codec(recipe: PretrainRecipe, eeg: Stream) -> Codec:
    return codec_of(recipe.signals["eeg"], "eeg", eeg)


@pytest.fixture(scope="module")
def folder(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(codec, tmp_path_factory.mktemp("codec"))


@pytest.fixture
def windows(eeg: Stream) -> Batch:
    return eeg.batch(np.arange(4))


def net(make: MakeRecipe, eeg: Stream, folder: Path, **settings: Any) -> Learner:
    objectives = {"masked_codes": {"decoder_depth": 1, **settings}}
    return learner(make(objectives=objectives, codecs={"eeg": str(folder)}), {"eeg": eeg})


def test_the_codec_says_the_codes_of_the_signal_that_the_encoder_gets(
    make_recipe: MakeRecipe, eeg: Stream, folder: Path, codec: Codec, windows: Batch
) -> None:
    found = net(make_recipe, eeg, folder).model.tokenize(windows).tokens
    assert found.code is not None and found.code.shape == (4, found.count, 2)
    assert torch.equal(found.code, codec.codes(windows))
    assert len(found.code[..., 0].unique()) > 2


def test_a_guess_costs_the_logarithm_of_the_codebook(
    make_recipe: MakeRecipe, eeg: Stream, folder: Path, windows: Batch
) -> None:
    found = net(make_recipe, eeg, folder)
    for parameter in found.objectives["masked_codes"].predict.parameters():
        torch.nn.init.zeros_(parameter)
    loss = found((windows,), Chance(0))
    assert float(loss.total.detach()) == pytest.approx(math.log(8), abs=1e-4)
    assert loss.parts.keys() == {"codes", "codes_wrong_1", "codes_wrong_2"}
    assert loss.weights == {"codes": 1.0, "codes_wrong_1": 0.0, "codes_wrong_2": 0.0}


def test_a_symmetric_pass_is_the_mean_of_a_mask_and_its_complement(
    make_recipe: MakeRecipe, eeg: Stream, folder: Path, windows: Batch
) -> None:
    """Computed again from two views of the same windows, one the other turned round."""
    plain, both = net(make_recipe, eeg, folder), net(make_recipe, eeg, folder, symmetric=True)
    module = plain.objectives["masked_codes"]
    with torch.no_grad():
        view = plain.view((windows,), Chance(1))
        (piece,) = view.pieces
        turned = replace(
            piece, hidden=replace(piece.hidden, seen=piece.hidden.hidden, hidden=piece.hidden.seen)
        )
        other = replace(view, pieces=(turned,))
        expected = (module(view).parts["codes"] + module(other).parts["codes"]) / 2
        torch.testing.assert_close(both((windows,), Chance(1)).parts["codes"], expected)
        assert not torch.isclose(module(view).parts["codes"], expected, rtol=1e-4)


def test_codes_of_the_signal_are_learnt_and_codes_by_lot_are_not(
    make_recipe: MakeRecipe, eeg: Stream, folder: Path, windows: Batch
) -> None:
    """The same windows under other masks, with the codec's codes and with others every time."""

    def trained(scrambled: bool) -> float:
        found = net(make_recipe, eeg, folder)
        if scrambled:
            found.model.codecs["eeg"].codes = by_lot  # type: ignore[method-assign]
        optimizer = torch.optim.AdamW(found.parameters(), lr=3e-3)
        for step in range(80):
            found((windows,), Chance(0, step)).total.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            return float(found((windows,), Chance(9)).parts["codes"])

    lot = torch.Generator().manual_seed(0)

    def by_lot(batch: Batch) -> torch.Tensor:
        return torch.randint(8, (len(batch), 64, 2), generator=lot)

    assert trained(scrambled=False) < math.log(8) - 0.15
    assert trained(scrambled=True) > math.log(8) - 0.05


def test_codes_need_a_codec(make_recipe: MakeRecipe) -> None:
    with pytest.raises(
        RecipeError, match=r"objectives.masked_codes tells codes, and nothing says them; name"
    ):
        make_recipe(objectives={"masked_codes": {}})
    with pytest.raises(RecipeError, match="'meg' has a codec but is not among the signals"):
        make_recipe(objectives={"masked_codes": {}}, codecs={"meg": "runs/x"})


def sentence(call: Callable[[], Any]) -> str:
    with pytest.raises(BrainfmError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_codec_that_does_not_fit_is_refused(
    make_recipe: MakeRecipe, eeg: Stream, codec: Codec, folder: Path, tmp_path: Path
) -> None:
    assert "codecs.meg: " in sentence(lambda: codecs_of({"meg": str(folder)}))
    assert "nowhere is no folder" in sentence(lambda: net(make_recipe, eeg, tmp_path / "nowhere"))
    unfit = codec_of(codec.recipe.signal, "eeg", eeg)
    unfit.health = None
    assert "holds no codec that passed" in sentence(
        lambda: net(make_recipe, eeg, saved(unfit, tmp_path / "unfit"))
    )
    other = SignalRecipe.model_validate({**codec.recipe.signal.model_dump(mode="json"), "prepare": []})
    folder = saved(codec_of(other, "eeg", eeg), tmp_path / "other")
    assert "made otherwise than this model's" in sentence(lambda: net(make_recipe, eeg, folder))


def test_a_run_says_which_codec_it_had_and_whom_that_saw(
    make_recipe: MakeRecipe, tmp_path: Path, eeg: Stream, codec: Codec, person: Recording
) -> None:
    card = people(tmp_path, subjects=2, seconds=20.0)
    folder = saved(codec, tmp_path / "codec")
    recipe = make_recipe(
        data={"cards": [str(card)]},
        objectives={"masked_codes": {"decoder_depth": 1}},
        codecs={"eeg": str(folder)},
        train={"steps": 2, "batch": 8, "precision": "no"},
    )
    checkpoint = pretrain(recipe, tmp_path / "run", quiet=True).outcome.checkpoint
    seen = Manifest.load(checkpoint / "manifest.json")
    assert len(seen.entries) == 3 and seen.verdict(person, "eeg") == "seen without labels"
    saved_again = pretrain(recipe, tmp_path / "run", quiet=True)
    assert saved_again.outcome.steps == 2
    another = codec_of(codec.recipe.signal, "eeg", eeg, seed=1)
    another.save(folder / "codec")
    assert another.digest != codec.digest
    assert "another eeg codec" in sentence(lambda: pretrain(recipe, tmp_path / "run", quiet=True))
