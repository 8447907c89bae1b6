"""Pooling: how the tokens of a window become one vector, always said out loud."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainfm.errors import DataError
from brainfm.tokens import Tokens

Pool = Literal["mean", "side", "sensor", "time", "all"]
"""What stays apart: nothing, the two hemispheres, each sensor, each time, or sensors and times both."""
MIDLINE = 0.01
"""Metres from the midline up to which a token speaks for both sides."""


def pool_tokens(tokens: Tokens, pool: Pool) -> Float[Tensor, "batch feature"]:
    """One vector a window. "sensor", "time" and "all" need a regular stream without padding.

    "mean" and "side" mean the same in any montage and instrument, so that features of one can be held against another's.
    """
    if pool == "mean":
        return averaged(tokens, tokens.valid)
    if pool == "side":
        return torch.cat([averaged(tokens, of_side & tokens.valid) for of_side in sides(tokens)], dim=1)
    if tokens.padded or not tokens.period:
        raise DataError(f"pool={pool} needs a regular stream without padding; use pool='mean'")
    grid = tokens.embedding.unflatten(1, (tokens.rows, -1))
    return {"sensor": grid.mean(dim=2), "time": grid.mean(dim=1), "all": grid}[pool].flatten(1)


def averaged(tokens: Tokens, among: Bool[Tensor, "batch token"]) -> Float[Tensor, "batch width"]:
    """The mean over some tokens of each window; zeros where there is none."""
    weight = among.unsqueeze(-1).to(tokens.embedding.dtype)
    return (tokens.embedding * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def sides(tokens: Tokens) -> tuple[Bool[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
    """Which tokens speak for the left and which for the right; those near the midline or without a place for both."""
    across = tokens.position[..., 0]  # MNI: left is negative
    return (across < MIDLINE) | ~tokens.located, (across > -MIDLINE) | ~tokens.located


def pooled_width(width: int, pool: Pool, sensors: int, times: int) -> int:
    """Features that `pool_tokens` gives."""
    return width * {"mean": 1, "side": 2, "sensor": sensors, "time": times, "all": sensors * times}[pool]
