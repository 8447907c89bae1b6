"""The head as a flat map: where a sensor lies when the scalp is unrolled from its top, and waves over that map."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

CENTRE = (0.0, -0.018, 0.005)
"""Metres in MNI space: what the directions of sensors are seen from."""
FARTHEST = 2.4
"""Radians from straight up at which the map ends: below the ears and the neck."""
MARGIN = 0.2
"""How far waves run on beyond each edge of the map (Défossez et al. 2023, equation 4)."""


def flat(position: Float[Tensor, "batch sensor 3"]) -> Float[Tensor, "batch sensor 2"]:
    """Places on a map from 0 to 1, the top of the head in the middle, the nose upwards; distance from it is the angle.

    (Azimuthal equidistant projection.) The map is the same for every montage, so that a place keeps its meaning: the
    paper stretches each layout to the unit square.
    """
    away = position - position.new_tensor(CENTRE)
    x, y, z = away.unbind(-1)
    across = torch.sqrt(x.square() + y.square() + 1e-12)
    reach = torch.atan2(across, z) / FARTHEST
    return (0.5 + 0.5 * (reach / across).unsqueeze(-1) * away[..., :2]).clamp(0, 1)


class Waves(nn.Module):
    """Cosines and sines of `waves` × `waves` frequencies over the map (Défossez et al. 2023, equation 4). Nothing is learnt."""

    def __init__(self, waves: int) -> None:
        super().__init__()
        self.waves = waves

    @property
    def features(self) -> int:
        return 2 * self.waves**2

    def forward(self, place: Float[Tensor, "batch sensor 2"]) -> Float[Tensor, "batch sensor feature"]:
        order = torch.arange(self.waves, device=place.device, dtype=place.dtype)
        x, y = (2 * math.pi * order * (place[..., axis, None] + MARGIN) / (1 + 2 * MARGIN) for axis in (0, 1))
        angle = (x.unsqueeze(-1) + y.unsqueeze(-2)).flatten(-2)
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def outside(
    place: Float[Tensor, "batch sensor 2"], radius: float, generator: torch.Generator
) -> Bool[Tensor, "batch sensor"]:
    """Which sensors lie farther than `radius` from a point of the map that is drawn, one for all windows: spatial dropout."""
    spot = torch.rand(2, generator=generator).to(place)
    return (place - spot).norm(dim=-1) > radius
