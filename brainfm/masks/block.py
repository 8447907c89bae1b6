"""Block masks: balls of sensors over a few patches, so that neither space nor time gives the answer away."""

import math

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least, moment, stretches
from brainfm.tokens import Hidden, Tokens

AT_ONCE = 32
"""Blocks that are laid in one go."""


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
        return hide_least(self._first(tokens, seeds, begin) + tie, tokens, self.count(tokens))

    def _first(
        self, tokens: Tokens, seeds: Int[Tensor, "batch seed"], begin: Float[Tensor, "batch seed"]
    ) -> Int[Tensor, "batch token"]:
        """The number of the first block that covers each token; tokens that no block covers come last.

        Blocks are laid a few at a time until they cover what is to be hidden. Those after them would change nothing, and
        all of them against all tokens took half of a step where tokens are many (LOG, 2026-11-26).
        """
        last, count, at_moment = seeds.shape[1], self.count(tokens), moment(tokens)
        first = torch.full_like(tokens.sensor, last)
        for at in range(0, last, AT_ONCE):
            some = slice(at, at + AT_ONCE)
            covered = self._near(tokens, seeds[:, some]) & stretches(at_moment, begin[:, some], self.length)
            here = torch.where(covered.any(dim=1), covered.float().argmax(dim=1) + at, last)
            first = torch.minimum(first, here)
            if int(((first < last) & tokens.valid).sum(dim=1).min()) >= count:
                break
        return first

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
