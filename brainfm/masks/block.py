"""Block masks: balls of sensors over a few patches, so that neither space nor time gives the answer away."""

import math

import torch
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least, moment, stretches
from brainfm.tokens import Hidden, Tokens


class Block(ShareMask):
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
        covered = self._near(tokens, seeds) & stretches(moment(tokens), begin, self.length)
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
