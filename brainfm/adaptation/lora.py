"""Low-rank changes of the encoder's linear layers (Hu et al. 2022, LoRA, arXiv:2106.09685, §4.1)."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.added_layers import adapters_alone, linear_layers, merge_all, peft, put_in


class Lora(Adaptation):
    """Each layer's weight W becomes W + (scale / rank) · B A; A and B are trained, W is not."""

    row: ClassVar[str] = "lora"

    rank: int = Field(default=8, ge=1)
    scale: float = Field(default=16.0, gt=0, description="peft's lora_alpha")
    rate: float = Field(default=10.0, gt=0, description="of the adapters, as a multiple of the learning rate")

    def install(self, model: nn.Module, seed: int) -> None:
        config = peft().LoraConfig(r=self.rank, lora_alpha=self.scale, target_modules=linear_layers(model))
        put_in(model, config, seed)

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        return [Phase(1.0, adapters_alone(model, head, self.rate))]

    def merge(self, model: nn.Module) -> None:
        merge_all(model)
