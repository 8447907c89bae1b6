"""Any network of timm as an embedder."""

from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.errors import RecipeError
from brainfm.images.embedders import ImageEmbedder, asked
from brainfm.images.frozen import FrozenEmbedder, Held, Origin
from brainfm.images.timm_network import of_name, of_weights, preparation


class Backbone(ImageEmbedder):
    """Tokens are the last map, place by place; `pooled` is what the classifier would see."""

    architecture: str = Field(
        default="test_resnet", description="a name of timm, built with random weights; unused with `weights`"
    )

    def build(self, generator: torch.Generator | None = None) -> "TimmEmbedder":
        published = self.weights is not None
        network = of_weights(self.weights) if self.weights else of_name(self.architecture, asked(generator))
        return TimmEmbedder(self, self.weights or self.architecture, network, published)


class TimmEmbedder(FrozenEmbedder):
    """A network of timm, read at every stage."""

    def __init__(self, part: Backbone, name: str, network: nn.Module, published: bool) -> None:
        if not hasattr(network, "forward_intermediates"):
            raise RecipeError(f"timm's {name} does not give its maps; take another architecture")
        origin: Origin = "published" if published else "random-features"
        super().__init__(f"{part.kind}:{name}", network, preparation(network), origin)
        self.part = part

    def read(self, prepared: Float[Tensor, "batch 3 size size"]) -> Held:
        network: Any = self.network
        last, maps = network.forward_intermediates(prepared, output_fmt="NCHW")
        tokens = maps[-1].flatten(2).transpose(1, 2)
        return Held(tokens, network.forward_head(last, pre_logits=True).flatten(1), list(maps))
