"""Masked patches told as amplitudes and phases: what the parts measure, and that they can be learnt."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.recording import Recording
from brainfm.errors import RecipeError
from brainfm.gather import stream
from brainfm.learner import Learner, learner
from brainfm.objectives import Shapes
from brainfm.objectives.masked_patches import MaskedPatches, normalise, phases_apart, spectrum
from brainfm.recipe import PretrainRecipe
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]


def net(make: MakeRecipe, person: Recording, **weights: float) -> tuple[Learner, Batch]:
    """A learner of these weights alone, and eight windows."""
    recipe = make(objectives={"masked_patches": {"decoder_depth": 1, **weights}})
    streams: dict[str, Stream] = {"eeg": stream([person], recipe.signals["eeg"], "eeg")}
    return learner(recipe, streams), streams["eeg"].batch(np.arange(8))


def wave(hertz: float, phase: float) -> torch.Tensor:
    """A quarter of a second at 128 Hz, one patch."""
    time = torch.arange(32) / 128
    return normalise(torch.cos(2 * math.pi * hertz * time + phase)[None, None])


def as_told(found: torch.Tensor) -> torch.Tensor:
    """What a decoder that knows this spectrum would say of its phases."""
    return torch.cat([found.real, found.imag], dim=-1)


def test_white_noise_has_power_one_and_no_mean() -> None:
    found = spectrum(normalise(torch.randn(64, 50, 32, generator=drawn(0))))
    assert found.shape == (64, 50, 16)
    assert float(found[..., :-1].abs().square().mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("turned", [0.0, 0.5, math.pi / 2, math.pi])
def test_a_turned_wave_costs_one_less_the_cosine(turned: float) -> None:
    """Whatever the length of what is told: a phase has a direction, nothing else."""
    wanted, told = spectrum(wave(12.0, 0.3)), spectrum(wave(12.0, 0.3 + turned))
    for scale in (0.1, 7.0):
        apart = float(phases_apart(scale * as_told(told), wanted))
        assert apart == pytest.approx(1 - math.cos(turned), abs=0.02)


def test_the_phase_of_what_is_silent_weighs_nothing() -> None:
    """Noise under a loud wave may be told any phase."""
    wanted = spectrum(wave(12.0, 0.3))
    told = as_told(wanted)
    silent = wanted.abs().flatten() < 1e-3 * wanted.abs().max()
    assert silent.sum() >= 14
    told[..., silent.repeat(2)] = torch.randn(2 * int(silent.sum()), generator=drawn(1))
    assert float(phases_apart(told, wanted)) < 1e-3


def test_saying_nothing_of_phases_costs_one(make_recipe: MakeRecipe, person: Recording) -> None:
    found, windows = net(make_recipe, person, raw=0.0, phase=1.0)
    for parameter in found.objectives["masked_patches"].phase.parameters():
        torch.nn.init.zeros_(parameter)
    loss = found((windows,), Chance(0))
    assert loss.parts.keys() == {"phase"}
    assert float(loss.total.detach()) == pytest.approx(1.0, abs=1e-4)


def test_parts_are_told_apart_and_weighed(make_recipe: MakeRecipe, person: Recording) -> None:
    found, windows = net(make_recipe, person, raw=1.0, amplitude=2.0, phase=0.5)
    loss = found((windows,), Chance(0))
    assert loss.parts.keys() == {"patches", "amplitude", "phase"}
    assert loss.weights == {"patches": 1.0, "amplitude": 2.0, "phase": 0.5}
    plain, _ = net(make_recipe, person)
    assert plain((windows,), Chance(0)).parts.keys() == {"patches"}
    assert not len(plain.objectives["masked_patches"].amplitude)


def test_amplitudes_know_no_phase_and_phases_no_amplitude(make_recipe: MakeRecipe, person: Recording) -> None:
    """Reversing every patch in time turns its phases and keeps its amplitudes."""
    patch = normalise(torch.randn(4, 9, 32, generator=drawn(2)))
    plain, back = spectrum(patch), spectrum(patch.flip(-1))
    torch.testing.assert_close(plain.abs(), back.abs(), atol=1e-4, rtol=1e-4)
    assert float(phases_apart(as_told(plain), back).mean()) > 0.8
    assert float(phases_apart(as_told(plain * torch.rand(16, generator=drawn(3))), plain).mean()) < 1e-3


def test_short_patches_have_no_spectrum() -> None:
    module = MaskedPatches(amplitude=1.0, phase=1.0).build(Shapes(32, {"eeg": 32, "fmri": 2}))
    assert set(module.predict) == {"eeg", "fmri"} and set(module.amplitude) == set(module.phase) == {"eeg"}


def test_a_part_must_weigh_something(make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match="raw, amplitude, phase and summary all weigh nothing"):
        make_recipe(objectives={"masked_patches": {"raw": 0.0}})
