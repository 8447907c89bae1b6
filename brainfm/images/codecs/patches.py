"""Squares of pixels side by side as channels: nothing is lost, and a UNet of few places is enough for small pictures."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.images.codecs import Codec


class Patches(Codec):
    """`side` × `side` pixels of each colour become channels of one place, from −1 to 1; with `grey`, of luminance alone."""

    side: int = Field(default=4, ge=2, description="pixels")
    grey: bool = Field(default=False, description="one colour in, three equal ones out")

    @property
    def latent_channels(self) -> int:
        return (1 if self.grey else 3) * self.side**2

    def build(self, generator: torch.Generator) -> "PatchCodec":
        return PatchCodec(self)


class PatchCodec(nn.Module):
    """(batch, 3, height, width) to (batch, 3 · side², height / side, width / side) and back."""

    def __init__(self, part: Patches) -> None:
        super().__init__()
        self.part, self.channels, self.factor = part, part.latent_channels, part.side

    def encode(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channel high wide"]:
        """Centred pixels, square by square."""
        shown = images.mean(dim=1, keepdim=True) if self.part.grey else images
        return F.pixel_unshuffle(2 * shown - 1, self.factor)

    def decode(
        self, latents: Float[Tensor, "batch channel high wide"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pictures; what lies outside 0 to 1 is cut off."""
        shown = ((F.pixel_shuffle(latents, self.factor) + 1) / 2).clamp(0, 1)
        return shown.expand(-1, 3, -1, -1)
