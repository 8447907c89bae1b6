"""Pictures that might have been seen: turned, scaled, sheared, shifted and bent a little."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from brainfm.part import Settings


class Warps(Settings):
    """How far; each is the spread of a normal number drawn for every picture."""

    turn: float = Field(default=0.12, ge=0, description="radians")
    scale: float = Field(default=0.08, ge=0, description="of the logarithm, of either axis")
    shear: float = Field(default=0.08, ge=0)
    shift: float = Field(default=0.05, ge=0, description="of half of the picture's side")
    bend: float = Field(
        default=0.03, ge=0, description="of half of the picture's side, smooth over a quarter of it"
    )

    def __call__(
        self, images: Float[Tensor, "batch channel height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channel height width"]:
        """Each picture warped in a way of its own; outside is what its edge holds."""
        count = len(images)

        def draw(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=generator)

        turn, shear = self.turn * draw(), self.shear * draw()
        stretch, shift = (self.scale * draw(2)).exp(), self.shift * draw(2)
        rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], dim=-1).unflatten(1, (2, 2))
        sheared = torch.diag_embed(stretch)
        sheared[:, 0, 1] = shear
        affine = torch.cat([rotation @ sheared, shift.unsqueeze(-1)], dim=-1)
        grid = F.affine_grid(affine, list(images.shape), align_corners=False)
        coarse = self.bend * draw(2, 4, 4)
        bent = F.interpolate(coarse, size=images.shape[-2:], mode="bicubic", align_corners=False)
        grid = (grid + bent.movedim(1, -1)).to(images)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
