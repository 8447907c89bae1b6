"""A light decoder: asked by place, time and identity, it says what the encoder's tokens elsewhere tell of there."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.layers.position import PositionFeatures
from brainfm.tokens import Tokens


class Decoder(nn.Module):
    """Queries know where, when and who they ask for, never what is there, and listen to what was seen (He et al. 2022, §3)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.where = PositionFeatures(width)
        self.ask = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.blocks = nn.ModuleList(CrossBlock(width, heads_for(width), depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(self, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden width"]:
        """One vector for each token of `asked`, from the encoded tokens of `seen`."""
        x = self.ask + self.where(asked.position, asked.located)
        if asked.who is not None:
            x = x + asked.who.to(x.dtype)
        for block in self.blocks:
            x = block(x, asked.time, seen.embedding, seen.time, seen.valid if seen.padded else None)
        normed: Tensor = self.norm(x)
        return normed
