"""A control branch: a copy of the UNet's encoder reads a map and adds to the residuals (Zhang et al. 2023, arXiv:2302.05543).

The map is no picture but has the size of the latents already: NeuroPictor's low-level branch (arXiv:2403.18211) makes it of
brain tokens, and it is added after the first layer, in place of the encoder of hints. What comes in and what goes out both
pass a convolution of zeros, so that the UNet's answer is its own, to the bit, until something is learned.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.errors import DataError
from brainfm.images.seeded import seeded


class ControlBranch(nn.Module):
    """`channels` of the map that is read."""

    def __init__(self, unet: Any, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        from diffusers import ControlNetModel

        self.channels = channels
        with seeded(generator):
            self.network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8,))
        self.network.controlnet_cond_embedding = nn.Identity()
        self.hint = nn.Conv2d(channels, unet.config.block_out_channels[0], 1)
        nn.init.zeros_(self.hint.weight)
        nn.init.zeros_(self.hint.bias)  # type: ignore[arg-type]

    def forward(
        self,
        latents: Float[Tensor, "batch latent high wide"],
        time: Tensor,
        control: Float[Tensor, "batch channel height width"],
        strength: float,
        extra: dict[str, Any],
    ) -> tuple[list[Tensor], Tensor]:
        """What is added to the residuals of the way down, and to the middle. `extra` is what the UNet is given, too."""
        if control.shape[1:] != (self.channels, *latents.shape[2:]):
            raise DataError(
                f"a control map of shape {tuple(control.shape[1:])} is not {(self.channels, *latents.shape[2:])}, "
                "the size of the latents"
            )
        hint = self.hint(control)
        down, middle = self.network(latents, time, controlnet_cond=hint, conditioning_scale=strength, **extra)
        return list(down), middle
