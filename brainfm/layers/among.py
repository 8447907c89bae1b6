"""Attention inside groups: each token attends to those of its own row, its own moment or its own stretch of time alone.

Groups are ragged, since masks hide any tokens and events come when they come. Tokens are sorted into a table with a row for
each group, as long as the longest group of the batch; a product over the table costs tokens × longest instead of tokens².
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brainfm.layers.attention import Mix, attend
from brainfm.layers.fixed import of_sensors

WORTH = 2
"""A table must save this many products for each that it makes, since sorting into it and out of it costs, too."""


@dataclass(frozen=True)
class Groups:
    """Where each token stands in a table (group, longest) of its window, and which token stands at each place."""

    count: int
    longest: int
    place: Int[Tensor, "batch token"]
    """0 for padding."""
    token: Int[Tensor, "batch place"]
    """0 where no token stands."""
    filled: Bool[Tensor, "batch group longest"]
    whole: bool
    """Whether every place is filled, known on the host so that the usual case needs no attention mask."""

    @classmethod
    @of_sensors()
    def of(cls, label: Int[Tensor, "batch token"], valid: Bool[Tensor, "batch token"]) -> "Groups":
        """Tokens of one label are a group; labels count from 0, and groups of no token are rows of nothing."""
        n = label.shape[1]
        count = int(torch.where(valid, label, -1).max()) + 1
        label = torch.where(valid, label, count)  # padding stands behind the last group
        size = label.new_zeros(len(label), count + 1).scatter_add_(1, label, torch.ones_like(label))
        longest = int(size[:, :count].max())
        ordered, order = label.sort(dim=1, stable=True)
        begin = size.cumsum(dim=1) - size
        rank = torch.arange(n, device=label.device) - begin.gather(1, ordered)
        at = torch.where(ordered < count, ordered * longest + rank, count * longest)
        token = label.new_zeros(len(label), count * longest + 1).scatter_(1, at, order)[:, :-1]
        place = torch.zeros_like(at).scatter_(1, order, at)
        filled = torch.arange(longest, device=label.device) < size[:, :count, None]
        whole = int(size[:, :count].min()) == longest
        return cls(count, longest, torch.where(valid, place, 0), token, filled, whole)

    def table(self, values: Float[Tensor, "batch token head size"]) -> Float[Tensor, "row longest head size"]:
        """What each place holds; a row is a group of a window."""
        return rows(values, self.token).unflatten(1, (self.count, self.longest)).flatten(0, 1)

    def out(self, table: Float[Tensor, "row longest head size"]) -> Float[Tensor, "batch token head size"]:
        """What each token holds."""
        return rows(table.unflatten(0, (-1, self.count)).flatten(1, 2), self.place)

    @property
    def mask(self) -> Bool[Tensor, "row 1 1 longest"] | None:
        """Which places may be attended to; None for all."""
        return None if self.whole else self.filled.flatten(0, 1)[:, None, None, :]

    def within(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens attend to their own group (a `Mix`)."""
        return self.out(attend(self.table(q), self.table(k), self.table(v), self.mask))


def rows(
    values: Float[Tensor, "batch token head size"], index: Int[Tensor, "batch place"]
) -> Float[Tensor, "batch place head size"]:
    """`values` at `index` of each window."""
    first = torch.arange(values.shape[0], device=index.device).unsqueeze(1) * values.shape[1]
    return values.flatten(0, 1).index_select(0, (first + index).flatten()).unflatten(0, index.shape)


def inside(label: Int[Tensor, "batch token"], valid: Bool[Tensor, "batch token"]) -> Mix:
    """Each token attends to the tokens of its own label, the cheaper way: in a table, or in one product with a mask."""
    groups, n = Groups.of(label, valid), label.shape[1]
    if groups.count * groups.longest**2 * WORTH <= n**2:
        return groups.within
    mask = (label.unsqueeze(2) == label.unsqueeze(1)) & valid.unsqueeze(1)
    return lambda q, k, v: attend(q, k, v, mask.unsqueeze(1))
