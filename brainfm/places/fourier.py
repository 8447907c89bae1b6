"""Fourier features of a token's position: what every encoder has unless its recipe says otherwise."""

from pydantic import Field

from brainfm.layers.position import PositionFeatures
from brainfm.places import Place


class Fourier(Place):
    """Sines and cosines of x, y and z at log-spaced wavelengths, then a linear map (as Guetschel et al. 2026)."""

    waves: int = Field(default=12, ge=2, description="wavelengths of each axis")
    longest: float = Field(default=0.4, gt=0, description="metres: four head radii tell left from right")
    shortest: float = Field(default=0.04, gt=0, description="metres: the spacing of a dense cap")

    def build(self, width: int) -> PositionFeatures:
        return PositionFeatures(width, self.waves, self.longest, self.shortest)
