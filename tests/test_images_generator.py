"""The generator: every hook works and does nothing where it is not asked, on a UNet that a minute trains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.errors import CheckpointError, DataError, RecipeError
from brainfm.images.codecs import Codec
from brainfm.images.codecs.autoencoder_kl import AutoencoderKl
from brainfm.images.conditioning import Conditioning
from brainfm.images.generator import Generator, parameters, signal_share
from brainfm.images.generators import Diffusion
from brainfm.images.generators.sdxl_unclip import SdxlUnclip
from brainfm.images.generators.stable_diffusion_2 import StableDiffusion2
from brainfm.images.generators.tiny import Tiny
from brainfm.part import known
from tests.pictures_made import blobs

WIDTH = 32


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def little(vector: int | None = None, **settings: Any) -> Generator:
    """Small enough for a test of its lines."""
    part = Tiny.model_validate({"channels": [16, 32], "size": 8, **settings})
    return part.build(seed(), tokens=WIDTH, vector=vector)


@pytest.fixture(scope="module")
def net() -> Generator:
    return little(control=5)


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randn(4, 6, WIDTH, generator=seed(9))


def told_of(images: Tensor) -> Tensor:
    """Tokens that say what a picture is: the colour of each place of a 4 × 4 grid, and which place it is."""
    colour = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(2).transpose(1, 2)
    place = torch.eye(16).expand(len(images), -1, -1)
    return torch.cat([4 * colour - 2, place, torch.zeros(len(images), 16, WIDTH - 19)], dim=2)


def two_way(seen: Tensor, found: Tensor) -> float:
    """Share of pairs in which a picture resembles its own more than another, by a definition of its own."""
    r = np.corrcoef(seen.flatten(1).numpy(), found.flatten(1).numpy())[: len(seen), len(seen) :]
    wins = [r[i, j] < r[j, j] for j in range(len(r)) for i in range(len(r)) if i != j]
    return float(np.mean(wins))


@pytest.fixture(scope="module")
def trained() -> Generator:
    """100 steps of 16 pictures, clean-picture prediction."""
    images = blobs(512, 16, seed(1))[0]
    generator = Tiny().build(seed(), tokens=WIDTH)
    assert 0.2e6 < parameters(generator) < 0.8e6
    optimiser = torch.optim.AdamW(generator.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=100)
    draw = seed(2)
    for _ in range(100):
        rows = torch.randint(len(images), (16,), generator=draw)
        loss = generator.loss(images[rows], Conditioning(tokens=told_of(images[rows])), draw)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return generator.eval()


def test_tokens_decide_the_picture(trained: Generator) -> None:
    """Beside chance, of no tokens, stand both the tokens of the picture and, falling to chance, those of another."""
    images = blobs(48, 16, seed(5))[0]
    told = told_of(images)
    own = trained.sample(Conditioning(tokens=told), seed(3), steps=8)
    without = trained.sample(Conditioning(), seed(3), steps=8, pictures=48)
    swapped = trained.sample(Conditioning(tokens=told.roll(1, 0)), seed(3), steps=8)
    assert two_way(images, own) > two_way(images, without) + 0.15
    assert two_way(images, own) > two_way(images, swapped) + 0.15
    assert abs(two_way(images, without) - 0.5) < 0.12


def test_the_start_shows_through(trained: Generator) -> None:
    """The later it begins, the nearer it stays to the picture that it begins from; at 1 it is that picture."""
    images = blobs(8, 16, seed(6))[0]
    other = told_of(blobs(8, 16, seed(7))[0])
    near = []
    for at in (0.0, 0.4, 0.8, 1.0):
        found = trained.sample(Conditioning(tokens=other, start=images, start_at=at), seed(3), steps=10)
        near.append(float((found - images).square().mean()))
    assert near[0] > near[1] > near[2] > near[3] and near[3] < 1e-10


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm"])
def test_guidance_raises_what_guides(trained: Generator, scheduler: str) -> None:
    """More strength, more red; in every scheduler's own terms."""
    generator = replaced(trained, scheduler)

    def red(images: Tensor) -> Tensor:
        return (images[:, 0] - images[:, 1:].mean(1)).mean(dim=(1, 2))

    found = []
    for strength in (0.0, 5.0, 20.0, 60.0):
        given = Conditioning(guide=red, guide_strength=strength)
        found.append(float(red(generator.sample(given, seed(3), steps=6, pictures=6)).mean()))
    assert found[0] < found[1] < found[2] < found[3]
    assert found[3] > found[0] + 0.02


def replaced(generator: Generator, scheduler: str) -> Generator:
    """The same networks under another scheduler."""
    made = Tiny.model_validate({"scheduler": scheduler})._scheduler()
    return Generator(generator.unet, made, generator.codec).eval()


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm"])
def test_schedulers_agree(trained: Generator, scheduler: str) -> None:
    """With many steps all solve the same equation from the same noise."""
    images = blobs(8, 16, seed(5))[0]
    given = Conditioning(tokens=told_of(images))
    found = replaced(trained, scheduler).sample(given, seed(3), steps=25)
    assert two_way(images, found) > 0.7


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm"])
def test_parts_are_those_of_the_scheduler(scheduler: str, prediction: str, tokens: Tensor) -> None:
    """Told the truth in whichever terms, `parts` finds noise and clean picture, and a scheduler's last step the picture."""
    generator = little(scheduler=scheduler, prediction=prediction)
    clean = 0.3 * torch.randn(2, 3, 8, 8, generator=seed(1))
    noise = torch.randn(2, 3, 8, 8, generator=seed(2))
    made = type(generator.scheduler).from_config(generator.scheduler.config)
    made.set_timesteps(10)
    for place in (2, 6, 9):
        alpha = signal_share(made, place)
        noisy = made.add_noise(clean, noise, made.timesteps[place : place + 1])
        seen = made.scale_model_input(noisy, made.timesteps[place])
        made._step_index = None  # Euler's counts its calls
        torch.testing.assert_close(
            seen, alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, rtol=1e-3, atol=1e-3
        )
        found = generator.parts(generator.target(clean, noise, alpha), seen, alpha)
        torch.testing.assert_close(found[0], noise, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(found[1], clean, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_guidance_is_the_published_step(prediction: str, tokens: Tensor) -> None:
    """noise + √(1−ᾱ)·∇E of E = −strength·guide at clean·√(1−ᾱ) + x·(1−√(1−ᾱ)), written out here for one step."""
    generator = little(prediction=prediction)
    x = torch.randn(2, 3, 8, 8, generator=seed(1)).requires_grad_()
    time, alpha = torch.tensor(400), generator.scheduler.alphas_cumprod[400]
    given = Conditioning(
        tokens=tokens[:2], guide=lambda images: images.square().mean((1, 2, 3)), guide_strength=30.0
    )
    said = generator._guided(x.detach(), time, given, given, 1.0, alpha).detach()
    told = generator.predict(x, time, given)
    if prediction == "epsilon":
        eps, clean = told, (x - (1 - alpha).sqrt() * told) / alpha.sqrt()
    elif prediction == "sample":
        eps, clean = (x - alpha.sqrt() * told) / (1 - alpha).sqrt(), told
    else:
        clean = alpha.sqrt() * x - (1 - alpha).sqrt() * told
        eps = alpha.sqrt() * told + (1 - alpha).sqrt() * x
    mixed = clean * (1 - alpha).sqrt() + x * (1 - (1 - alpha).sqrt())
    energy = -30.0 * ((mixed + 1) / 2).clamp(0, 1).square().mean((1, 2, 3)).sum()
    moved = eps + (1 - alpha).sqrt() * torch.autograd.grad(energy, x)[0]
    found, _ = generator.parts(said, x.detach(), alpha)
    torch.testing.assert_close(found, moved.detach(), rtol=1e-4, atol=1e-4)
    assert (moved - eps).abs().max() > 1e-3


def test_no_guidance_is_plain_sampling_to_the_bit(net: Generator, tokens: Tensor) -> None:
    plain = net.sample(Conditioning(tokens=tokens), seed(), steps=3)
    calls = []
    guided = Conditioning(tokens=tokens, guide=lambda images: calls.append(1) or images.mean((1, 2, 3)))
    assert torch.equal(net.sample(guided, seed(), steps=3), plain) and not calls
    with_it = net.sample(replace(guided, guide_strength=5.0), seed(), steps=3)
    assert not torch.equal(with_it, plain) and calls


def test_a_new_control_branch_changes_nothing(net: Generator, tokens: Tensor) -> None:
    """To the bit; a gradient reaches it all the same, and once its zeros have moved the map shows."""
    hint = torch.randn(4, 5, 8, 8, generator=seed(1))
    plain, controlled = Conditioning(tokens=tokens), Conditioning(tokens=tokens, control=hint)
    assert torch.equal(net.sample(plain, seed(), steps=3), net.sample(controlled, seed(), steps=3))
    fresh = little(control=5)
    images = blobs(4, 8, seed())[0]
    optimiser = torch.optim.SGD(fresh.control.parameters(), lr=0.5)
    for _ in range(3):  # one step for the zeros that go out, the next for those that come in
        optimiser.zero_grad()
        fresh.loss(images, controlled, seed(1)).backward()
        optimiser.step()
    assert fresh.control.hint.weight.abs().sum() > 0
    changed = [fresh.sample(replace(controlled, control=one), seed(), steps=3) for one in (hint, -hint)]
    assert not torch.equal(*changed)
    off = replace(controlled, control_strength=0.0)
    assert torch.equal(fresh.sample(off, seed(), steps=3), fresh.sample(plain, seed(), steps=3))


def test_all_hooks_at_once(tokens: Tensor) -> None:
    generator = little(control=5, vector=7, unconditional="random")
    images = blobs(4, 8, seed())[0]
    given = Conditioning(
        tokens=tokens,
        vector=torch.randn(4, 7, generator=seed(1)),
        control=torch.randn(4, 5, 8, 8, generator=seed(2)),
        guide=lambda images: images.mean((1, 2, 3)),
        guide_strength=3.0,
        start=images,
        start_at=0.3,
    )
    shares: list[float] = []
    found = generator.sample(given, seed(), steps=5, scale=3.0, progress=shares.append)
    assert found.shape == (4, 3, 8, 8) and found.min() >= 0 and found.max() <= 1
    assert shares[-1] == 1 and shares == sorted(shares) and len(shares) == 5 - round(0.3 * 5)
    for name, other in {
        "tokens": tokens.flip(0), "vector": -given.vector, "guide_strength": 0.0, "start": images.flip(0), "start_at": 0.6
    }.items():  # fmt: skip
        assert not torch.equal(
            generator.sample(replace(given, **{name: other}), seed(), steps=5, scale=3.0), found
        ), name
    assert torch.isfinite(generator.loss(images, replace(given, start=None), seed()))


def test_a_picture_is_the_same_in_any_company(net: Generator, tokens: Tensor) -> None:
    given = Conditioning(tokens=tokens)
    whole = net.sample(given, seed(), steps=3, scale=2.0)
    torch.testing.assert_close(
        net.sample(given, seed(), steps=3, scale=2.0, at_once=3), whole, rtol=1e-4, atol=1e-5
    )
    assert not torch.equal(net.sample(given, seed(1), steps=3, scale=2.0), whole)
    assert torch.equal(net.sample(given, seed(), steps=3, scale=2.0), whole)


def test_scale_contrasts_with_nothing(net: Generator, tokens: Tensor) -> None:
    """A scale of 0 is what comes of no tokens, of 1 the plain conditional picture."""
    given = Conditioning(tokens=tokens)
    zeros = Conditioning(tokens=torch.zeros_like(tokens))
    torch.testing.assert_close(
        net.sample(given, seed(), steps=2, scale=0.0), net.sample(zeros, seed(), steps=2)
    )
    assert not torch.equal(net.sample(given, seed(), steps=2, scale=3.0), net.sample(given, seed(), steps=2))


@pytest.mark.parametrize("policy", ["zeros", "random", "learned"])
def test_what_nothing_is(policy: str, tokens: Tensor) -> None:
    generator = little(unconditional=policy, drop=0.9)
    images = blobs(4, 8, seed())[0]
    generator.loss(images, Conditioning(tokens=tokens), seed()).backward()
    if policy == "learned":
        assert generator.nothing is not None and generator.nothing.grad is not None
        assert generator.nothing.grad.abs().sum() > 0
    else:
        assert generator.nothing is None
    nothing = generator._without(Conditioning(tokens=tokens), 4, seed()).tokens
    assert nothing is not None and nothing.shape == tokens.shape
    assert (nothing.std() > 0.8) == (policy == "random")
    asked: list[Tensor] = []
    with mock.patch.object(
        generator, "predict", lambda latents, time, given: asked.append(given.tokens) or latents
    ):
        generator.sample(Conditioning(), seed(), steps=2, scale=4.0, pictures=3)
    assert len(asked) == 2 and asked[0].shape == (3, 1, WIDTH)
    assert (asked[0].std() > 0.8) == (policy == "random")


def test_loss_reaches_every_weight(tokens: Tensor) -> None:
    generator = little(control=5, vector=7)
    with torch.no_grad():
        for one in generator.control.parameters():
            if not one.any():
                one.add_(0.1)
    given = Conditioning(
        tokens=tokens,
        vector=torch.randn(4, 7, generator=seed()),
        control=torch.randn(4, 5, 8, 8, generator=seed()),
    )
    generator.loss(blobs(4, 8, seed())[0], given, seed()).backward()
    assert not [name for name, one in generator.named_parameters() if one.grad is None or not one.grad.any()]


def test_the_loss_is_of_what_is_asked(tokens: Tensor) -> None:
    """A UNet that gave the target would have none: the clean picture does not depend on the noise, the others do."""
    images = blobs(4, 8, seed())[0]
    given = Conditioning(tokens=tokens)
    for prediction in ("sample", "epsilon", "v_prediction"):
        generator = little(prediction=prediction, drop=0.0)
        clean, noise = 2 * images - 1, torch.randn(4, 3, 8, 8, generator=seed(0))
        time = torch.randint(
            1000, (4,), generator=(draw := seed(0), torch.randn(4, 3, 8, 8, generator=draw))[0]
        )
        alpha = generator.scheduler.alphas_cumprod[time].view(4, 1, 1, 1)
        target = {
            "sample": clean,
            "epsilon": noise,
            "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
        }[prediction]
        told = generator.predict(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, time, given)
        torch.testing.assert_close(generator.loss(images, given, seed(0)), (told - target).square().mean())


def test_building_and_sampling_leave_the_global_state_alone(tokens: Tensor) -> None:
    before = torch.get_rng_state()
    one, other = little(), little()
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    one.sample(Conditioning(tokens=tokens), seed(), steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_latents(tokens: Tensor, tmp_path: Path) -> None:
    """A UNet on an autoencoder's latents; the same weights come back from a folder."""
    generator = little(
        codec={"kind": "autoencoder_kl", "channels": [8, 16]}, scheduler="euler", prediction="epsilon"
    )
    given = Conditioning(tokens=tokens)
    found = generator.sample(given, seed(), steps=2)
    assert found.shape == (4, 3, 16, 16) and generator.size == 16
    generator.unet.save_pretrained(tmp_path / "unet")
    generator.codec.network.save_pretrained(tmp_path / "vae")
    part = Tiny(
        weights=str(tmp_path),
        codec=AutoencoderKl(weights=str(tmp_path)),
        scheduler="euler",
        prediction="epsilon",
    )
    again = part.build(seed(5), tokens=WIDTH)
    torch.testing.assert_close(again.sample(given, seed(), steps=2), found)
    images = blobs(2, 16, seed())[0].requires_grad_()
    again.codec.decode(again.codec.encode(images)).mean().backward()
    assert images.grad is not None and images.grad.any()
    assert not any(one.requires_grad for one in again.codec.parameters())


@pytest.mark.parametrize(
    ("part", "weights", "given"),
    [
        (StableDiffusion2(control=320), 865_910_724, {"tokens": (2, 77, 1024), "control": (2, 320, 64, 64)}),
        # of SDXL's 2 567 463 684 less: 384 features fewer for keys and values of 10 layers of 640 and 60 of 1280, and
        # 1792 fewer that are projected beside the time
        (
            SdxlUnclip(),
            2_567_463_684 - 2 * 384 * (10 * 640 + 60 * 1280) - 1792 * 1280,
            {"tokens": (2, 256, 1664), "vector": (2, 4)},
        ),
    ],
    ids=["stable_diffusion_2", "sdxl_unclip"],
)
def test_published_sizes(part: Diffusion, weights: int, given: dict[str, tuple[int, ...]]) -> None:
    """Their parameter counts, and one pass of shapes alone."""
    generator = part.build(seed(), device="meta")
    assert parameters(generator.unet) == weights
    assert parameters(generator.codec) == 83_653_863
    latents = torch.zeros(2, 4, part.size, part.size, device="meta")
    asked = Conditioning(**{name: torch.zeros(shape, device="meta") for name, shape in given.items()})
    assert generator.predict(latents, torch.zeros(2, device="meta"), asked).shape == latents.shape
    assert generator.size == 8 * part.size
    with pytest.raises(RecipeError, match="the embedder's tokens have 64"):
        part.build(seed(), tokens=64, device="meta")


def test_families() -> None:
    assert known(Diffusion) == ["sdxl_unclip", "stable_diffusion_2", "tiny"]
    assert known(Codec) == ["autoencoder_kl", "patches", "pixels"]


def test_text_time_numbers_are_read_from_the_config(tokens: Tensor) -> None:
    """SDXL's own: a text part of 10 and 6 numbers of 8 features make 58."""
    from diffusers import UNet2DConditionModel

    small = {
        **Tiny(channels=[16, 32], size=8).config(WIDTH, None),
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 58,
    }  # fmt: skip
    made = little()
    generator = Generator(UNet2DConditionModel(**small), made.scheduler, made.codec)
    said = generator._beside_time(Conditioning(vector=torch.arange(32.0).view(2, 16)), 2)["added_cond_kwargs"]
    assert said["text_embeds"].shape == (2, 10) and said["time_ids"][0].tolist() == [10, 11, 12, 13, 14, 15]
    with pytest.raises(DataError, match="vector of 17"):
        generator.sample(Conditioning(tokens=tokens, vector=torch.zeros(4, 17)), seed(), steps=1)


REFUSED: dict[str, tuple[Callable[[Generator, Tensor], Any], str]] = {
    "width": (lambda net, t: net.sample(Conditioning(tokens=t[..., :5]), seed(), 1), "tokens of 5 features"),
    "vector": (lambda net, t: net.sample(Conditioning(vector=torch.zeros(4, 3)), seed(), 1), "takes none"),
    "rows": (lambda net, t: Conditioning(tokens=t, vector=t[:2, 0]), "of one batch"),
    "start": (lambda net, t: Conditioning(tokens=t, start_at=2.0), "from 0 to 1"),
    "number": (lambda net, t: net.sample(Conditioning(), seed(), 1), "a number of pictures"),
    "map": (lambda net, t: net.sample(Conditioning(control=torch.zeros(4, 5, 4, 4)), seed(), 1), "control map of shape"),
    "branch": (lambda net, t: little().sample(Conditioning(control=torch.zeros(4, 5, 8, 8)), seed(), 1), "no control branch"),
}  # fmt: skip


@contextmanager
def jaxtyping_off() -> Iterator[None]:
    """A user has no shape checks, which would refuse first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, net: Generator, tokens: Tensor) -> None:
    ask, said = REFUSED[name]
    with jaxtyping_off(), pytest.raises(DataError, match=said):
        ask(net, tokens)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Tiny(weights=str(tmp_path / "none")).build(seed())
    with pytest.raises(CheckpointError, match="can't be loaded"):
        AutoencoderKl(weights=str(tmp_path)).build(seed())


def test_codec_and_unet_must_fit() -> None:
    made = little()
    with pytest.raises(RecipeError, match="choose another codec"):
        Generator(made.unet, made.scheduler, AutoencoderKl(latent=4).build(seed()))
