"""One learned factor for each feature of keys, values and the MLP's inside (Liu et al. 2022, IA3, arXiv:2205.05638, §3.3)."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.added_layers import adapters_alone, linear_layers, merge_all, peft, put_in

SCALED = ("qkv", "kv")
"""Layers whose output is scaled. Where queries, keys and values come of one layer, queries are scaled along."""
INSIDE = "narrow"
"""The layer whose input is scaled: what the MLP holds after its non-linearity."""


class Ia3(Adaptation):
    """The fewest weights of all: a few hundred a block."""

    row: ClassVar[str] = "lora:ia3"

    rate: float = Field(default=10.0, gt=0, description="of the factors, as a multiple of the learning rate")

    def install(self, model: nn.Module, seed: int) -> None:
        layers = linear_layers(model)
        inside = [name for name in layers if name.endswith(INSIDE)]
        scaled = [name for name in layers if name.rpartition(".")[2] in SCALED]
        put_in(model, peft().IA3Config(target_modules=[*scaled, *inside], feedforward_modules=inside), seed)

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        rates = adapters_alone(model, head, self.rate)
        # factors are 1 where nothing has been learnt: decay would take them, and with them the features, towards 0
        return [Phase(1.0, rates, undecayed=rates.keys())]

    def merge(self, model: nn.Module) -> None:
        merge_all(model)
