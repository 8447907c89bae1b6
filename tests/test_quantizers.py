"""Quantizers: the nearest code is chosen, codes follow the vectors, unused ones start again, and nothing is left to chance."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from brainfm.codebook import Health, Usage, advice, capacity, correlations, fitting, spectral_errors
from brainfm.errors import DataError
from brainfm.layers.codebook import Codebooks
from brainfm.part import known
from brainfm.quantizers import Quantizer

WIDTH = 8
TRY: dict[str, dict[str, Any]] = {
    "vq": {"codes": 16},
    "rvq": {"codes": 8, "depth": 3},
    "fsq": {"levels": [5, 4, 3]},
}
"""The settings that each kind is tried with; a new kind must be named here."""
KINDS = sorted(TRY)


def build(kind: str, seed: int = 0, **settings: Any) -> Any:
    part = Quantizer.model_validate({"kind": kind, **TRY[kind], **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return part.build(WIDTH)


def by(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(count: int = 400, seed: int = 0) -> Tensor:
    """Vectors around twelve points."""
    points = 3 * torch.randn(12, WIDTH, generator=by(100))
    which = torch.randint(12, (count,), generator=by(seed))
    return points[which] + 0.2 * torch.randn(count, WIDTH, generator=by(seed + 1))


def started(kind: str, **settings: Any) -> Any:
    """A quantizer that has seen some vectors, in training mode."""
    module = build(kind, **settings)
    module.start(vectors(), by(0))
    return module.train()


def used(module: Any, x: Tensor) -> int:
    """How many codes of the first quantizer occur."""
    return len(module.eval()(x).codes[..., 0].unique())


def test_every_kind_is_tried() -> None:
    assert known(Quantizer) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 4)])
def test_shapes_and_ranges(kind: str, shape: tuple[int, ...]) -> None:
    module = started(kind)
    found = module(torch.randn(*shape, WIDTH, generator=by(3)), by(4))
    assert found.value.shape == (*shape, WIDTH) and found.value.dtype == torch.float32
    assert found.codes.shape == (*shape, len(module.sizes)) and found.codes.dtype == torch.int64
    assert found.loss.shape == () and found.loss.isfinite()
    for size, codes in zip(module.sizes, found.codes.flatten(0, -2).T, strict=True):
        assert int(codes.min()) >= 0 and int(codes.max()) < size


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_says_what_was_quantised(kind: str) -> None:
    module = started(kind).eval()
    found = module(vectors(60, seed=5))
    torch.testing.assert_close(module.lookup(found.codes), found.value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_do_not_depend_on_the_others_in_the_batch(kind: str) -> None:
    module, x = started(kind).eval(), vectors(40, seed=6)
    assert torch.equal(module(x).codes[:7], module(x[:7]).codes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_passes(kind: str) -> None:
    module, x = started(kind), vectors(50, seed=7).requires_grad_()
    found = module(x, by(0))
    (found.value.square().sum() + found.loss).backward()
    assert (
        x.grad is not None and x.grad.isfinite().all() and (x.grad.abs().sum(dim=1) > 0).float().mean() > 0.9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_draws_from_the_generator_alone(kind: str) -> None:
    x = vectors(30, seed=8)  # fewer vectors than a step keeps codes alive with: some start again
    ran = []
    for noise in (1, 2):
        module = started(kind)
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        for step in range(3):
            module(x, by(step))
        assert torch.equal(before, torch.get_rng_state()), "the global generator was used up"
        ran.append(module.state_dict())
    assert all(torch.equal(ran[0][name], ran[1][name]) for name in ran[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_goes_through_a_checkpoint(kind: str) -> None:
    module, x = started(kind), vectors(80, seed=9)
    module(x, by(1))
    other = build(kind, seed=5)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.eval()(x).codes, module.eval()(x).codes)
    again = [one.train()(x, by(2)).value for one in (module, other)]
    assert torch.equal(*again)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_around_it_changes_no_state(kind: str) -> None:
    """bf16 has three digits: a running mean in it would stand still."""
    x = vectors(200, seed=10).bfloat16()
    modules = [started(kind), started(kind)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = modules[0](x, by(1))
    whole = modules[1](x.float(), by(1))
    assert half.value.dtype == torch.float32
    assert (half.codes == whole.codes).float().mean() > 0.98  # an FSQ's projection may round otherwise
    assert {value.dtype for value in modules[0].state_dict().values()} <= {torch.float32, torch.bool}


@pytest.mark.parametrize("kind", ["vq", "rvq"])
def test_the_nearest_code_is_chosen(kind: str) -> None:
    module, x = started(kind).eval(), vectors(100, seed=11)
    left = x
    for number, table in enumerate(module.tables):
        nearest = torch.cdist(left, table).argmin(dim=1)
        assert torch.equal(module(x).codes[:, number], nearest)
        left = left - table[nearest]


def test_codes_follow_the_vectors() -> None:
    """Each code moves by 1 − decay towards the mean of its vectors, whatever the learning rate."""
    module = started("vq", decay=0.5, restart=0.0)
    x = vectors(300, seed=12) + 1.0
    before = module.tables[0].clone()
    codes = module(x, by(0)).codes[:, 0]
    after = module.tables[0]
    often = int(codes.bincount(minlength=16).argmax())
    mean = x[codes == often].mean(dim=0)
    assert (after[often] - mean).norm() < 0.8 * (before[often] - mean).norm()
    for _ in range(60):
        module(x, by(0))
    codes = module(x, by(0)).codes[:, 0]
    for code in codes.unique():
        torch.testing.assert_close(module.tables[0][code], x[codes == code].mean(dim=0), atol=0.05, rtol=0)


def test_evaluation_moves_nothing() -> None:
    module = started("vq").eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module(vectors(50, seed=13))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_dead_codes_start_again() -> None:
    x = vectors(400, seed=14)
    counts = []
    for restart in (0.0, 2.0):
        module = started("vq", kmeans=False, restart=restart)
        module.residual.layers[0]._codebook.embed[:, 4:] = 1e4  # three of four codes are where no vector is
        module.residual.layers[0]._codebook.embed_avg[:, 4:] = 1e4
        for step in range(400):
            module(x, by(step))
        counts.append(used(module, x))
    assert counts[0] <= 4 and counts[1] >= 11


def test_codes_start_again_where_vectors_are_badly_said() -> None:
    """As in a quiet neuron's counts: nearly all vectors are the same one, and a vector at random has its code already."""
    rare = 3 * torch.randn(20, WIDTH, generator=by(17))
    x = torch.cat([torch.zeros(4000, WIDTH), rare.repeat(3, 1)])
    module = started("vq", codes=16, kmeans=False, decay=0.8)
    for step in range(30):
        module(x, by(step))
    assert used(module, x) >= 13


def test_kmeans_and_restart_use_more_codes_than_neither() -> None:
    """The ablation: a codebook at random beside one that starts where the vectors are."""
    x = vectors(600, seed=15)
    plain = started("vq", codes=32, kmeans=False, restart=0.0)
    both = started("vq", codes=32)
    for step in range(20):
        plain(x, by(step))
        both(x, by(step))
    assert used(plain, x) < 16 < 24 < used(both, x)


def test_the_error_falls_with_depth() -> None:
    module, x = started("rvq", codes=8, depth=4).eval(), vectors(200, seed=16)
    codes = module(x).codes
    errors = [float((module.lookup(codes[:, :depth]) - x).square().mean()) for depth in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("levels", [[3], [5, 3], [8, 5, 4]])
def test_a_grid_has_as_many_codes_as_places(levels: list[int]) -> None:
    module = build("fsq", levels=levels)
    assert module.sizes == (math.prod(levels),)
    every = module.lookup(torch.arange(math.prod(levels)).unsqueeze(-1)).detach()
    assert len(np.unique(every.numpy().round(4), axis=0)) == math.prod(levels)


def test_a_grid_is_filled_from_the_start() -> None:
    """However large the vectors are: tanh is neither flat nor clipped."""
    for scale in (1e-3, 1e3):
        module = build("fsq", levels=[4, 4])
        x = scale * torch.randn(2000, WIDTH, generator=by(1))
        module.start(x, by(0))
        assert used(module, x) >= 14


def test_fewer_vectors_than_codes_is_refused() -> None:
    with pytest.raises(DataError, match="5 tokens can't start a codebook of 16 codes"):
        build("vq").start(vectors(5), by(0))


@pytest.mark.parametrize(
    "settings",
    [{"kind": "vq", "codes": 1}, {"kind": "fsq", "levels": [2, 8]}, {"kind": "rvq", "codes": 8, "depth": 1}],
)
def test_impossible_sizes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Quantizer.model_validate(settings)


def test_vectors_are_quantised_whole_on_one_process() -> None:
    assert not any(layer._codebook.use_ddp for layer in build("vq").residual.layers)
    assert isinstance(build("vq"), Codebooks)


def test_usage_and_perplexity() -> None:
    even, odd = Usage.of(np.array([5, 5, 5, 5, 0, 0])), Usage.of(np.array([97, 1, 1, 1]))
    assert (even.used, even.dead, even.codes) == (4, 2, 6) and even.perplexity == pytest.approx(4)
    assert even.usage == pytest.approx(2 / 3)
    assert odd.usage == 1 and 1 < odd.perplexity < 1.5
    assert Usage.of(np.zeros(4, np.int64)).used == 0


def health(used_: int, codes: int, tokens: int = 100_000, perplexity: float | None = None) -> Health:
    usage = Usage(codes, used_, used_ / 2 if perplexity is None else perplexity)
    return Health((usage,), tokens, 0.9, 0.3, 40.0, 0.8, "held-out recordings")


def of_size(kind: str) -> Callable[[int], str]:
    return Quantizer.model_validate({"kind": kind, **TRY[kind]}).of_size


def test_advice_on_a_codebook_that_is_too_large() -> None:
    said = advice(health(61, 512), of_size("vq"))
    assert said.startswith("61 of 512 codes are used (12%) on held-out recordings, under the 80%")
    assert "take codes: 64" in said and "tokens," not in said
    assert "look at more than these 300 tokens" in advice(health(61, 512, tokens=300), of_size("vq"))
    assert "levels: [8, 8]" in advice(health(61, 512), of_size("fsq"))
    assert not health(61, 512).ok and health(61, 64).ok


@pytest.mark.parametrize("found", [3, 10, 61, 90, 127, 400])
def test_what_is_advised_would_have_passed(found: int) -> None:
    size = fitting(Usage(512, found, 1.0), 0.8)
    assert found >= 0.8 * size and found < 0.8 * 2 * size


def test_advice_on_one_that_fits_and_on_one_that_is_full() -> None:
    assert advice(health(60, 64, perplexity=20.0), of_size("vq")).endswith("perplexity 20.0: the size fits")
    assert advice(health(60, 64, perplexity=2.0), of_size("vq")).endswith("a few codes say most tokens")
    assert "codes: 128 would say more" in advice(health(64, 64, perplexity=50.0), of_size("vq"))


def test_health_goes_through_json() -> None:
    one = health(61, 512)
    assert Health.of_json(one.json) == one
    assert one.json["usage"] == pytest.approx(61 / 512) and one.json["dead"] == 451


def test_the_least_used_quantizer_decides() -> None:
    both = Health(
        (Usage(64, 64, 60.0), Usage(64, 20, 9.0)), 10_000, 0.9, 0.3, 1.0, 0.8, "held-out recordings"
    )
    assert not both.ok and "by quantizer 2 of 2" in advice(both, of_size("rvq"))


def test_correlation_and_spectral_error_of_known_signals() -> None:
    time = np.arange(256) / 128
    wave = np.sin(2 * np.pi * 10 * time)[None]
    assert correlations(wave, 3 * wave + 1)[0] == pytest.approx(1)
    assert correlations(wave, -wave)[0] == pytest.approx(-1)
    assert spectral_errors(wave, wave + 5)[0] == pytest.approx(0, abs=1e-9)
    assert spectral_errors(wave, 0 * wave)[0] == pytest.approx(1)
    assert spectral_errors(wave, 0.5 * wave)[0] == pytest.approx(0.5)
    shifted = np.sin(2 * np.pi * 10 * time + 1.5)[None]
    assert spectral_errors(wave, shifted)[0] < 0.02 < 1 - correlations(wave, shifted)[0]
    assert spectral_errors(wave, np.sin(2 * np.pi * 40 * time)[None])[0] > 1.5


def test_a_constant_row_has_no_correlation_and_a_silent_copy_none() -> None:
    flat, wave = np.full((1, 64), 3.0), np.sin(np.arange(64.0))[None]
    assert np.isnan(correlations(flat, wave)[0]) and np.isnan(spectral_errors(flat, wave)[0])
    assert correlations(wave, flat)[0] == 0


def test_capacity() -> None:
    assert capacity((512,), 0.25) == pytest.approx(36)
    assert capacity((256, 256), 1.0) == pytest.approx(16)
