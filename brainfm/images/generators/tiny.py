"""A UNet that trains in a minute on a CPU, for pictures of 16 to 32 pixels."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from brainfm.images.generators import Diffusion

GROUPS = 8


class Tiny(Diffusion):
    """By default half a million weights. It tells the clean picture: so small and in so few steps, noise is told far worse."""

    schedule: ClassVar = {"beta_schedule": "squaredcos_cap_v2"}

    prediction: Literal["sample", "epsilon", "v_prediction"] = "sample"
    size: int = Field(default=16, ge=4, description="side of the latents, or of the picture without a codec")
    channels: list[Annotated[int, Field(ge=GROUPS)]] = Field(default=[24, 48], min_length=2, max_length=4)
    attend: Literal["everywhere", "inside"] = "inside"
    layers: int = Field(default=1, ge=1, description="of each block")

    @model_validator(mode="after")
    def _fits(self) -> "Tiny":
        if any(one % GROUPS for one in self.channels):
            raise ValueError(f"channels are multiples of {GROUPS}, unlike {self.channels}")
        return self

    def config(self, tokens: int | None, vector: int | None) -> dict[str, Any]:
        depth = len(self.channels)
        outer = 1 if self.attend == "inside" else 0  # blocks at full resolution that attend to nothing
        down = ("DownBlock2D",) * outer + ("CrossAttnDownBlock2D",) * (depth - outer)
        up = ("CrossAttnUpBlock2D",) * (depth - outer) + ("UpBlock2D",) * outer
        vectors = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": vector}
        channels = self.codec.latent_channels
        return {
            "sample_size": self.size,
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": tuple(self.channels),
            "down_block_types": down,
            "up_block_types": up,
            "layers_per_block": self.layers,
            "norm_num_groups": GROUPS,
            "attention_head_dim": 4,  # heads, in spite of the name
            "cross_attention_dim": tokens or self.channels[-1],
            **(vectors if vector else {}),
        }
