"""When a token is: rotary embedding of its time in seconds (Su et al. 2021, eq. 34)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

FASTEST, SLOWEST = 0.5, 120.0  # periods in seconds: two short patches, and longer than any window


def rotation(
    time: Float[Tensor, "batch token"], size: int
) -> tuple[Float[Tensor, "batch token 1 half"], Float[Tensor, "batch token 1 half"]]:
    """Cosine and sine of each token's phase for `size / 2` log-spaced periods; the 1 stands for the heads."""
    steps = torch.linspace(0, 1, size // 2, device=time.device)
    period = FASTEST * (SLOWEST / FASTEST) ** steps
    angle = (2 * math.pi * time.unsqueeze(-1) / period).unsqueeze(2)
    return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "batch token head size"],
    cos: Float[Tensor, "batch token 1 half"],
    sin: Float[Tensor, "batch token 1 half"],
) -> Float[Tensor, "batch token head size"]:
    """Turn each pair (first half, second half) of `x` by its phase, so that products depend on time differences alone."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
