"""One vector of a window: what a learned question finds among its tokens, in place of them."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from brainfm.tokens import Tokens


class Summary(nn.Module):
    """Attention by one learned query, the same for all windows (REVE's global token, El Ouahidi et al. 2025, §3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ask = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        """A single token, that says what the query found."""
        x = tokens.embedding
        heard: Tensor = self.key(x) @ self.ask.to(x.dtype) / math.sqrt(x.shape[-1])
        weight = heard.masked_fill(~tokens.valid, -torch.inf).softmax(dim=1)
        vector = (weight.unsqueeze(-1) * x).sum(dim=1, keepdim=True)
        first = tokens.take(torch.zeros(len(x), 1, dtype=torch.int64, device=x.device))
        there = torch.ones_like(first.valid)
        return replace(first, embedding=vector, valid=there, padded=False)
