"""Contrastive: what is compared with what, by which settings, and that two processes give what one gives."""

import math
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Together
from brainfm.data.brain import Brain
from brainfm.data.modalities import modality
from brainfm.errors import DataError
from brainfm.gather import stream
from brainfm.gathering import Others
from brainfm.learner import Learner, learner
from brainfm.objectives.contrastive import ContrastiveLoss
from brainfm.pooling import pool_tokens
from brainfm.recipe import PretrainRecipe
from tests.three_processes import compared, process, vectors

MakeRecipe = Callable[..., PretrainRecipe]
SCALE = [{"kind": "robust_scale", "scope": "recording", "clip": 15.0}]
PATCH = {"kind": "patch", "seconds": 0.25, "sfreq": 128.0}
SIGNALS = {name: {"prepare": SCALE, "seconds": 2.0, "tokenizer": PATCH} for name in ("eeg", "meg")}


@pytest.fixture(scope="module")
def both(make_recipe: MakeRecipe) -> Together:
    """Windows of one simulated person seen by EEG and by MEG, the latter a copy of the former but for noise."""
    brain = Brain.draw(np.random.default_rng(3))
    eeg = modality("eeg").simulate(
        np.random.default_rng(3), seconds=40.0, sensors=8, sfreq=128.0, brain=brain
    )
    meg = modality("meg").simulate(
        np.random.default_rng(3), seconds=40.0, sensors=12, sfreq=128.0, brain=brain
    )
    recipe = make_recipe(signals=SIGNALS)
    parts = [stream([one], recipe.signals[name], name) for name, one in (("eeg", eeg), ("meg", meg))]
    return Together((parts[0], replace(parts[1], windows=parts[0].windows)))


def net(make: MakeRecipe, both: Together, **settings: Any) -> Learner:
    return learner(make(signals=SIGNALS, objectives={"contrastive": settings}), {"eeg+meg": both})


def batches(both: Together, rows: range) -> tuple[Batch, ...]:
    return both.batches(np.array(rows))


def by_hand(found: Learner, windows: tuple[Batch, ...], temperature: float, norm: bool) -> list[torch.Tensor]:
    """Each way's cross-entropy, from the pooled tokens."""
    module = found.objectives["contrastive"]
    assert isinstance(module, ContrastiveLoss)
    view = found.view(windows, Chance(0))
    vectors = [
        module.project[piece.modality](pool_tokens(seen, "mean"))
        for piece, seen in zip(view.pieces, view.alone, strict=True)
    ]
    a, b = (one / one.norm(dim=1, keepdim=True) if norm else one for one in vectors)
    similar = a @ b.T / temperature
    own = torch.arange(len(a))
    return [F.cross_entropy(similar, own), F.cross_entropy(similar.T, own)]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_it_is_cross_entropy_over_the_windows_of_the_step(
    make_recipe: MakeRecipe, both: Together, norm: bool, symmetric: bool
) -> None:
    found = net(make_recipe, both, norm=norm, symmetric=symmetric, temperature=0.2)
    windows = batches(both, range(6))
    with torch.no_grad():
        one, other = by_hand(found, windows, 0.2, norm)
        loss = found(windows, Chance(0))
        torch.testing.assert_close(loss.parts["contrastive"], (one + other) / 2 if symmetric else one)
        assert one != other


def test_a_temperature_is_learnt_or_not(make_recipe: MakeRecipe, both: Together) -> None:
    for learned in (True, False):
        found = net(make_recipe, both, learned=learned)
        found(batches(both, range(6)), Chance(0)).total.backward()
        factor = found.objectives["contrastive"].factor
        assert math.isclose(float(factor.detach()), math.log(10), rel_tol=1e-6)
        assert isinstance(factor, torch.nn.Parameter) == learned
        assert not learned or (factor.grad is not None and float(factor.grad) != 0)


def test_instruments_do_not_hear_each_other(make_recipe: MakeRecipe, both: Together) -> None:
    """In a pass over both, what EEG's tokens say changes with MEG's signal; by themselves it may not."""
    found = net(make_recipe, both)
    eeg, meg = batches(both, range(4))
    with torch.no_grad():
        views = [
            found.view((eeg, other), Chance(0))
            for other in (meg, replace(meg, signal=3 + meg.signal.roll(1, 0)))
        ]
        assert torch.equal(views[0].alone[0].embedding, views[1].alone[0].embedding)
        assert not torch.allclose(views[0].seen[0].embedding, views[1].seen[0].embedding, atol=1e-4)


def test_windows_find_each_other_across_instruments(make_recipe: MakeRecipe, both: Together) -> None:
    """Under masks that were not trained on; where pairs were mixed anew in every step, there was nothing to find."""

    def after(mixed: bool) -> float:
        found = net(make_recipe, both)
        eeg, meg = batches(both, range(8))
        optimizer = torch.optim.AdamW(found.parameters(), lr=3e-3)
        for step in range(90):
            order = torch.randperm(8, generator=torch.Generator().manual_seed(step))
            other = replace(meg, signal=meg.signal[order]) if mixed else meg
            found((eeg, other), Chance(0, step)).total.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            return float(found((eeg, meg), Chance(9)).parts["contrastive"])

    guess = math.log(8)
    assert after(mixed=False) < 0.7 * guess
    assert after(mixed=True) > 0.95 * guess


def test_a_whole_hidden_instrument_is_told_from_the_other(make_recipe: MakeRecipe, both: Together) -> None:
    """Where a mask hides all of one, patches are asked of that one alone, and there is nothing to compare."""
    objectives = {"contrastive": {}, "masked_patches": {"decoder_depth": 1}, "neurodynamics": {}}
    mask = {"kind": "modality", "drop": 1.0, "otherwise": {"kind": "block"}}
    found = learner(make_recipe(signals=SIGNALS, objectives=objectives, mask=mask), {"eeg+meg": both})
    hidden = set()
    for step in range(4):
        eeg, meg = batches(both, range(4))
        loss = found((eeg, meg), Chance(0, step))
        assert loss.parts.keys() == {"patches", "statistics"} and torch.isfinite(loss.total)
        pieces = found.view((eeg, meg), Chance(0, step)).pieces
        (which,) = [piece.modality for piece in pieces if not piece.hidden.seen.shape[1]]
        hidden.add(which)
    assert hidden == {"eeg", "meg"}


def test_windows_of_one_instrument_have_no_part(make_recipe: MakeRecipe, both: Together) -> None:
    found = net(make_recipe, both)
    with pytest.raises(DataError, match="no objective has anything to learn from windows of eeg; add"):
        found(batches(both, range(4))[:1], Chance(0))
    beside = learner(
        make_recipe(signals=SIGNALS, objectives={"contrastive": {}, "masked_patches": {"decoder_depth": 1}}),
        {"eeg+meg": both},
    )
    assert beside(batches(both, range(4))[:1], Chance(0)).parts.keys() == {"patches"}
    assert beside(batches(both, range(4)), Chance(0)).parts.keys() == {"contrastive", "patches"}


def test_several_processes_give_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    """Negatives of other processes pull and push, too, unequal shares weigh as they should, and company counts nothing."""
    x, weight = vectors()
    weight = weight.requires_grad_()
    alone = compared(x, weight, Others.of(torch.arange(5)))
    alone.backward()
    assert weight.grad is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(tmp_path / "total.pt")), nprocs=3)
    found = torch.load(tmp_path / "total.pt", weights_only=True)
    torch.testing.assert_close(found[-1], alone.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[:-1].view(4, 3), weight.grad, atol=1e-5, rtol=1e-5)
    own = compared(x[:, :3], weight.detach(), Others.alone(torch.arange(3)))
    assert not torch.isclose(own, alone.detach(), rtol=1e-2)  # without the others it is another loss
