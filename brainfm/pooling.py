"""Pooling: how the tokens of a window become one vector, always said out loud."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from brainfm.errors import DataError
from brainfm.tokens import Tokens

Pool = Literal["mean", "sensor", "time", "all"]
"""What stays apart: nothing, each sensor, each time, or both."""


def pool_tokens(tokens: Tokens, pool: Pool) -> Float[Tensor, "batch feature"]:
    """One vector a window. All but "mean" need a regular stream without padding."""
    if pool == "mean":
        weight = tokens.valid.unsqueeze(-1).to(tokens.embedding.dtype)
        return (tokens.embedding * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    if tokens.padded or not tokens.period:
        raise DataError(f"pool={pool} needs a regular stream without padding; use pool='mean'")
    grid = tokens.embedding.unflatten(1, (tokens.rows, -1))
    return {"sensor": grid.mean(dim=2), "time": grid.mean(dim=1), "all": grid}[pool].flatten(1)


def pooled_width(width: int, pool: Pool, sensors: int, times: int) -> int:
    """Features that `pool_tokens` gives."""
    return width * {"mean": 1, "sensor": sensors, "time": times, "all": sensors * times}[pool]
