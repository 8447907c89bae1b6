"""A light decoder: asked by place, time and identity, it says what the encoder's tokens elsewhere tell of there."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.moments import Moment
from brainfm.places import Place
from brainfm.tokens import Tokens


class Decoder(nn.Module):
    """Queries know where, when and who they ask for, never what is there, and listen to what was seen (He et al. 2022, §3).

    Where and when are said as the encoder says them.
    """

    def __init__(self, width: int, depth: int, where: Place, when: Moment) -> None:
        super().__init__()
        self.where = where.build(width)
        self.ask = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.blocks = nn.ModuleList(CrossBlock(width, heads_for(width), depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.when = when.build(width)
        self.turns = when.turns

    def forward(self, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden width"]:
        """One vector for each token of `asked`, from the encoded tokens of `seen`."""
        x = self.ask.expand(*asked.time.shape, -1)
        if self.where is not None:
            x = x + self.where(asked)
        if self.when is not None:
            x = x + self.when(asked)
        if asked.who is not None:
            x = x + asked.who.to(x.dtype)
        own, heard = (asked.time, seen.time) if self.turns else (None, None)
        for block in self.blocks:
            x = block(x, own, seen.embedding, heard, seen.valid if seen.padded else None)
        normed: Tensor = self.norm(x)
        return normed
