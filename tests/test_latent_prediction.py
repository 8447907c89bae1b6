"""Latent prediction: its targets, and that latents stay apart with a teacher or a regulariser, and only then."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.recording import Recording
from brainfm.errors import RecipeError
from brainfm.gather import stream
from brainfm.layers.gaussian import far_from_gaussian
from brainfm.learner import Learner, learner
from brainfm.objectives.latent_prediction import LatentPrediction, LatentPredictionLoss, normalised, some
from brainfm.recipe import PretrainRecipe
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]
TRAIN = {"steps": 4, "batch": 8, "average": 0.99}


@pytest.fixture(scope="module")
def eeg(recipe: PretrainRecipe, person: Recording) -> Stream:
    return stream([person], recipe.signals["eeg"], "eeg")


@pytest.fixture(scope="module")
def windows(eeg: Stream) -> Batch:
    return eeg.batch(np.arange(8))


def net(make: MakeRecipe, eeg: Stream, **settings: Any) -> Learner:
    objectives = {"latent_prediction": {"decoder_depth": 1, **settings}}
    return learner(make(objectives=objectives, train=TRAIN), {"eeg": eeg})


def far(values: torch.Tensor) -> float:
    """`far_from_gaussian` of vectors along 256 directions."""
    return float(far_from_gaussian(values, torch.randn(values.shape[-1], 256, generator=drawn(5))))


def test_only_a_gaussian_is_no_way_from_one() -> None:
    cloud = torch.randn(3000, 24, generator=drawn(0))
    near = far(cloud)
    assert near < 1e-3
    line = torch.randn(3000, 1, generator=drawn(1)) * torch.ones(24)
    uniform = 2 * math.sqrt(3) * (torch.rand(3000, 24, generator=drawn(2)) - 0.5)
    for other in (cloud + 1, 2 * cloud, 0.3 * cloud, line, torch.zeros_like(cloud)):
        assert far(other) > 20 * near
    assert far(uniform[:, :1]) > 5 * near  # of many dimensions the shadows of anything are nearly Gaussian


def test_it_is_epps_and_pulleys_statistic() -> None:
    """Against their closed form for one dimension (Henze & Zirkler 1990, with β = 1)."""
    x = torch.randn(60, 1, generator=drawn(3)).double() * 1.3 + 0.2
    flat = x.flatten()
    pairs = torch.exp(-(flat[:, None] - flat).square() / 2).mean()
    alone = 2 / math.sqrt(2) * torch.exp(-flat.square() / 4).mean()
    closed = float(pairs - alone + 1 / math.sqrt(3))
    assert far(x.float()) == pytest.approx(closed, rel=1e-3)


def test_a_code_of_places_is_not_gaussian_over_windows() -> None:
    """Items that differ from each other and not from sample to sample look Gaussian only where they are mixed."""
    places = torch.randn(1, 400, 8, generator=drawn(4)).expand(16, -1, -1)
    assert far(places.flatten(0, 1)) < 0.01
    assert far(places) > 0.2


def test_padding_is_no_latent(make_recipe: MakeRecipe, eeg: Stream, windows: Batch) -> None:
    """Neither in the normalisation nor among the tokens that are looked at."""
    tokens = net(make_recipe, eeg).model.tokenize(windows).tokens
    valid = torch.arange(tokens.count).expand(8, -1) < torch.randint(40, 60, (8, 1), generator=drawn(0))
    noisy = torch.where(valid.unsqueeze(-1), tokens.embedding, 100.0)
    padded = replace(tokens, embedding=noisy, valid=valid, padded=True)
    found = normalised(padded)
    for row, there in enumerate(valid):
        one = found[row][there]
        torch.testing.assert_close(one.mean(dim=0), torch.zeros(32), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.var(dim=0, correction=0), torch.ones(32), atol=1e-2, rtol=0)
    looked = some(padded, Chance(0))
    assert looked.shape == (8, 32, 32) and (looked != 100.0).all()
    assert not torch.equal(some(padded, Chance(1)), looked)
    assert torch.equal(
        some(padded, Chance(0, first=4)), looked
    )  # the same tokens of every window of the step


def test_the_teachers_latents_of_hidden_tokens_are_the_target(
    make_recipe: MakeRecipe, eeg: Stream, windows: Batch
) -> None:
    """Only those: told exactly, they cost nothing, whatever the teacher makes of seen tokens, and whatever the scale."""
    found = net(make_recipe, eeg)
    teacher = copy.deepcopy(found.model)
    latent = teacher(windows)
    module = found.objectives["latent_prediction"]
    found.teacher = teacher.forward
    view = found.view((windows,), Chance(0))
    index = view.pieces[0].hidden.hidden
    exact = normalised(latent).gather(1, index.unsqueeze(-1).expand(-1, -1, 32))

    class Exact(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return exact

    module.predict = Exact()
    with torch.no_grad():
        assert float(module(view).parts["latents"]) == 0.0
        scaled = replace(view, teacher=lambda batch: latent.with_embedding(5 * latent.embedding + 3))
        assert float(module(scaled).parts["latents"]) < 1e-4
        other = replace(view, teacher=lambda batch: latent.with_embedding(latent.embedding.roll(1, 0)))
        assert float(module(other).parts["latents"]) > 0.1


@pytest.mark.parametrize("error", ["smooth_l1", "squared"])
def test_the_error_is_the_one_that_is_asked_for(
    make_recipe: MakeRecipe, eeg: Stream, windows: Batch, error: str
) -> None:
    found = net(make_recipe, eeg, error=error)
    module = found.objectives["latent_prediction"]
    found.teacher = copy.deepcopy(found.model).forward
    view = found.view((windows,), Chance(0))
    with torch.no_grad():
        module.predict.weight.zero_(), module.predict.bias.zero_()
        index = view.pieces[0].hidden.hidden.unsqueeze(-1).expand(-1, -1, 32)
        size = normalised(found.teacher(windows)).gather(1, index).abs()
        smooth = torch.where(size < 1, 0.5 * size.square(), size - 0.5)
        wanted = (smooth if error == "smooth_l1" else size.square()).mean()
        torch.testing.assert_close(module(view).parts["latents"], wanted)


def spread(found: Learner, windows: Batch) -> float:
    """How much latents differ from token to token, beside how long they are: 0 where all are one."""
    with torch.no_grad():
        latent = found.model.eval()(windows).embedding.flatten(0, 1)
    found.train()
    return float((latent - latent.mean(dim=0)).square().mean() / latent.square().mean())


def trained(found: Learner, windows: Batch, teacher: str, steps: int) -> tuple[float, float]:
    """`spread` after a short training, and the last error of the latents."""
    mean = copy.deepcopy(found.model) if teacher == "average" else None
    if mean is not None:
        found.teacher = mean.forward
    optimizer = torch.optim.AdamW(found.parameters(), lr=3e-3)
    for step in range(steps):
        loss = found((windows,), Chance(0, step))
        (loss.parts["latents"] if teacher == "neither" else loss.total).backward()
        optimizer.step()
        optimizer.zero_grad()
        if mean is not None:
            with torch.no_grad():
                for slow, fast in zip(mean.parameters(), found.model.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
    return spread(found, windows), float(loss.parts["latents"].detach())


def test_latents_stay_apart_with_a_teacher_or_a_regulariser_and_collapse_without(
    make_recipe: MakeRecipe, eeg: Stream, windows: Batch
) -> None:
    slow, _ = trained(net(make_recipe, eeg), windows, "average", steps=60)
    gaussian, _ = trained(net(make_recipe, eeg, teacher="none", directions=64), windows, "none", steps=30)
    collapsed, error = trained(net(make_recipe, eeg, teacher="none"), windows, "neither", steps=40)
    assert collapsed < 0.02 and error < 0.01
    assert slow > 0.35 and gaussian > 0.8


@pytest.mark.parametrize("teacher", ["average", "none"])
def test_latents_hold_what_was_there_and_not_the_place_alone(
    make_recipe: MakeRecipe, eeg: Stream, windows: Batch, teacher: str
) -> None:
    """After training, the latents of another window are told worse: places and times, which all windows share, don't do."""
    found = net(make_recipe, eeg, teacher=teacher, directions=32)
    trained(found, windows, teacher, steps=150)
    module = found.objectives["latent_prediction"]
    assert isinstance(module, LatentPredictionLoss)
    with torch.no_grad():
        view = found.view((windows,), Chance(1))
        own = float(module(view).parts["latents"])
        wanted = module.taught(view) if teacher == "average" else [view.whole[0].embedding]
        other = replace(view, teacher=None)
        other.__dict__["whole"] = (view.whole[0].with_embedding(wanted[0].roll(1, 0)),)
        module.part = LatentPrediction(teacher="none", directions=4)
        assert own < 0.8 * float(module(other).parts["latents"])


def test_a_teacher_needs_a_running_mean(make_recipe: MakeRecipe) -> None:
    with pytest.raises(
        RecipeError, match=r"objectives\.latent_prediction learns from a running mean of the weights"
    ):
        make_recipe(objectives={"latent_prediction": {}})
    make_recipe(objectives={"latent_prediction": {"teacher": "none"}})
    make_recipe(objectives={"latent_prediction": {"weight": 0.0}, "masked_patches": {}})
