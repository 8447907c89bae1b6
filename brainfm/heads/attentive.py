"""A head whose learned queries choose the tokens that count (attentive pooling; Lee et al. 2019, Set Transformer, §3.2)."""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.heads import Head
from brainfm.layers.attention import attend
from brainfm.layers.scored import even
from brainfm.tokens import Tokens


class Attentive(Head):
    """Each of `queries` takes a weighted mean of all tokens, of any number and of any sensors; then one linear map."""

    queries: int = Field(default=1, ge=1)

    def build(self, width: int, classes: int, sensors: int, times: int) -> "AttentiveHead":
        return AttentiveHead(self, width, classes)


class AttentiveHead(nn.Module):
    """`Tokens -> (batch, class)` logits."""

    def __init__(self, part: Attentive, width: int, classes: int) -> None:
        super().__init__()
        self.part = part
        self.query = nn.Parameter(torch.randn(part.queries, width) / math.sqrt(width))
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)
        self.score = even(part.queries * width, classes)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        x = self.norm(tokens.embedding)
        query = self.query.to(x.dtype).expand(len(x), -1, -1)
        mask = tokens.valid[:, None, None, :] if tokens.padded else None
        found = attend(query.unsqueeze(2), self.key(x).unsqueeze(2), x.unsqueeze(2), mask)
        return self.score(found.flatten(1))
