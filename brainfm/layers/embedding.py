"""A stretch of one signal, or of several channels at once, to the vector of a token: one way a name, shared by all tokenizers."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Embed = Literal["linear", "convolution", "dilated"]
"""One linear map; two convolutions and a map; or five blocks of dilated convolutions and a map."""
INNER = 16
"""Channels of the two convolutions."""
HIDDEN, BLOCKS = 5, 5
"""Channels and number of the dilated blocks (Oganesian et al. 2025, code)."""


def embedding(embed: Embed, samples: int, width: int, channels: int = 1) -> nn.Module:
    """(..., samples) to (..., width); with several `channels` (..., channels, samples)."""
    if embed == "linear" and channels == 1:
        return nn.Linear(samples, width)
    inside = {
        "linear": lambda: nn.Sequential(nn.Flatten(1), nn.Linear(channels * samples, width)),
        "convolution": lambda: convolution(samples, width, channels),
        "dilated": lambda: dilated(samples, width, channels),
    }[embed]()
    return nn.Sequential(nn.Unflatten(-1, (1, samples)) if channels == 1 else nn.Identity(), Each(inside))


def convolution(samples: int, width: int, channels: int = 1) -> nn.Sequential:
    """Two convolutions inside the patch and a linear map: waveform shapes at any lag before they are mixed."""
    return nn.Sequential(
        nn.Conv1d(channels, INNER, kernel_size=9, padding=4),
        nn.GELU(),
        nn.Conv1d(INNER, INNER, kernel_size=5, stride=2, padding=2),
        nn.GELU(),
        nn.Flatten(1),
        nn.Linear(INNER * ((samples + 1) // 2), width),
    )


def dilated(samples: int, width: int, channels: int = 1) -> nn.Sequential:
    """BaRISTA's: each block sees twice as far as the one before (Oganesian et al. 2025, arXiv:2512.12135, §3.1, and its code)."""
    widths = [channels, *[HIDDEN] * (BLOCKS - 1), 1]
    blocks = [Dilated(widths[row], widths[row + 1], 2**row) for row in range(BLOCKS)]
    return nn.Sequential(*blocks, nn.Flatten(1), nn.Linear(samples, width, bias=False))


class Dilated(nn.Module):
    """Two dilated convolutions over the samples of a patch, each normalised over them, beside a way around both."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, after, 3, padding=dilation, dilation=dilation) for inputs in (before, after)
        )
        self.around = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Float[Tensor, "patch before time"]) -> Float[Tensor, "patch after time"]:
        h = x
        for convolution_ in self.convolutions:
            h = convolution_(h)
            h = F.gelu(F.layer_norm(h, h.shape[-1:]))
        return h + self.around(x)


class Each(nn.Module):
    """Apply a module that knows one batch axis to (..., channel, time)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "*each channel time"]) -> Float[Tensor, "*each width"]:
        return self.module(x.flatten(0, -3)).unflatten(0, x.shape[:-2])
