"""A linear head on the tokens of each moment: an answer for every patch in time."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from brainfm.heads import Head
from brainfm.layers.scored import Scored
from brainfm.pooling import moments
from brainfm.tokens import Tokens


class Sequence(Head):
    """Normalise, one linear map, the same at all times. `rows` says whether each row of tokens stays apart."""

    each: ClassVar[Literal["window", "patch"]] = "patch"

    rows: Literal["mean", "apart"]

    def build(self, width: int, classes: int, sensors: int, times: int) -> "SequenceHead":
        return SequenceHead(self, width * (sensors if self.rows == "apart" else 1), classes)


class SequenceHead(Scored):
    """`Tokens -> (batch, time, class)`."""

    def __init__(self, part: Sequence, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.part = part

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch time class"]:
        return self.scored(moments(tokens, apart=self.part.rows == "apart"))
