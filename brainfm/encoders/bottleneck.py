"""A latent bottleneck: a few learned queries for each stretch of time read the tokens, think, and are read by the tokens.

Reading by learned queries after Jaegle et al. 2021 (Perceiver, arXiv:2103.03206, §3.1), for the sensors of each moment of EEG
after Döner et al. 2025 (LUNA, §3.2), which merges the queries of a moment side by side, as `fold` does; tokens ask latents
after Jaegle et al. 2022 (Perceiver IO, arXiv:2107.14795, §3.1). Of spikes every latent may read all
(`across`), when being told by rotation, after Azabou et al. 2023 (POYO, arXiv:2310.16046, §2.2).
"""

import math

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.encoders import Shaped
from brainfm.layers.attention import everyone, heads_for
from brainfm.layers.bins import Bins
from brainfm.layers.placed import Placed
from brainfm.tokens import Tokens


class Bottleneck(Shaped):
    """Linear cost in the number of tokens: `depth` blocks run over latents alone, whose number follows from the window's length.

    `fold` latents stand side by side in the blocks, which are `width · fold` wide: tokens can then be narrow, and cheap.
    """

    seconds: float = Field(default=0.5, gt=0, description="of signal that a group of latents reads")
    latents: int = Field(default=8, ge=1, description="that read each stretch")
    fold: int = Field(default=1, ge=1, description="latents that the blocks see as one")
    across: bool = Field(
        default=False,
        description="whether latents read, and are read by, all tokens and not those of their stretch alone",
    )

    @property
    def inner(self) -> int:
        return self.width * self.fold

    @model_validator(mode="after")
    def _folds(self) -> "Bottleneck":
        if self.latents % self.fold:
            raise ValueError(f"{self.latents} latents can't be folded {self.fold} at a time")
        return self

    def build(self, modalities: int) -> "BottleneckEncoder":
        return BottleneckEncoder(self, modalities)


class BottleneckEncoder(Placed):
    """`Tokens -> Tokens`; padding is neither read nor changed by what it holds."""

    def __init__(self, part: Bottleneck, modalities: int) -> None:
        super().__init__(part.width, modalities, part.where, part.when)
        self.part = part
        heads, depth = heads_for(part.width), part.depth + 2
        self.ask = nn.Parameter(torch.randn(part.latents, part.width) / math.sqrt(part.width))
        self.read = part.block(part.width, heads, depth, cross=True)
        self.blocks = nn.ModuleList(part.block(part.inner, part.heads, depth) for _ in range(part.depth))
        self.write = part.block(part.width, heads, depth, cross=True)
        self.norm = nn.LayerNorm(part.width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        x, bins = self.placed(tokens), Bins.of(tokens, self.part.seconds, self.part.across)
        time = bins.time.repeat_interleave(self.part.latents).expand(x.shape[0], -1)
        latents = self.ask.repeat(bins.groups.count, 1).expand(x.shape[0], -1, -1)
        own, latents_own = self.clock(tokens.time), self.clock(time)
        latents = self.read(latents, latents_own, x, own, mix=bins.read)
        latents = self.think(latents, time, bins)
        return tokens.with_embedding(self.norm(self.write(x, own, latents, latents_own, mix=bins.write)))

    def think(
        self, latents: Float[Tensor, "batch latent width"], time: Float[Tensor, "batch latent"], bins: Bins
    ) -> Float[Tensor, "batch latent width"]:
        """Let the latents of all stretches see each other, `fold` side by side."""
        fold = self.part.fold
        x = latents.unflatten(1, (-1, fold)).flatten(2)
        there = None if bins.groups.whole else bins.any.repeat_interleave(self.part.latents // fold, dim=1)
        mix = everyone(there)
        for block in self.blocks:
            x = block(x, self.clock(time[:, ::fold]), mix=mix)
        return x.unflatten(2, (fold, -1)).flatten(1, 2)
