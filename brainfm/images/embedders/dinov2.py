"""DINOv2 (Oquab et al. 2023, arXiv:2304.07193), with or without registers (Darcet et al. 2023, arXiv:2309.16588)."""

from typing import Any, ClassVar

from pydantic import Field

from brainfm.images.vision_transformer import IMAGENET, VisionTransformer


class Dinov2(VisionTransformer):
    """`pooled` is the class token. Registers are no tokens: they stand for no place."""

    colours: ClassVar = IMAGENET

    registers: int = Field(
        default=0, ge=0, description="of the network; weights with registers need a number above 0 here"
    )

    def network_and_config(self) -> Any:
        from transformers import (
            Dinov2Config,
            Dinov2Model,
            Dinov2WithRegistersConfig,
            Dinov2WithRegistersModel,
        )

        if not self.registers:
            return Dinov2Model, Dinov2Config(**self.sizes)
        config = Dinov2WithRegistersConfig(**self.sizes, num_register_tokens=self.registers)
        return Dinov2WithRegistersModel, config
