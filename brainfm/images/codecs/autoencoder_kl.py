"""Stable Diffusion's autoencoder (Rombach et al. 2022, arXiv:2112.10752, §3.1), by diffusers."""

from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn

from brainfm.images.codecs import Codec
from brainfm.images.seeded import seeded
from brainfm.images.weights import loaded, whole


class AutoencoderKl(Codec):
    """Latents an eighth as large as the picture in published weights. All other settings count only without `weights`."""

    weights: str | None = Field(
        default=None, description="a folder or a name on the Hub; none: from a config"
    )
    channels: list[Annotated[int, Field(ge=8)]] = Field(default=[16, 32], min_length=1)
    layers: int = Field(default=1, ge=1, description="of each block")
    latent: int = Field(default=4, ge=1, description="channels of the latents")

    @field_validator("channels")
    @classmethod
    def _grouped(cls, value: list[int]) -> list[int]:
        if any(one % 8 for one in value):
            raise ValueError(f"channels are normed in groups of 8, which {value} can't be divided into")
        return value

    @property
    def latent_channels(self) -> int:
        return self.latent

    def build(self, generator: torch.Generator) -> "LatentCodec":
        from diffusers import AutoencoderKL

        if self.weights is not None:
            return LatentCodec(self, loaded(self.weights, "an AutoencoderKL of diffusers", _of_folder))
        depth = len(self.channels)
        with seeded(generator):
            network = AutoencoderKL(
                block_out_channels=tuple(self.channels),
                down_block_types=("DownEncoderBlock2D",) * depth,
                up_block_types=("UpDecoderBlock2D",) * depth,
                layers_per_block=self.layers,
                latent_channels=self.latent,
                norm_num_groups=8,
                scaling_factor=1.0,
            )
        return LatentCodec(self, network)


class LatentCodec(nn.Module):
    """Pictures to the mean of their latents, scaled as the generator was trained on them, and back."""

    def __init__(self, part: AutoencoderKl, network: Any) -> None:
        super().__init__()
        self.part = part
        self.network = network.requires_grad_(False).eval()
        self.channels = int(network.config.latent_channels)
        self.factor = 2 ** (len(network.config.block_out_channels) - 1)
        self.scale = float(network.config.scaling_factor)
        self.shift = float(network.config.shift_factor or 0.0)

    def train(self, mode: bool = True) -> "LatentCodec":
        """Stays in evaluation mode."""
        return super().train(False)

    def encode(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch latent high wide"]:
        """The mean: nothing is drawn, so that a picture has one encoding."""
        return (self.network.encode(2 * images - 1).latent_dist.mode() - self.shift) * self.scale

    def decode(
        self, latents: Float[Tensor, "batch latent high wide"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pictures; what lies outside 0 to 1 is cut off."""
        images = self.network.decode(latents / self.scale + self.shift).sample
        return ((images + 1) / 2).clamp(0, 1)


def _of_folder(name: str) -> Any:
    from diffusers import AutoencoderKL

    inner = {"subfolder": "vae"} if (Path(name) / "vae").is_dir() else {}  # a whole pipeline
    found, info = AutoencoderKL.from_pretrained(
        name, output_loading_info=True, use_safetensors=True, low_cpu_mem_usage=False, **inner
    )
    return whole(found, info, name)
