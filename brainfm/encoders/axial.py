"""Axial attention: in every block half of the heads look along time, half across space (as Wang et al. 2025, CBraMod, §2.3)."""

import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.encoders import Encoder
from brainfm.layers.among import inside
from brainfm.layers.attention import Block, Mix
from brainfm.layers.fixed import of_sensors
from brainfm.layers.placed import Placed
from brainfm.tokens import Tokens

MOMENT = 0.1
"""Seconds of a moment where tokens are events."""


class Axial(Encoder):
    """A token attends to those of its own sensor, and to those of its own moment.

    Sensors and moments are read from the tokens, so any of them may be missing: hidden, padded, events, two instruments. The
    cost of a layer grows with tokens × (tokens of a sensor + tokens of a moment). With `halves` it has
    CBraMod's projections, which have half the weights.
    """

    heads: int = Field(ge=2)
    halves: bool = Field(
        default=False, description="whether either half of the heads has half of the features to itself"
    )
    moment: float | None = Field(
        default=None, gt=0, description="seconds; where not given a patch, or 0.1 where tokens are events"
    )

    @model_validator(mode="after")
    def _halves_have_heads(self) -> "Axial":
        if self.halves and self.heads % 2:
            raise ValueError(f"halves need an even number of heads, not {self.heads}")
        return self

    def build(self, modalities: int) -> "AxialEncoder":
        return AxialEncoder(self, modalities)


class AxialEncoder(Placed):
    """`Tokens -> Tokens`; padding is neither attended to nor changed by what it holds."""

    def __init__(self, part: Axial, modalities: int) -> None:
        super().__init__(part.width, modalities, part.where, part.when)
        self.part = part
        self.blocks = nn.ModuleList(
            Block(part.width, part.heads, part.depth, halves=part.halves) for _ in range(part.depth)
        )
        self.norm = nn.LayerNorm(part.width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        moment = self.part.moment or tokens.period or MOMENT
        mix = both(inside(tokens.sensor, tokens.valid), inside(moments(tokens, moment), tokens.valid))
        x, time = self.placed(tokens), self.clock(tokens.time)
        for block in self.blocks:
            x = block(x, time, mix=mix)
        return tokens.with_embedding(self.norm(x))


@of_sensors()
def moments(tokens: Tokens, seconds: float) -> Int[Tensor, "batch token"]:
    """A number for each moment in which there is a token, counted from 0."""
    return torch.unique((tokens.time / seconds).floor(), return_inverse=True)[1]


def both(first: Mix, second: Mix) -> Mix:
    """One `Mix` for the first half of the heads, the other for the rest."""

    def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        half = q.shape[2] // 2
        parts = [heads.tensor_split([half], dim=2) for heads in (q, k, v)]
        return torch.cat(
            [one(*side) for one, side in zip((first, second), zip(*parts, strict=True), strict=True)], dim=2
        )

    return mix
