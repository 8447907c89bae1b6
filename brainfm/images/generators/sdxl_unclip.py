"""SDXL's UNet that attends to 256 tokens of OpenCLIP bigG (Scotti et al. 2024, MindEye2, arXiv:2403.11207), as Brain-IT's."""

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from brainfm.images.codecs import Codec
from brainfm.images.codecs.autoencoder_kl import AutoencoderKl
from brainfm.images.generator import Unconditional
from brainfm.images.generators import Diffusion


class SdxlUnclip(Diffusion):
    """Tokens of 1664 features; the vector is four numbers, the original size and the crop, each embedded by 256 features."""

    schedule: ClassVar = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}

    codec: SerializeAsAny[Codec] = AutoencoderKl(channels=[128, 256, 512, 512], layers=2)
    scheduler: Literal["ddim", "euler", "dpm"] = "euler"
    prediction: Literal["sample", "epsilon", "v_prediction"] = "epsilon"
    unconditional: Unconditional = "random"
    offset_noise: float = Field(default=0.04, ge=0)
    size: int = Field(default=32, ge=8)

    def config(self, tokens: int | None, vector: int | None) -> dict[str, Any]:
        return {
            "sample_size": self.size,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
            "cross_attention_dim": 1664,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 1024,
        }
