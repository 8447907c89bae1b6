"""Block masks: balls of sensors over a few patches, so that neither space nor time gives the answer away."""

import math

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from brainfm.chance import Chance
from brainfm.masks import Mask, hide_least
from brainfm.tokens import Hidden, Tokens

EVENT = 0.1
"""Seconds that stand for a patch where tokens are events."""


class Block(Mask):
    """Hide blocks: all sensors within `radius` of a random one, for `length` patches from a random time.

    The defaults are the best of 30 geometries in the masking study (Guetschel et al. 2026, §4: 9 cm × 2 patches × 55 %).
    A sensor without a position is near itself alone. Events have no patches: a block of them lasts `length` times `EVENT`.
    """

    radius: float = Field(default=0.09, ge=0, description="metres")
    length: int = Field(default=2, ge=1, description="patches")

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        """Blocks at random places, in a random order, until the share is reached; the last block is cut at random."""
        batch, n = tokens.time.shape
        seeds = chance.integers(n, batch, self._enough(n))
        begin = chance.uniform(*seeds.shape)
        tie = chance.uniform(batch, n)
        seeds, begin, tie = (drawn.to(tokens.time.device) for drawn in (seeds, begin, tie))
        covered = self._near(tokens, seeds) & self._soon(tokens, begin)
        # The first block that covers a token decides its turn; tokens that no block covers come last.
        first = torch.where(covered.any(dim=1), covered.float().argmax(dim=1), seeds.shape[1])
        return hide_least(first + tie, tokens, self.count(tokens))

    def _enough(self, n: int) -> int:
        """Seeds to draw: as many as hide the share even where blocks hold only their own `length` tokens, with overlap."""
        return math.ceil(-math.log(1 - self.share) * n / self.length) + 8

    def _near(self, tokens: Tokens, seeds: Int[Tensor, "batch seed"]) -> Bool[Tensor, "batch seed token"]:
        """True where the token's sensor lies in the ball of the seed's."""
        at = tokens.take(seeds)
        apart = torch.cdist(at.position, tokens.position)
        both = at.located.unsqueeze(2) & tokens.located.unsqueeze(1)
        same = at.sensor.unsqueeze(2) == tokens.sensor.unsqueeze(1)
        return (both & (apart <= self.radius)) | same

    def _soon(self, tokens: Tokens, begin: Float[Tensor, "batch seed"]) -> Bool[Tensor, "batch seed token"]:
        """True where the token is one of `length` patches from a block's beginning on.

        Blocks may begin before the window, so that its first patch is hidden as often as any other.
        """
        passed = tokens.time - tokens.time.amin(dim=1, keepdim=True)
        patch = passed.div(tokens.period).round() if tokens.period else passed.div(EVENT).floor()
        starts = patch.amax(dim=1, keepdim=True) + self.length
        later = patch.unsqueeze(1) - ((begin * starts).floor() - (self.length - 1)).unsqueeze(2)
        return (later >= 0) & (later < self.length)
