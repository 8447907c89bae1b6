"""SSIM: likeness of brightness, contrast and structure in small windows (Wang et al. 2004, IEEE TIP 13:600)."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from brainfm.images.backbones import Weights
from brainfm.images.rgb import grey, resized
from brainfm.images.scores import FIRST, ImageScore, Reconstructed, Told

SIGMA, RADIUS = 1.5, 5
"""A Gaussian window cut at 3.5 deviations: 11 pixels, as scikit-image takes with `gaussian_weights`."""
K1, K2 = 0.01, 0.03


class Ssim(ImageScore):
    """Of grey pictures with a range of 1, as scikit-image gives with `use_sample_covariance=False` and no channel axis.

    Published calls add `multichannel=True`, which scikit-image from 0.20 on ignores: these are the same numbers.
    """

    size: int = Field(default=425, ge=2 * RADIUS + 1, description="side, pixels")

    def __call__(self, found: Reconstructed, weights: Weights, rng: np.random.Generator) -> Told:
        values = torch.cat(
            [
                ssim(*(grey(resized(one, self.size)).double() for one in pair))
                for pair in zip(*(one.split(16) for one in found.first), strict=True)
            ]
        )
        told = np.asarray(values.cpu().numpy(), np.float64)
        return Told(told, None, f"{FIRST}, then {self.size} bilinear antialiased", note="grey")


def ssim(
    a: Float[Tensor, "picture height width"], b: Float[Tensor, "picture height width"]
) -> Float[Tensor, " picture"]:
    """The mean over all windows that lie within the picture."""
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    one, two = K1**2, K2**2
    likeness = (2 * mean_a * mean_b + one) * (2 * both + two)
    return (likeness / ((mean_a**2 + mean_b**2 + one) * (var_a + var_b + two))).mean(dim=(1, 2))


def blurred(values: Float[Tensor, "picture height width"]) -> Float[Tensor, "picture high wide"]:
    """Gaussian means of the windows within the picture, rows and then columns."""
    at = torch.arange(-RADIUS, RADIUS + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-(at**2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum())[None, None]
    return F.conv2d(F.conv2d(values.unsqueeze(1), kernel[..., None]), kernel[:, :, None]).squeeze(1)
