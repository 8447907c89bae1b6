"""Latents that stand for stretches of time: they read the tokens of their own stretch, and tokens read from them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainfm.layers.among import Groups
from brainfm.layers.attention import attend
from brainfm.layers.fixed import of_sensors
from brainfm.tokens import Tokens


@dataclass(frozen=True)
class Bins:
    """The tokens of each window by stretches of `seconds`, counted from the first of the batch.

    A stretch without tokens says nothing and is not listened to, so that what a window gives does not depend on its neighbours
    in the batch. Latents are listed stretch by stretch, as many in each.
    """

    groups: Groups
    first: int
    seconds: float
    across: Bool[Tensor, "batch token"] | None = None
    """Where latents read every stretch and all stretches' latents are read: which tokens are no padding."""

    @classmethod
    @of_sensors()
    def of(cls, tokens: Tokens, seconds: float, across: bool = False) -> "Bins":
        """The stretches of these tokens; `across` lets their latents read, and be read by, all tokens of a window."""
        number = (tokens.time / seconds).floor().long()
        first = int(torch.where(tokens.valid, number, number.max()).min())
        groups = Groups.of((number - first).clamp(min=0), tokens.valid)
        return cls(groups, first, seconds, tokens.valid if across else None)

    @property
    def time(self) -> Float[Tensor, " stretch"]:
        """The centre of each stretch, in seconds from the window's start."""
        number = torch.arange(self.groups.count, device=self.groups.filled.device)
        return (number + self.first + 0.5) * self.seconds

    @property
    def any(self) -> Bool[Tensor, "batch stretch"]:
        """Which stretches hold a token."""
        return self.groups.filled.any(dim=-1)

    def read(
        self,
        q: Float[Tensor, "batch latent head size"],
        k: Float[Tensor, "batch token head size"],
        v: Float[Tensor, "batch token head size"],
    ) -> Float[Tensor, "batch latent head size"]:
        """Latents attend to the tokens of their stretch (a `Mix`); where it has none they hold nothing that may be used."""
        if self.across is not None:
            return attend(q, k, v, self.across[:, None, None, :])
        table = self.groups.table
        return self.latents(attend(self.stretches(q), table(k), table(v), self.groups.mask))

    def write(
        self,
        q: Float[Tensor, "batch token head size"],
        k: Float[Tensor, "batch latent head size"],
        v: Float[Tensor, "batch latent head size"],
    ) -> Float[Tensor, "batch token head size"]:
        """Tokens attend to the latents of their stretch (a `Mix`)."""
        if self.across is not None:
            there = self.any.repeat_interleave(k.shape[1] // self.groups.count, dim=1)
            return attend(q, k, v, there[:, None, None, :])
        return self.groups.out(attend(self.groups.table(q), self.stretches(k), self.stretches(v)))

    def stretches(
        self, values: Float[Tensor, "batch latent head size"]
    ) -> Float[Tensor, "row per head size"]:
        """The latents of each stretch; a row is a stretch of a window."""
        return values.unflatten(1, (self.groups.count, -1)).flatten(0, 1)

    def latents(self, table: Float[Tensor, "row per head size"]) -> Float[Tensor, "batch latent head size"]:
        """All latents of a window in a line."""
        return table.unflatten(0, (-1, self.groups.count)).flatten(1, 2)
