"""A vector for each known sensor of each known person (or region), which grows without touching what it has learnt."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.fixed import of_sensors


class Vocabulary(nn.Module):
    """Rows by identity (`batch.number_of`). An unknown identity is an average one: it gets the mean of all rows.

    New rows are drawn with a standard deviation of `spread`; by default they are of length 1.
    """

    def __init__(self, width: int, spread: float | None = None) -> None:
        super().__init__()
        self.spread = 1 / math.sqrt(max(width, 1)) if spread is None else spread
        self.ids: list[int] = []
        """Plain numbers, not a tensor: a checkpoint's config carries them, and its weights the rows."""
        self.table = nn.Parameter(torch.zeros(0, width))

    def __len__(self) -> int:
        return len(self.ids)

    def adopt(self, ids: Sequence[int]) -> None:
        """Add a row for each identity that is new, at random; 0 is none."""
        known = set(self.ids)
        new = [one for one in dict.fromkeys(ids) if one and one not in known]
        width = self.table.shape[1]
        rows = torch.randn(len(new), width, device=self.table.device, dtype=self.table.dtype)
        self.ids = [*self.ids, *new]
        self.table = nn.Parameter(torch.cat([self.table.detach(), rows * self.spread]))

    @of_sensors()
    def rows(
        self, ids: Int[Tensor, "batch sensor"]
    ) -> tuple[Int[Tensor, "batch sensor"], Bool[Tensor, "batch sensor"]]:
        """The row of each identity, 0 where it is unknown, and where it is known."""
        if not self.ids:
            return torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        ordered, order = torch.tensor(self.ids, device=ids.device).sort()
        place = torch.searchsorted(ordered, ids.contiguous()).clamp(max=len(ordered) - 1)
        known = ordered[place] == ids
        return torch.where(known, order[place], torch.zeros_like(place)), known

    def forward(self, ids: Int[Tensor, "batch sensor"]) -> Float[Tensor, "batch sensor width"]:
        if not self.ids:
            return self.table.new_zeros((*ids.shape, self.table.shape[1])) + self.table.sum()
        row, known = self.rows(ids)
        return torch.where(known.unsqueeze(-1), self.table[row], self.table.mean(dim=0))


class Knowing(nn.Module):
    """A tokenizer that knows single sensors or regions by name, in its `vocabulary`."""

    vocabulary: Vocabulary

    def identities(self, batch: Batch) -> Int[Tensor, "batch sensor"]:
        """What each sensor is known by; 0 for one that is known by nothing."""
        return batch.identity

    def adopt(self, batch: Batch) -> None:
        """Make room for what the windows of a batch bring; what was known stays as it was."""
        self.vocabulary.adopt(self.identities(batch).unique().tolist())

    def known(self) -> dict[str, Any]:
        """What was adopted, for the config: a checkpoint and its untrained twin must know the same."""
        return {"ids": list(self.vocabulary.ids)}

    def restore(self, known: Mapping[str, Any]) -> None:
        """Room for what a config says was adopted."""
        self.vocabulary.adopt(known["ids"])
