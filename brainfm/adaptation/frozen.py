"""The head alone is trained."""

from typing import ClassVar

from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.rates import head_alone


class Frozen(Adaptation):
    """The backbone stays as it was loaded, in evaluation mode: what a probe sees, under a head that a probe can't have."""

    row: ClassVar[str] = "frozen:head"

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        return [Phase(1.0, head_alone(head), still=True)]
