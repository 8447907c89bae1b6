"""A table of moments: a learned vector for each stretch of the window (LaBraM's temporal embedding, Jiang et al. 2024, §2.2)."""

import math

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors
from brainfm.moments import Moment
from brainfm.tokens import Tokens


class MomentTable(Moment):
    """Nothing is known of a moment but its number, and none of windows longer than the table: those are refused."""

    count: int = Field(default=16, ge=1, description="stretches that the table has; LaBraM has 16 patches")
    seconds: float = Field(default=1.0, gt=0, description="of a stretch, a patch's for a vector each")
    rotary: bool = Field(default=False, description="whether attention turns with time, too")

    @property
    def turns(self) -> bool:
        return self.rotary

    def build(self, width: int) -> "MomentTableRows":
        return MomentTableRows(self, width)


class MomentTableRows(nn.Module):
    """`Tokens -> (batch, token, width)`."""

    def __init__(self, part: MomentTable, width: int) -> None:
        super().__init__()
        self.part = part
        self.rows = nn.Parameter(torch.randn(part.count, width) / math.sqrt(width))

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        return self.rows[numbers(tokens, self.part.seconds, self.part.count)]


@of_sensors()
def numbers(tokens: Tokens, seconds: float, count: int) -> Int[Tensor, "batch token"]:
    """The number of each token's stretch. Raises `DataError` where the table has none for it."""
    number = (tokens.time / seconds).floor().long()
    if int(number.amax()) >= count:
        raise DataError(
            f"a table of {count} moments of {seconds:g} s ends at {count * seconds:g} s, and a token lies at "
            f"{float(tokens.time.amax()):.4g} s; give encoder.when.count more of them, or shorter windows"
        )
    return number
