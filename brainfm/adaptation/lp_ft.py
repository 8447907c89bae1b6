"""A linear probe first, then all weights (Kumar et al. 2022, arXiv:2202.10054, §3.4)."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.rates import by_layer, head_alone


class LpFt(Adaptation):
    """A head that starts at random sends its errors into the features and distorts them; here it has learnt before they move."""

    row: ClassVar[str] = "finetuned:lp_ft"

    probe: float = Field(default=0.5, gt=0, lt=1, description="share of the steps for the head alone")
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="of the learning rate, from each block to the one before it"
    )

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        return [
            Phase(self.probe, head_alone(head), still=True),
            Phase(1.0 - self.probe, by_layer(model, head, self.layer_decay)),
        ]
