"""Arrays to pictures, pictures to grey, and one way of changing their size."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brainfm.errors import DataError

Mode = Literal["bilinear", "bicubic"]
LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in grey (ITU-R BT.709, as scikit-image's `rgb2gray`, which published scores of pictures use)."""
SLACK = 1e-4
"""How far outside 0 to 1 rounding may lead."""


def rgb(values: Any) -> Float[Tensor, "batch 3 height width"]:
    """Pictures of an array or tensor (batch, height, width), (batch, 1, height, width) or (batch, 3, height, width).

    Grey is repeated. Raises `DataError` for another shape, and for numbers that are no intensities from 0 to 1.
    """
    images = torch.as_tensor(values).float()
    images = images.unsqueeze(1) if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        raise DataError(
            f"pictures of shape {tuple(images.shape)} are not (batch, 1 or 3 colours, height, width); "
            "move the colours behind the batch"
        )
    if not bool(((images >= -SLACK) & (images <= 1 + SLACK)).all()):
        raise DataError(
            "pictures must be finite and from 0 to 1; divide bytes by 255 and clip what lies outside"
        )
    return images.clamp(0, 1).expand(-1, 3, -1, -1)


def grey(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
    """Luminance."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMINANCE))


def resized(
    images: Float[Tensor, "batch channel height width"], size: int, mode: Mode = "bilinear"
) -> Float[Tensor, "batch channel size size"]:
    """Square pictures of this side, antialiased. Nothing is cropped: what is not square is squeezed."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode=mode, antialias=True, align_corners=False)
