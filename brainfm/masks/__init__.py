"""Masks: which tokens are hidden, one file each. Every row hides the same count, so nothing is padded."""

from collections.abc import Sequence

import torch
from pydantic import Field

from brainfm.chance import Chance
from brainfm.lengths import span
from brainfm.part import Part
from brainfm.tokens import Hidden, Tokens


class Mask(Part):
    """A way of choosing tokens to hide."""

    share: float = Field(default=0.55, gt=0, lt=1, description="of each row's tokens that are hidden")

    def count(self, tokens: Tokens) -> int:
        """How many tokens of each row are hidden: at least one, at most all but one, and the same in every row.

        Where rows are padded, the share is of the shortest that may share a batch with them: padding is never hidden.
        """
        there = span(int(tokens.valid.sum(dim=1).min()))[0] if tokens.padded else tokens.count
        return min(max(1, round(self.share * there)), there - 1)

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        """Choose among the tokens of one instrument, by this chance alone."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def draw_together(self, streams: Sequence[Tokens], chance: Chance) -> list[Hidden]:
        """Choose among the tokens of instruments that saw the same windows; each by itself unless a mask says otherwise."""
        return [self.draw(tokens, chance) for tokens in streams]


def hide_least(turn: torch.Tensor, tokens: Tokens, count: int) -> Hidden:
    """Hide the `count` tokens of each row whose `turn` (batch, token) comes first; both lists come back sorted."""
    order = turn.masked_fill(~tokens.valid, torch.inf).argsort(dim=1)
    return Hidden(seen=order[:, count:].sort(dim=1).values, hidden=order[:, :count].sort(dim=1).values)
