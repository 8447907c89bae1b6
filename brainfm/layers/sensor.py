"""What a sensor is: its kind and the direction in which it measures."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

ROOM = 32
"""Kinds that a network has room for, so that a new one fits old weights."""


class SensorFeatures(nn.Module):
    """A linear map of the kind and the orientation: two gradiometers at one place differ by nothing else."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(ROOM + 3, width) / math.sqrt(width))

    def forward(
        self, kind: Int[Tensor, "batch sensor"], orientation: Float[Tensor, "batch sensor 3"]
    ) -> Float[Tensor, "batch sensor width"]:
        known = torch.cat([F.one_hot(kind, ROOM).to(orientation.dtype), orientation], dim=-1)
        return known @ self.weight
