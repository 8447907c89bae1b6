"""Pooling: how the tokens of a window become one vector, always said out loud."""

from collections.abc import Collection, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainfm.batch import number_of
from brainfm.errors import DataError
from brainfm.tokens import Tokens

Pool = Literal["mean", "place", "sensor", "time", "all", "moments"]
"""What stays apart: nothing, the parts of the head that `cells` tells apart, each sensor, each time, or sensors and times both,
sensor by sensor ("all") or moment by moment ("moments")."""
ANY_ROWS = ("mean", "place")
"""What means the same in any montage and instrument, so that features of one can be held against another's."""
ANY_SENSORS = (*ANY_ROWS, "time")
"""What windows of other sensors can be pooled by, if they are as long."""
MIDLINE = 0.01
"""Metres from the midline up to which a token speaks for both sides."""
FRONT, BACK = 0.02, -0.05
"""Metres before the anterior commissure: what lies between is central. F3 is at 0.05, C3 at −0.01, P3 at −0.07."""
CELLS = 7
"""Left and right, each frontal, central and posterior; and nowhere."""


def pool_tokens(tokens: Tokens, pool: Pool) -> Float[Tensor, "batch feature"]:
    """One vector a window. All but `ANY_ROWS` need a regular stream without padding."""
    if pool == "mean":
        weight = tokens.valid.unsqueeze(-1).to(tokens.embedding.dtype)
        return (tokens.embedding * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    if pool == "place":
        return means(tokens, cells(tokens)).flatten(1)
    if tokens.padded or not tokens.period:
        raise DataError(f"pool={pool} needs a regular stream without padding; use pool='mean'")
    if pool in ("time", "moments"):
        return moments(tokens, apart=pool == "moments").flatten(1)
    grid = tokens.embedding.unflatten(1, (tokens.rows, -1))
    return {"sensor": grid.mean(dim=2), "all": grid}[pool].flatten(1)


def moments(tokens: Tokens, apart: bool) -> Float[Tensor, "batch time feature"]:
    """One vector for each patch in time: the mean over rows, or each row apart. Needs a regular stream without padding."""
    if tokens.padded or not tokens.period:
        raise DataError("an answer for every patch in time needs a regular stream without padding")
    grid = tokens.embedding.unflatten(1, (tokens.rows, -1))
    return grid.transpose(1, 2).flatten(2) if apart else grid.mean(dim=1)


def means(tokens: Tokens, member: Bool[Tensor, "batch token group"]) -> Float[Tensor, "batch group width"]:
    """The mean token of each group; zeros where a group is empty."""
    weight = member.to(tokens.embedding.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
    return weight.transpose(1, 2) @ tokens.embedding


def cells(tokens: Tokens) -> Bool[Tensor, "batch token cell"]:
    """Which tokens speak for each side and third of the head, and, last, which have no place."""
    across, along = tokens.position[..., 0], tokens.position[..., 1]  # MNI: left and back are negative
    sides = torch.stack([across < MIDLINE, across > -MIDLINE], dim=-1)
    zones = torch.stack([along > FRONT, (along <= FRONT) & (along >= BACK), along < BACK], dim=-1)
    there = (sides.unsqueeze(-1) & zones.unsqueeze(-2)).flatten(-2)
    located = tokens.located.unsqueeze(-1)
    return torch.cat([there & located, ~located], dim=-1) & tokens.valid.unsqueeze(-1)


def in_regions(tokens: Tokens, names: Sequence[str]) -> Bool[Tensor, "batch token region"]:
    """Which tokens lie in the region of each label (`Sensors.region`)."""
    numbers = torch.tensor([number_of(name) for name in names], device=tokens.region.device)
    return (tokens.region.unsqueeze(-1) == numbers) & tokens.valid.unsqueeze(-1)


def require_same(pool: Pool, rows: Collection[object]) -> None:
    """Raise `DataError` where windows whose rows of tokens are these, for each kind of them, can't be pooled alike."""
    if pool not in ANY_SENSORS and len(rows) > 1:
        raise DataError(f"windows of different sensors can't be pooled by {pool}; use pool='mean'")


def pooled_width(width: int, pool: Pool, sensors: int, times: int) -> int:
    """Features that `pool_tokens` gives."""
    apart = {"mean": 1, "place": CELLS, "sensor": sensors, "time": times}
    return width * apart.get(pool, sensors * times)
