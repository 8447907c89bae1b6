"""Adapters of peft inside a model: put in, found again, and merged into the weights beside which they lie."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from brainfm.errors import BrainfmError, DataError
from brainfm.rates import head_alone

if TYPE_CHECKING:
    from peft import PeftConfig


def peft() -> Any:
    """The library. Raises `BrainfmError` where it is not installed."""
    try:
        import peft as found
    except ImportError:
        raise BrainfmError(
            "lora, dora and ia3 need peft: pip install 'brainfm-toolkit[adapters]', or choose another adaptation"
        ) from None
    return found


def linear_layers(model: nn.Module) -> list[str]:
    """The names of the linear layers of the encoder's blocks. Raises `DataError` where there is none."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith("encoder.") and ".blocks." in name
    ]
    if not names:
        raise DataError("this encoder has no linear layers in a list called `blocks`, so nothing to adapt")
    return names


def put_in(model: nn.Module, config: "PeftConfig", seed: int) -> None:
    """Adapters into the model, their first weights by `seed`; their layers say the same as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft().inject_adapter_in_model(config, model)


def adapters_alone(model: nn.Module, head: float, rate: float) -> dict[str, float]:
    """Rates: the head and what peft put in; all else stays."""
    inside = [
        f"{name}.{own}"
        for name, layer in layers_with(model)
        for own, _ in layer.named_parameters()
        if not own.startswith("base_layer.")
    ]
    return {**dict.fromkeys(inside, rate), **head_alone(head)}


def layers_with(model: nn.Module) -> list[tuple[str, Any]]:
    """The layers that hold an adapter, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]


def merge_all(model: nn.Module) -> None:
    """Every adapter into the weights of its layer, which then stands alone under its old name."""
    for name, layer in layers_with(model):
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config  # peft left it there: it would be taken for adapters that still are
