"""CLIP's image half (Radford et al. 2021, arXiv:2103.00020): the vector that lies near the caption's, and its patches."""

from typing import Any, ClassVar

from brainfm.images.vision_transformer import OPENAI, VisionTransformer


class Clip(VisionTransformer):
    """`pooled` is the projected embedding. `weights: openai/clip-vit-large-patch14` is what published scores compare by."""

    colours: ClassVar = OPENAI

    def network_and_config(self) -> Any:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        config = CLIPVisionConfig(**self.sizes, intermediate_size=4 * self.width, projection_dim=self.width)
        return CLIPVisionModelWithProjection, config
