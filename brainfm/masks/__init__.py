"""Masks: which tokens are hidden, one file each. Every row hides the same count, so nothing is padded."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from brainfm.chance import Chance
from brainfm.lengths import span
from brainfm.part import Part
from brainfm.tokens import Hidden, Tokens

EVENT = 0.1
"""Seconds that stand for a patch where tokens are events."""


class Mask(Part):
    """A way of choosing tokens to hide."""

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        """Choose among the tokens of one instrument, by this chance alone."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def draw_together(self, streams: Sequence[Tokens], chance: Chance) -> list[Hidden]:
        """Choose among the tokens of instruments that saw the same windows; each by itself unless a mask says otherwise."""
        return [self.draw(tokens, chance) for tokens in streams]


class ShareMask(Mask):
    """A mask that hides a share of the tokens."""

    share: float = Field(default=0.55, gt=0, lt=1, description="of each row's tokens that are hidden")

    def count(self, tokens: Tokens) -> int:
        """How many tokens of each row are hidden: at least one, at most all but one, and the same in every row.

        Where rows are padded, the share is of the shortest: padding is never hidden.
        """
        there = shortest(tokens)
        return min(max(1, round(self.share * there)), there - 1)

    def whole(self, tokens: Tokens, groups: int) -> int:
        """`count`, but of whole groups where tokens are a grid of so many groups of one size; of events a group is cut."""
        if not tokens.period or tokens.padded or groups < 2 or tokens.count % groups:
            return self.count(tokens)
        return tokens.count // groups * min(max(1, round(self.share * groups)), groups - 1)


def shortest(tokens: Tokens) -> int:
    """Tokens in the shortest row; of padded rows, in the shortest that may share a batch with these, here or elsewhere."""
    return span(int(tokens.valid.sum(dim=1).min()))[0] if tokens.padded else tokens.count


def hide_least(turn: Float[Tensor, "batch token"], tokens: Tokens, count: int) -> Hidden:
    """Hide the `count` tokens of each row whose `turn` comes first; both lists come back sorted."""
    order = turn.masked_fill(~tokens.valid, torch.inf).argsort(dim=1, stable=True)
    return Hidden(seen=order[:, count:].sort(dim=1).values, hidden=order[:, :count].sort(dim=1).values)


def moment(tokens: Tokens) -> Float[Tensor, "batch token"]:
    """Which patch of its window each token is in time, from 0; of `EVENT` seconds where tokens are events."""
    passed = tokens.time - tokens.time.amin(dim=1, keepdim=True)
    return passed.div(tokens.period).round() if tokens.period else passed.div(EVENT).floor()


def stretches(
    when: Float[Tensor, "batch token"], begin: Float[Tensor, "batch stretch"], length: int
) -> Bool[Tensor, "batch stretch token"]:
    """True where the token's moment is one of `length` from a stretch's beginning on, `begin` a share of the window.

    Stretches may begin before the window, so that its first moment is hidden as often as any other.
    """
    starts = when.amax(dim=1, keepdim=True) + length
    later = when.unsqueeze(1) - ((begin * starts).floor() - (length - 1)).unsqueeze(2)
    return (later >= 0) & (later < length)


def rank(values: Float[Tensor, "batch item"]) -> Int[Tensor, "batch item"]:
    """The place of each value in its row's order, from 0."""
    return values.argsort(dim=1, stable=True).argsort(dim=1)
