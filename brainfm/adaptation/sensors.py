"""The vectors of sensors alone are trained: a decoder meets a session whose neurons it does not know.

"Unit identification" of Azabou et al. 2023 (POYO, arXiv:2310.16046): all that was learnt of how neurons tell behaviour stays, and
which of them does what is found out from a few labels.
"""

from typing import ClassVar

from torch import nn

from brainfm.adaptation import Adaptation, Phase
from brainfm.errors import DataError
from brainfm.rates import ALL


class Sensors(Adaptation):
    """The tokenizers' vocabularies learn; those rows that no window uses stay, having no gradient and no decay.

    Raises `DataError` where no tokenizer knows sensors by name.
    """

    row: ClassVar[str] = "finetuned:sensors"
    keeps_head: ClassVar[bool] = True

    def phases(self, model: nn.Module, head: float) -> list[Phase]:
        tables = [name for name, _ in model.named_parameters() if ".vocabulary." in name]
        if not tables:
            raise DataError(
                "no tokenizer of this model knows sensors by name, so none can be learnt; take another adaptation"
            )
        return [Phase(1.0, {**dict.fromkeys(tables, 1.0), ALL: 0.0}, tables, still=True)]
