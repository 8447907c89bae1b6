"""No codec: the generator works on pixels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.images.codecs import Codec


class Pixels(Codec):
    """Intensities from −1 to 1, for small pictures."""

    @property
    def latent_channels(self) -> int:
        return 3

    def build(self, generator: torch.Generator) -> "PixelCodec":
        return PixelCodec(self)


class PixelCodec(nn.Module):
    """(batch, 3, height, width), 0 … 1 to −1 … 1 and back."""

    channels, factor = 3, 1

    def __init__(self, part: Pixels) -> None:
        super().__init__()
        self.part = part

    def encode(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Centred pixels."""
        return 2 * images - 1

    def decode(self, latents: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Pictures; what lies outside 0 to 1 is cut off."""
        return ((latents + 1) / 2).clamp(0, 1)
