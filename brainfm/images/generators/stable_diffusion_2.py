"""Stable Diffusion 2.1's UNet (Rombach et al. 2022, arXiv:2112.10752; 865.9 million weights), which NeuroPictor keeps frozen."""

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from brainfm.images.codecs import Codec
from brainfm.images.codecs.autoencoder_kl import AutoencoderKl
from brainfm.images.generators import Diffusion


class StableDiffusion2(Diffusion):
    """Tokens of 1024 features, 77 of them in text's place; `size` is that of the latents, an eighth of the picture's."""

    schedule: ClassVar = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "steps_offset": 1,
    }

    codec: SerializeAsAny[Codec] = AutoencoderKl(channels=[128, 256, 512, 512], layers=2)
    prediction: Literal["sample", "epsilon", "v_prediction"] = (
        "epsilon"  # "v_prediction" for the 768 pixels' weights
    )
    size: int = Field(default=64, ge=8)

    def config(self, tokens: int | None, vector: int | None) -> dict[str, Any]:
        return {
            "sample_size": self.size,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": (5, 10, 20, 20),
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
        }
