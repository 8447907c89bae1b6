"""Masks: which tokens are hidden, one file each. Every row hides the same count, so nothing is padded."""

import torch
from pydantic import Field

from brainfm.part import Part
from brainfm.tokens import Hidden, Tokens


class Mask(Part):
    """A way of choosing tokens to hide."""

    share: float = Field(default=0.55, gt=0, lt=1, description="of each row's tokens that are hidden")

    def count(self, tokens: Tokens) -> int:
        """How many tokens of each row are hidden: at least one, at most all but one, and the same in every row.

        Where rows are padded, the share is of the shortest: padding is never hidden.
        """
        there = int(tokens.valid.sum(dim=1).min()) if tokens.padded else tokens.count
        return min(max(1, round(self.share * there)), there - 1)

    def draw(self, tokens: Tokens, generator: torch.Generator) -> Hidden:
        """Choose with this generator alone."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def hide_least(turn: torch.Tensor, tokens: Tokens, count: int) -> Hidden:
    """Hide the `count` tokens of each row whose `turn` (batch, token) comes first; both lists come back sorted."""
    order = turn.masked_fill(~tokens.valid, torch.inf).argsort(dim=1)
    return Hidden(seen=order[:, count:].sort(dim=1).values, hidden=order[:, :count].sort(dim=1).values)
