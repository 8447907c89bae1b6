"""Learning rates of single parts of a model, as multiples by the beginning of a parameter's name (`train.Run.rates`)."""

from torch import nn

from brainfm.blocks import blocks_of
from brainfm.errors import DataError

ALL = ""
"""Every name begins with it: what no other rule names."""
NEW = ("head.", "subjects.")
"""What a decoder has and its checkpoint had not: it learns at the head's rate."""


def head_alone(head: float) -> dict[str, float]:
    """The head is trained, and the subjects' maps where there are any; all else is not."""
    return {**dict.fromkeys(NEW, head), ALL: 0.0}


def by_layer(model: nn.Module, head: float, decay: float) -> dict[str, float]:
    """The last block and what follows it at the full rate, each block before it at `decay` times the rate of the next.

    What comes before the first block (tokenizers, places) is one more step down (Bao et al. 2022, BEiT, arXiv:2106.08254,
    appendix on fine-tuning; Clark et al. 2020, ELECTRA). Raises `DataError` where the encoder has no blocks to tell apart.
    """
    if decay == 1.0:
        return dict.fromkeys(NEW, head)
    blocks = blocks_of(model.get_submodule("encoder"))
    if not blocks:
        raise DataError("this encoder has no list called `blocks`, so its layers have no rates of their own")
    number = {id(one): place for place, block in enumerate(blocks, 1) for one in block.parameters()}
    rates, layer = dict.fromkeys(NEW, head), 0
    for name, parameter in model.named_parameters():
        if name.startswith(NEW):
            continue
        if id(parameter) in number:
            layer = number[id(parameter)]
        # in a model's own order: what is met before the first block comes before it, and what after the last one after it
        rates[name] = decay ** (len(blocks) - layer)
    return rates
