"""A vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929)."""

from typing import Any, ClassVar

from brainfm.images.vision_transformer import HALF, VisionTransformer


class Vit(VisionTransformer):
    """`pooled` is the class token after the last norm."""

    colours: ClassVar = HALF

    def network_and_config(self) -> Any:
        from transformers import ViTConfig, ViTModel

        return ViTModel, ViTConfig(**self.sizes, intermediate_size=4 * self.width)
