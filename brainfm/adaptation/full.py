"""All weights are trained."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.rates import by_layer


class Full(Adaptation):
    """Everything at once; with a `layer_decay` below 1 early layers, which are the most general, move least."""

    row: ClassVar[str] = "finetuned"

    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="of the learning rate, from each block to the one before it"
    )

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        return [Phase(1.0, by_layer(model, head, self.layer_decay))]
