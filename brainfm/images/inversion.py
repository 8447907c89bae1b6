"""Feature inversion: from feature maps that were predicted to the picture that has them.

Two ways. `prior` fits an untrained network from noise to the picture, whose shape alone favours what pictures look like (Ulyanov
et al. 2018, arXiv:1711.10925), as Brain-IT does (arXiv:2510.25976, inference). `latents` descends on a codec's latents.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.errors import DataError
from brainfm.images.frozen import FrozenEmbedder
from brainfm.images.seeded import seeded
from brainfm.part import Settings

Picture = Float[Tensor, "_ 3 side side"]
AT_ONCE = 64
Progress = Callable[[float, float], None]
"""Called with the share that is done and the newest loss."""


class Inversion(Settings):
    """Brain-IT's numbers by default. `width`, `scales`, `skip` and `noise` are of the prior's network alone."""

    kind: Literal["prior", "latents"] = "prior"
    steps: int = Field(default=1800, ge=1)
    rate: float = Field(default=1e-3, gt=0, description="of Adam")
    jitter: float = Field(
        default=1 / 30, ge=0, description="noise added in every step to what is mapped to the picture"
    )
    average: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the running mean of pictures that is given"
    )
    width: int = Field(default=128, ge=4)
    scales: int = Field(default=3, ge=1)
    skip: int = Field(default=2, ge=1, description="channels that pass by at each scale")
    noise: int = Field(default=32, ge=1, description="channels of noise")


def invert(
    maps: Sequence[Float[Tensor, "batch _ _ _"]],
    embedder: FrozenEmbedder,
    size: int,
    settings: Inversion,
    generator: torch.Generator,
    codec: Any = None,
    progress: Progress | None = None,
) -> Float[Tensor, "batch 3 size size"]:
    """Pictures of side `size` whose `embedder.maps` are nearest to `maps`.

    With `prior` one after another, each with a network of its own; latents, of the `codec`, descend many together, each by
    itself. Raises `DataError` where the maps are not of this embedder, or a codec is missing.
    """
    with torch.no_grad():
        blank = embedder.maps(maps[0].new_full((1, 3, size, size), 0.5))
    own, given = ([tuple(one.shape[1:]) for one in several] for several in (blank, maps))
    if own != given:
        raise DataError(f"maps of shapes {given} are not those of {embedder.name}, {own}")
    if settings.kind == "latents" and codec is None:
        raise DataError("inversion by latents needs a codec; pixels are one")
    count = len(maps[0])
    pictures, together = [], AT_ONCE if settings.kind == "latents" else 1
    for row in range(0, count, together):
        wanted = [one[row : row + together].detach() for one in maps]

        def tell(share: float, loss: float, row: int = row, some: int = len(wanted[0])) -> None:
            if progress is not None:
                progress((row + share * some) / count, loss)

        pictures.append(_some(wanted, embedder, size, settings, generator, codec, tell))
    return torch.cat(pictures)


def _some(
    wanted: list[Tensor],
    embedder: FrozenEmbedder,
    size: int,
    settings: Inversion,
    generator: torch.Generator,
    codec: Any,
    tell: Progress,
) -> Picture:
    code, render, weights = _start(wanted[0], size, settings, generator, codec)
    optimiser = torch.optim.Adam(weights, lr=settings.rate)
    mean: Tensor | None = None
    for step in range(settings.steps):
        jitter = torch.randn(code.shape, generator=generator, device=generator.device).to(code)
        picture = render(code + settings.jitter * jitter)
        loss = distance(embedder.maps(picture), wanted)
        optimiser.zero_grad()
        (len(picture) * loss).backward()  # each picture's slope is its own, however many there are
        optimiser.step()
        found = picture.detach()
        # early in a run a mean over 1/(1 − average) steps would be of its beginning: it starts short and grows
        keep = min(settings.average, step / (step + 1))
        mean = found if mean is None else keep * mean + (1 - keep) * found
        tell((step + 1) / settings.steps, float(loss.detach()))
    assert mean is not None
    return mean


def distance(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean over maps of their mean squared error over all pictures."""
    return torch.stack([F.mse_loss(one, other) for one, other in zip(maps, wanted, strict=True)]).mean()


def _start(
    like: Tensor, size: int, settings: Inversion, generator: torch.Generator, codec: Any
) -> tuple[Tensor, Callable[[Tensor], Tensor], list[Tensor]]:
    """(what is mapped to a picture, how, and what is fitted)"""
    if settings.kind == "latents":
        with torch.no_grad():
            grey = codec.encode(like.new_full((len(like), 3, size, size), 0.5))
        code = grey.detach().requires_grad_(True)
        return code, codec.decode, [code]
    noise = torch.rand(
        (1, settings.noise, size, size), generator=generator, device=generator.device
    ) * math.sqrt(12 * 0.1)  # even noise of variance .1
    with seeded(generator):
        network = SkipNet(settings).to(like)
    return noise.to(like), network, list(network.parameters())


class SkipNet(nn.Module):
    """Noise (batch, channel, height, width) to a picture of that size: an hourglass with a narrow bypass at every scale."""

    def __init__(self, settings: Inversion) -> None:
        super().__init__()
        width = settings.width
        before = [settings.noise, *[width] * (settings.scales - 1)]
        self.down = nn.ModuleList(
            nn.Sequential(_convolved(one, width, 3, stride=2), _convolved(width, width, 3)) for one in before
        )
        self.bypass = nn.ModuleList(_convolved(one, settings.skip, 1) for one in before)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width + settings.skip),
                _convolved(width + settings.skip, width, 3),
                _convolved(width, width, 1),
            )
            for _ in before
        )
        self.out = nn.Conv2d(width, 3, 1)

    def forward(
        self, noise: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        passed, x = [], noise
        for down, bypass in zip(self.down, self.bypass, strict=True):
            passed.append(bypass(x))
            x = down(x)
        for up, beside in zip(reversed(self.up), reversed(passed), strict=True):
            x = F.interpolate(x, size=beside.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, beside], dim=1))
        return self.out(x).sigmoid()


def _convolved(before: int, after: int, side: int, stride: int = 1) -> nn.Sequential:
    """A convolution that mirrors at the edge, a norm, a leaky rectifier."""
    return nn.Sequential(
        nn.Conv2d(before, after, side, stride, padding=side // 2, padding_mode="reflect"),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.2),
    )
