"""A head that is asked for a moment: a learnt query at that time attends to all tokens, by what they say and by how long ago.

Azabou et al. 2023 (POYO, arXiv:2310.16046, §2.3): a query's time is told by rotation, as the tokens' are; theirs carries the
session's vector as well, here a vector of the task.
"""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.heads import Head
from brainfm.layers.attention import attend, heads_for
from brainfm.layers.rotary import rotate, rotation
from brainfm.layers.scored import even
from brainfm.tokens import Tokens


class AtTime(Head):
    """One look, then a linear map. Any number of tokens of any sensors, events among them."""

    seconds: float = Field(ge=0, description="from the window's start, when what is told holds")

    def build(self, width: int, classes: int, sensors: int, times: int) -> "AtTimeHead":
        return AtTimeHead(self, width, classes)


class AtTimeHead(nn.Module):
    """`Tokens -> (batch, class)` logits."""

    def __init__(self, part: AtTime, width: int, classes: int) -> None:
        super().__init__()
        self.part = part
        self.heads = heads_for(width)
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.score = even(width, classes)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        x = self.norm(tokens.embedding)
        when = torch.full((len(x), 1), self.part.seconds, device=x.device, dtype=tokens.time.dtype)
        asked = self.query.to(x.dtype).expand(len(x), 1, -1)
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)) for one in (asked, self.key(x), self.value(x))
        )
        query = rotate(query, *rotation(when, query.shape[-1]))
        key = rotate(key, *rotation(tokens.time, key.shape[-1]))
        mask = tokens.valid[:, None, None, :] if tokens.padded else None
        return self.score(attend(query, key, value, mask).flatten(1))
