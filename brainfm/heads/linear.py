"""A linear head on pooled tokens."""

from jaxtyping import Float
from torch import Tensor

from brainfm.heads import Head
from brainfm.layers.scored import Scored
from brainfm.pooling import Pool, pool_tokens, pooled_width
from brainfm.tokens import Tokens


class Linear(Head):
    """Pool, normalise, one linear map. `pool` says what stays apart: it changes scores more than most encoders do."""

    pool: Pool

    def build(self, width: int, classes: int, sensors: int, times: int) -> "LinearHead":
        return LinearHead(self, pooled_width(width, self.pool, sensors, times), classes)


class LinearHead(Scored):
    """`Tokens -> (batch, class)` logits."""

    def __init__(self, part: Linear, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.part = part

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        return self.scored(pool_tokens(tokens, self.part.pool))
