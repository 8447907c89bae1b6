"""Masks: which tokens are hidden, one file each. Every row hides the same count, so nothing is padded."""

import torch
from pydantic import Field

from brainfm.part import Part
from brainfm.tokens import Hidden, Tokens


class Mask(Part):
    """A way of choosing tokens to hide."""

    share: float = Field(default=0.55, gt=0, lt=1, description="of each row's tokens that are hidden")

    def count(self, tokens: int) -> int:
        """How many of `tokens` are hidden: at least one, at most all but one."""
        return min(max(1, round(self.share * tokens)), tokens - 1)

    def draw(self, tokens: Tokens, generator: torch.Generator) -> Hidden:
        """Choose with this generator alone."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def hide_first(order: torch.Tensor, count: int) -> Hidden:
    """Hide the first `count` tokens of each row of `order` (batch, token); both lists come back sorted."""
    return Hidden(seen=order[:, count:].sort(dim=1).values, hidden=order[:, :count].sort(dim=1).values)
