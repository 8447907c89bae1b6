"""Conduction: a place as blurred as the head blurs what is measured there (DeeperBrain, arXiv:2601.06134, channel encoding)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors
from brainfm.places import Place
from brainfm.tokens import Table, Tokens

HEAD = 0.1
"""Metres that count as 1 before the linear map, so that a place is as large as what it is added to."""
LEAST = 1e-4
"""Metres below which the distance over which places blur can't fall."""


class Conduction(Place):
    """The mean of the positions of all sensors of the window, nearer ones weighing more, through a linear map.

    K_ij = exp(−D_ij / τ) with the distance D_ij in metres and one learnt τ, each row divided by its sum; position i becomes
    Σ_j K_ij p_j. With τ → 0 it is the position itself, with τ → ∞ the middle of the montage. So the same electrode has another
    code in another cap: what it hears beside its own is what the cap can tell apart.

    The sum runs over the window's own table of rows (`Tokens.table`), hidden rows included, and not over the tokens that an
    encoder is shown: what an electrode is called would else depend on the mask. Padding and rows without a position are in no
    sum, and rows of another instrument are not heard, so a window's code is the same alone and together with others.
    """

    distance: float = Field(default=0.08, gt=LEAST, description="metres over which places blur at first")

    def build(self, width: int) -> "ConductionPlace":
        return ConductionPlace(self, width)


class ConductionPlace(nn.Module):
    """`Tokens -> (batch, token, width)`; one learned vector where a token has no position."""

    def __init__(self, part: Conduction, width: int) -> None:
        super().__init__()
        self.spread = nn.Parameter(torch.tensor(math.log(math.expm1(part.distance - LEAST))))
        self.project = nn.Linear(3, width)
        self.nowhere = nn.Parameter(torch.randn(width) / math.sqrt(width))

    @property
    def distance(self) -> Float[Tensor, ""]:
        """τ in metres."""
        return F.softplus(self.spread) + LEAST

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        if tokens.table is None:
            raise DataError(
                "the place conduction needs to know where all rows of a window are, and these tokens don't say; "
                "let the tokenizer give Tokens.table"
            )
        rows = self.project(self.smoothed(tokens.table) / HEAD)
        index = tokens.sensor.unsqueeze(-1).expand(-1, -1, rows.shape[-1])
        return torch.where(tokens.located.unsqueeze(-1), rows.gather(1, index), self.nowhere.to(rows.dtype))

    def smoothed(self, table: Table) -> Float[Tensor, "batch row 3"]:
        """The blurred position of every row, in metres."""
        with torch.autocast(table.position.device.type, enabled=False):  # bf16 would round to a millimetre
            distance, heard = apart(table)
            kernel = (-distance / self.distance).exp() * heard
            weight = kernel / (kernel.sum(dim=-1, keepdim=True) + 1e-12)
            return weight @ table.position


@of_sensors()
def apart(table: Table) -> tuple[Float[Tensor, "batch row row2"], Bool[Tensor, "batch row row2"]]:
    """Metres from row to row, and which hear each other: both have a position and are of one instrument."""
    distance = torch.cdist(
        table.position, table.position, compute_mode="donot_use_mm_for_euclid_dist"
    )  # which is exact for a row and itself
    heard = table.located.unsqueeze(2) & table.located.unsqueeze(1)
    heard = heard & (table.modality.unsqueeze(2) == table.modality.unsqueeze(1))
    return distance, heard
