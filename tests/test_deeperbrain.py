"""DeeperBrain (arXiv:2601.06134): the statistics asked for, how patches are told, and the size that stands in for its own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.learner import learner
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.moments.oscillations import OscillationsMoment
from brainfm.objectives.masked_patches import MaskedPatchLoss, patches_wanted
from brainfm.objectives.neurodynamics import Neurodynamics
from brainfm.places.conduction import ConductionPlace
from brainfm.recipe import PretrainRecipe
from brainfm.statistics import pair_fields, pair_statistics, row_statistics, window_names
from brainfm.statistics.spectrum import BANDS
from brainfm.view import View
from tests.tiny import drawn

CBRAMOD = 4_924_000
"""Weights that were counted in the released CBraMod, whose sizes stand in."""


def sine(hertz: float, sensors: int = 3, seconds: float = 4.0, sfreq: float = 128.0) -> torch.Tensor:
    time = torch.arange(round(seconds * sfreq)) / sfreq
    return torch.sin(2 * np.pi * hertz * time).expand(2, sensors, -1).clone()


@pytest.mark.parametrize(
    ("hertz", "band"), [(10.0, "alpha"), (6.0, "theta"), (20.0, "beta"), (38.0, "gamma")]
)
def test_a_pure_sine_has_all_its_power_in_its_band(hertz: float, band: str) -> None:
    share = row_statistics(sine(hertz), 128.0, "eeg", ["shares"])
    assert (share[..., list(BANDS).index(band)] > 0.98).all()
    torch.testing.assert_close(share.sum(dim=-1), torch.ones(2, 3))


def test_shares_are_of_power_and_not_of_density_and_do_not_know_how_loud() -> None:
    """White noise has in every band as much as the band is wide."""
    noise = torch.randn(4, 8, 128 * 40, generator=drawn(0))
    share = row_statistics(noise, 128.0, "eeg", ["shares"]).mean(dim=(0, 1))
    width = torch.tensor([high - low for low, high in BANDS.values()])
    torch.testing.assert_close(share, width / width.sum(), atol=0.01, rtol=0.05)
    torch.testing.assert_close(
        row_statistics(100 * noise, 128.0, "eeg", ["shares"]), row_statistics(noise, 128.0, "eeg", ["shares"])
    )


def test_identical_sensors_are_locked_and_noise_is_not() -> None:
    same, noise = sine(10.0, 4), torch.randn(2, 4, 512, generator=drawn(1))
    alpha = list(BANDS).index("alpha")
    locked, loose = (pair_fields(pair_statistics(one, 128.0, "eeg", ["locking"])) for one in (same, noise))
    assert (locked[:, 2 * alpha] > 0.999).all() and (locked[:, 2 * alpha + 1] < 1e-3).all()
    assert (loose[:, 2 * alpha] < 0.6).all()


def test_noise_is_less_regular_than_a_sine() -> None:
    noise = torch.randn(2, 3, 512, generator=drawn(2))
    a, b = (row_statistics(one, 128.0, "eeg", ["entropy"]) for one in (noise, sine(10.0)))
    assert (a > 3 * b).all()


def test_the_recipe_asks_for_the_nineteen() -> None:
    """Means over the head of five shares, three couplings and the entropy, mean and spread of locking in five bands."""
    part = PretrainRecipe.load("deeperbrain").objectives["neurodynamics"]
    assert isinstance(part, Neurodynamics) and part.weight == 1.0
    names = window_names("eeg", part.of)
    theirs = [name for name in names if name.endswith(("_mean", "_spread"))]
    assert len(theirs) == 19
    assert sum("locking" in name for name in theirs) == 10 and sum("share" in name for name in theirs) == 5


def test_the_recipe_is_the_papers_otherwise() -> None:
    for name in ("deeperbrain", "deeperbrain_published"):
        recipe = PretrainRecipe.load(name)
        assert (recipe.encoder.where.kind, recipe.encoder.when.kind) == ("conduction", "oscillations")
        assert not recipe.encoder.when.turns
        assert (recipe.mask.kind, getattr(recipe.mask, "share", None)) == ("independent", 0.5)
        assert recipe.objectives["masked_patches"].model_dump()["error"] == "smooth"


def test_the_size_that_stands_in_is_of_cbramods() -> None:
    """Provisional: ours is a fifth larger, as all heads read the whole width, where CBraMod's halves read half of it each."""
    with torch.device("meta"):
        encoder = PretrainRecipe.load("deeperbrain_published").encoder.build(1)
    count = sum(one.numel() for one in encoder.parameters())
    assert 1.0 < count / CBRAMOD < 1.25
    blocks = sum(one.numel() for one in encoder.blocks.parameters())
    width, hidden = 200, 800
    assert blocks == 12 * (4 * width**2 + 2 * width * hidden + hidden + width + 2 * width)


def test_the_decoder_asks_in_the_encoders_words(
    make_recipe: Callable[..., PretrainRecipe], streams: dict[str, Stream]
) -> None:
    shape = {"kind": "transformer", "depth": 1, "width": 32, "heads": 2}
    words = {"where": {"kind": "conduction"}, "when": {"kind": "oscillations"}}
    net = learner(make_recipe(encoder={**shape, **words}), streams)
    objective = net.objectives["masked_patches"]
    assert isinstance(objective, MaskedPatchLoss)
    for one in (net.model.encoder, objective.decoder):
        assert isinstance(one.where, ConductionPlace) and isinstance(one.when, OscillationsMoment)
        assert not one.turns


@pytest.mark.parametrize("error", ["squared", "absolute", "smooth"])
@pytest.mark.parametrize("normalised", [True, False])
def test_patches_are_told_as_the_recipe_says(
    error: str, normalised: bool, make_recipe: Callable[..., PretrainRecipe], streams: dict[str, Stream]
) -> None:
    objectives = {"masked_patches": {"decoder_depth": 1, "error": error, "normalised": normalised}}
    net = learner(make_recipe(objectives=objectives), streams)
    objective = net.objectives["masked_patches"]
    assert isinstance(objective, MaskedPatchLoss)
    batch = streams["eeg"].batch(np.arange(4))
    view: View = net.view((batch,), Chance(0))
    piece = view.pieces[0]
    index = piece.hidden.hidden.unsqueeze(-1)
    shown = patches_wanted(piece.tokenized, "eeg", normalised)
    wanted = shown.gather(1, index.expand(-1, -1, shown.shape[-1]))
    apart = objective.decode("eeg", view.seen[0], piece.asked) - wanted
    size = apart.abs()
    by_hand = {
        "squared": apart.square(),
        "absolute": size,
        "smooth": torch.where(size < 1, 0.5 * apart.square(), size - 0.5),
    }[error]
    torch.testing.assert_close(objective(view).parts["patches"], by_hand.mean(), rtol=1e-5, atol=1e-6)
    deviation = wanted.std(dim=-1, correction=0)
    assert torch.allclose(deviation, torch.ones_like(deviation), atol=0.05) == normalised
    if not normalised:
        assert torch.equal(shown, piece.tokenized.targets["eeg"].value)


def test_what_is_learnt_of_the_head_is_saved(tmp_path: object) -> None:
    """τ is a weight like any other: a checkpoint without it would not be whole."""
    recipe = PretrainRecipe.load("deeperbrain")
    model = BrainFM.fresh(BrainFMConfig.of(recipe), 0)
    with torch.no_grad():
        model.encoder.where.spread.fill_(0.5)
    model.save_pretrained(tmp_path)
    again = BrainFM.from_pretrained(tmp_path)
    assert float(again.encoder.where.distance.detach()) == pytest.approx(
        float(torch.nn.functional.softplus(torch.tensor(0.5))) + 1e-4
    )
