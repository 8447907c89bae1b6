"""Finite scalar quantization: a few numbers, each rounded to one of its levels (Mentzer et al. 2023, arXiv:2309.15505)."""

import math
from typing import Annotated

from pydantic import Field

from brainfm.layers.codebook import Levels
from brainfm.quantizers import Quantizer

GRIDS = (
    [3, 3],
    [5, 3],
    [8, 4],
    [8, 8],
    [5, 5, 5],
    [8, 6, 5],
    [8, 8, 8],
    [8, 5, 5, 5],
    [8, 8, 6, 5],
    [7, 5, 5, 5, 5],
)
"""From 9 to 4375 codes; those of 2⁸, 2¹⁰ and 2¹² are of Mentzer et al. 2023, table 1."""


class Fsq(Quantizer):
    """One code for each place of a grid with these `levels` along its axes; there is no codebook that could fall into disuse."""

    levels: list[Annotated[int, Field(ge=3)]] = Field(min_length=1)

    def build(self, width: int) -> Levels:
        return Levels(width, tuple(self.levels))

    def of_size(self, codes: int) -> str:
        fitting = [grid for grid in GRIDS if math.prod(grid) <= codes]
        return f"levels: {fitting[-1] if fitting else GRIDS[0]}"
