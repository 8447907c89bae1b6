"""Networks of timm, by name with random weights, or with published ones from a folder or the Hub."""

from pathlib import Path
from typing import Any

import torch

from brainfm.errors import RecipeError
from brainfm.images.frozen import Preparation
from brainfm.images.rgb import Mode
from brainfm.images.seeded import seeded
from brainfm.images.weights import loaded
from brainfm.part import suggest


def of_name(name: str, generator: torch.Generator) -> Any:
    """The architecture of that name with weights drawn from `generator`. Raises `RecipeError` where timm has none."""
    import timm

    if not timm.is_model(name):
        raise RecipeError(f"{name!r} is no architecture of timm{suggest(name, timm.list_models())[:60]}")
    with seeded(generator):
        return timm.create_model(name, pretrained=False)


def of_weights(weights: str) -> Any:
    """The network that a folder (timm's `save_for_hf`) or a name on the Hub (timm/vgg16_bn.tv_in1k) describes."""
    import timm

    def load(name: str) -> Any:
        source = "local-dir" if Path(name).exists() else "hf-hub"
        return timm.create_model(f"{source}:{name}", pretrained=True)

    return loaded(weights, "a network of timm", load)


def preparation(network: Any) -> Preparation:
    """What timm says of the pictures that it was trained on."""
    from timm.data import resolve_model_data_config

    said = resolve_model_data_config(network)
    mode: Mode = "bicubic" if said["interpolation"] == "bicubic" else "bilinear"
    return Preparation(said["input_size"][-1], tuple(said["mean"]), tuple(said["std"]), mode)
