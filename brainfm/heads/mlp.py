"""A head of two linear maps on pooled tokens, as Du-IN tells words from the tokens of all moments, one after another."""

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.heads import Head
from brainfm.layers.scored import even
from brainfm.pooling import Pool, pool_tokens, pooled_width
from brainfm.tokens import Tokens


class Mlp(Head):
    """Pool, a linear map to `hidden`, ReLU, a linear map (Zheng et al. 2024, arXiv:2405.11459, appendix B, and its code).

    `pool: moments` keeps all tokens apart. Their code puts a sigmoid before the cross-entropy, which keeps the loss above
    ln(1 + 60/e) for 61 words; there is none here.
    """

    pool: Pool = "moments"
    hidden: int = Field(default=128, ge=1)

    def build(self, width: int, classes: int, sensors: int, times: int) -> "MlpHead":
        return MlpHead(self, pooled_width(width, self.pool, sensors, times), classes)


class MlpHead(nn.Module):
    """`Tokens -> (batch, class)` logits."""

    def __init__(self, part: Mlp, features: int, classes: int) -> None:
        super().__init__()
        self.part = part
        self.first = nn.Linear(features, part.hidden)
        self.score = even(part.hidden, classes)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        return self.score(F.relu(self.first(pool_tokens(tokens, self.part.pool))))
