"""LoRA for the direction of each weight, and its length by itself (Liu et al. 2024, DoRA, arXiv:2402.09353, equation 5)."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.added_layers import adapters_alone, linear_layers, merge_all, peft, put_in


class Dora(Adaptation):
    """The rows of W + (scale / rank) · B A are brought to lengths that are trained too."""

    row: ClassVar[str] = "lora:dora"

    rank: int = Field(default=8, ge=1)
    scale: float = Field(default=16.0, gt=0, description="peft's lora_alpha")
    rate: float = Field(default=10.0, gt=0, description="of the adapters, as a multiple of the learning rate")

    def install(self, model: nn.Module, seed: int) -> None:
        layers = linear_layers(model)
        config = peft().LoraConfig(r=self.rank, lora_alpha=self.scale, target_modules=layers, use_dora=True)
        put_in(model, config, seed)

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        return [Phase(1.0, adapters_alone(model, head, self.rate))]

    def merge(self, model: nn.Module) -> None:
        merge_all(model)
