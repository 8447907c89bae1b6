"""Dilated convolutions over time, row by row, with gates and skips (Défossez et al. 2023, arXiv:2208.12266, §2.3).

Two convolutions of three taps and a gated one (GLU) make a block; dilations double from convolution to convolution and begin
anew after sixteen. The paper normalises over the batch; each token by itself is the default here, with as many weights, so
that windows do not mix and a step gives the same however it is divided.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from brainfm.encoders import Encoder
from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors
from brainfm.layers.placed import Placed
from brainfm.tokens import Tokens

DILATIONS = 5
"""Dilations 1, 2, 4, 8, 16, and again."""


class Dilated(Encoder):
    """The cost grows with the tokens alone. Rows do not hear each other, so it is for tokens that stand for the whole head,
    or for what is to stay apart; tokens that are hidden are gaps, which say nothing.

    With `placed` the tokens' place and instrument are added first, as every encoder does; a row that is the whole head has none.
    """

    regular: ClassVar[bool] = True

    heads: int = Field(default=1, description="it has none")
    hidden: int | None = Field(default=None, ge=1, description="width of the convolutions; the tokens' own")
    norm: Literal["token", "batch"] = "token"
    placed: bool = True

    @property
    def told(self) -> int:
        return self.hidden or self.width

    def build(self, modalities: int) -> "DilatedEncoder":
        return DilatedEncoder(self, modalities)


class DilatedEncoder(nn.Module):
    """`Tokens -> Tokens`; raises `DataError` for tokens that lie on no grid of time."""

    def __init__(self, part: Dilated, modalities: int) -> None:
        super().__init__()
        self.part = part
        if part.placed:
            self.start = Placed(part.width, modalities, part.where, part.when)
        self.blocks = nn.ModuleList(
            GatedBlock(part.width if number == 0 else part.told, part.told, 2 * number, part.norm)
            for number in range(part.depth)
        )

    def forward(self, tokens: Tokens) -> Tokens:
        if not tokens.period:
            raise DataError(
                "the encoder dilated needs tokens at equal steps of time, one instrument's or several of one step; "
                "take encoder.kind: transformer"
            )
        x = self.start.placed(tokens) if self.part.placed else tokens.embedding
        place, there = cells(tokens)
        count = there.shape[-1]
        grid = x.new_zeros(x.shape[0], tokens.rows * count, x.shape[2])
        index = place.unsqueeze(-1)
        grid = grid.scatter(1, index.expand_as(x), x * tokens.valid.unsqueeze(-1))
        lines = grid.unflatten(1, (tokens.rows, count)).flatten(0, 1).transpose(1, 2)
        gaps = there.flatten(0, 1).unsqueeze(1).to(x.dtype)
        for block in self.blocks:
            lines = block(lines, gaps)
        out = lines.transpose(1, 2).unflatten(0, (x.shape[0], tokens.rows)).flatten(1, 2)
        return tokens.with_embedding(out.gather(1, index.expand(-1, -1, out.shape[2])))


@of_sensors()
def cells(tokens: Tokens) -> tuple[Int[Tensor, "batch token"], Bool[Tensor, "batch row time"]]:
    """The cell of each token in a grid of rows and times, and which cells hold a token that is no padding."""
    step = (tokens.time / tokens.period).floor().long()
    count = int(step.max()) + 1
    place = tokens.sensor * count + step
    there = torch.zeros(place.shape[0], tokens.rows * count, dtype=torch.bool, device=place.device)
    there = there.scatter(1, place, tokens.valid)
    return place, there.unflatten(1, (tokens.rows, count))


class GatedBlock(nn.Module):
    """Two dilated convolutions, each added to what it was given where shapes allow, and one whose half gates the other half."""

    def __init__(self, width: int, hidden: int, first: int, norm: Literal["token", "batch"]) -> None:
        super().__init__()
        dilations = [2 ** ((first + more) % DILATIONS) for more in (0, 1)]
        widths = [width, hidden]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(wide, hidden, 3, padding=dilation, dilation=dilation)
            for wide, dilation in zip(widths, dilations, strict=True)
        )
        kind = TokenNorm if norm == "token" else nn.BatchNorm1d
        self.norms = nn.ModuleList(kind(hidden) for _ in widths)
        self.gate = nn.Conv1d(hidden, 2 * hidden, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "row width time"], gaps: Float[Tensor, "row 1 time"]
    ) -> Float[Tensor, "row hidden time"]:
        """`gaps` is 0 where there is no token: nothing is heard from there."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            after = F.gelu(norm(convolution(x))) * gaps
            x = x + after if x.shape == after.shape else after
        return F.glu(self.gate(x), dim=1) * gaps


class TokenNorm(nn.LayerNorm):
    """Layer norm over the channels of (row, channel, time)."""

    def forward(self, x: Float[Tensor, "row width time"]) -> Float[Tensor, "row width time"]:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)
