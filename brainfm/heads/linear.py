"""A linear head on pooled tokens."""

from jaxtyping import Float
from torch import Tensor, nn

from brainfm.heads import Head
from brainfm.pooling import Pool, pool_tokens, pooled_width
from brainfm.tokens import Tokens


class Linear(Head):
    """Pool, normalise, one linear map. `pool` says what stays apart: it changes scores more than most encoders do."""

    pool: Pool

    def build(self, width: int, classes: int, sensors: int, times: int) -> "LinearHead":
        return LinearHead(self, pooled_width(width, self.pool, sensors, times), classes)


class LinearHead(nn.Module):
    """`Tokens -> (batch, class)` logits. It starts at zero, so that training starts from an even guess."""

    def __init__(self, part: Linear, features: int, classes: int) -> None:
        super().__init__()
        self.part = part
        self.norm = nn.LayerNorm(features)
        self.score = nn.Linear(features, classes)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        return self.score(self.norm(pool_tokens(tokens, self.part.pool)))
