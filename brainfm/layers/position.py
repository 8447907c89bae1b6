"""Where a token is: Fourier features of its 3-D position."""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Somewhere(Protocol):
    """Sensors of a batch, or tokens: things that have a `position` (batch, thing, 3) where they are `located` (batch, thing)."""

    @property
    def position(self) -> Tensor: ...

    @property
    def located(self) -> Tensor: ...


class PositionFeatures(nn.Module):
    """Sines and cosines of x, y and z at log-spaced wavelengths, then a linear map (as Guetschel et al. 2026, additive xyz code).

    Wavelengths run from four head radii (0.4 m: left from right) to the spacing of a dense cap (0.04 m). A token without a
    known position gets one learned vector instead.
    """

    def __init__(self, width: int, waves: int = 12, longest: float = 0.4, shortest: float = 0.04) -> None:
        super().__init__()
        self.waves, self.longest, self.shortest = waves, longest, shortest
        self.project = nn.Linear(6 * waves, width)
        self.nowhere = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, of: Somewhere) -> Float[Tensor, "batch token width"]:
        position, located = of.position, of.located
        steps = torch.linspace(0, 1, self.waves, device=position.device)
        wavelength = self.longest * (self.shortest / self.longest) ** steps
        angle = (2 * math.pi * position.unsqueeze(-1) / wavelength).flatten(-2)
        features = self.project(torch.cat([angle.sin(), angle.cos()], dim=-1))
        return torch.where(located.unsqueeze(-1), features, self.nowhere.to(features.dtype))
