"""Block masks: balls of sensors over a few patches, so that neither space nor time gives the answer away."""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from brainfm.masks import Mask, hide_first
from brainfm.tokens import Hidden, Tokens


class Block(Mask):
    """Hide blocks: all sensors within `radius` of a random token, for `length` patches from it.

    The defaults are the best of 30 geometries in the masking study (Guetschel et al. 2026, §4: 9 cm × 2 patches × 55 %).
    A sensor without a position is near itself alone.
    """

    radius: float = Field(default=0.09, ge=0, description="metres")
    length: int = Field(default=2, ge=1, description="patches")

    def draw(self, tokens: Tokens, generator: torch.Generator) -> Hidden:
        """Blocks at random tokens, in a random order, until the share is reached; the last block is cut at random."""
        batch, n = tokens.time.shape
        seeds = (
            torch.rand((batch, n), generator=generator)
            .argsort(dim=1)[:, : self._enough(n)]
            .to(tokens.time.device)
        )
        tie = torch.rand((batch, n), generator=generator).to(tokens.time.device)
        covered = self._covers(tokens, seeds)
        # The first block that covers a token decides its turn; tokens that no block covers come last.
        first = torch.where(covered.any(dim=1), covered.float().argmax(dim=1), seeds.shape[1])
        return hide_first((first + tie).argsort(dim=1), self.count(n))

    def _enough(self, n: int) -> int:
        """Seeds to draw: as many as hide the share even where blocks hold only their own `length` tokens, with overlap."""
        return min(n, math.ceil(-math.log(1 - self.share) * n / self.length) + 8)

    def _covers(self, tokens: Tokens, seeds: Tensor) -> Tensor:
        """(batch, seed, token) True where the token lies in the seed's block."""
        at = tokens.take(seeds)
        apart = torch.cdist(at.position, tokens.position)
        both = at.located.unsqueeze(2) & tokens.located.unsqueeze(1)
        same = at.sensor.unsqueeze(2) == tokens.sensor.unsqueeze(1)
        near = (both & (apart <= self.radius)) | same
        return near & self._soon(at.time, tokens)

    def _soon(self, start: Float[Tensor, "batch seed"], tokens: Tokens) -> Tensor:
        """True where the token is one of `length` patches from the seed's on; half a patch of slack absorbs rounding."""
        later = tokens.time.unsqueeze(1) - start.unsqueeze(2)
        return (later > -0.5 * tokens.period) & (later < (self.length - 0.5) * tokens.period)
