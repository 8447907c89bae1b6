"""Latent queries: learned vectors that read tokens out of a brain, and a map to what each of them must tell (Brain-IT).

Beliy et al. 2025, arXiv:2510.25976, §3.1, the Brain Interaction Transformer's decoder: one cross block, then as often as it is
deep a block in which the brain's tokens attend to each other and one in which the queries attend to them. Here all of them are
brainfm's own block, so queries are normed and projected before they attend, which the published ones are not.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.attention import Block, CrossBlock, heads_for
from brainfm.tokens import Tokens


class LatentQueries(nn.Module):
    """`count` queries over tokens of `width`, each giving `output` numbers."""

    def __init__(self, width: int, depth: int, count: int, output: int, heads: int | None = None) -> None:
        super().__init__()
        heads, blocks = heads or heads_for(width), 2 * depth + 1
        self.query = nn.Parameter(torch.randn(count, width) * 0.5)
        self.first = CrossBlock(width, heads, blocks)
        self.own = nn.ModuleList([Block(width, heads, blocks) for _ in range(depth)])
        self.cross = nn.ModuleList([CrossBlock(width, heads, blocks) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, bias=False)
        self.tell = nn.Linear(width, output)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch query output"]:
        brain, time = tokens.embedding, tokens.time
        valid = tokens.valid if tokens.padded else None
        asked = self.query.to(brain.dtype).expand(len(brain), -1, -1)
        # queries stand at the middle of the window: what they hear of a token may depend on how far from it
        when = time.mean(dim=1, keepdim=True).expand(-1, asked.shape[1])
        asked = self.first(asked, when, brain, time, valid)
        for own, cross in zip(self.own, self.cross, strict=True):
            brain = own(brain, time, context_valid=valid)
            asked = cross(asked, when, brain, time, valid)
        found: Tensor = self.tell(self.norm(asked))
        return found
