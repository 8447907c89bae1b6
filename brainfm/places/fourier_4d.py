"""Place and time as one code: Fourier features of all four, a small network beside them (REVE, El Ouahidi et al. 2025, §3)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.places import Place
from brainfm.tokens import Tokens

SHIFT, PERIOD = 0.4, 1.8
"""Metres: a head's coordinates and ten seconds lie within one period (authors' code)."""
SECOND = 0.1
"""Metres that stand for a second."""


class Fourier4D(Place):
    """LN(F(p, t) + MLP(p, t)): F are the cosines, then the sines of 2π k·((p, 0.1 t) + 0.4) / 1.8 for all k of a grid.

    As many of them as the width has; the MLP has one layer. The grid knows waves that run through space and time at once, which
    a code of place plus a code of time does not. It tells time already: take `when: {kind: none}` beside it. REVE's noise of
    2.5 mm on positions in training is left out. A token without a position has one learned vector for it, and its time.
    """

    frequencies: int = Field(default=4, ge=2, description="of each of the four, from 0 on; REVE base has 4")

    def build(self, width: int) -> "Fourier4DPlace":
        return Fourier4DPlace(self, width)


class Fourier4DPlace(nn.Module):
    """`Tokens -> (batch, token, width)`."""

    def __init__(self, part: Fourier4D, width: int) -> None:
        super().__init__()
        self.part = part
        self.mlp = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.LayerNorm(width, bias=False))
        self.norm = nn.LayerNorm(width, bias=False)
        self.nowhere = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        located = tokens.located.unsqueeze(-1)
        place = torch.where(located, tokens.position, torch.zeros_like(tokens.position))
        both = torch.cat([place, SECOND * tokens.time.unsqueeze(-1).to(place.dtype)], dim=-1)
        code = self.waves(both) + self.mlp(both)
        return self.norm(torch.where(located, code, code + self.nowhere.to(code.dtype)))

    def waves(self, both: Float[Tensor, "batch token 4"]) -> Float[Tensor, "batch token width"]:
        """F, as wide as the token; zeros where the grid has fewer waves."""
        width = self.nowhere.shape[0]
        each = torch.arange(self.part.frequencies, dtype=both.dtype, device=both.device)
        grid = torch.cartesian_prod(each, each, each, each)[:width]
        angle = (2 * math.pi / PERIOD) * (both + SHIFT) @ grid.T
        found = torch.cat([angle.cos(), angle.sin()], dim=-1)[..., :width]
        return F.pad(found, (0, width - found.shape[-1]))
