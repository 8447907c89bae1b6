"""VGG-16 with batch norm (Simonyan & Zisserman 2014, arXiv:1409.1556): maps of five stages, as Brain-IT predicts them."""

from itertools import pairwise
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn

from brainfm.errors import CheckpointError
from brainfm.images.embedders import ImageEmbedder, asked
from brainfm.images.frozen import FrozenEmbedder, Held, Origin, Preparation
from brainfm.images.map_tokens import to_tokens
from brainfm.images.seeded import seeded
from brainfm.images.timm_network import of_weights
from brainfm.images.vision_transformer import IMAGENET


class Vgg(ImageEmbedder):
    """Maps are what each stage holds before it is pooled (Brain-IT, arXiv:2510.25976: pictures of 112 pixels, 7190 tokens).

    `weights: timm/vgg16_bn.tv_in1k` are the published ones; `channels` and `convolutions` count only without them.
    """

    size: int = Field(default=112, ge=16, description="side of a picture, pixels")
    channels: list[Annotated[int, Field(ge=1)]] = Field(default=[8, 16, 32, 64, 64], min_length=2)
    convolutions: int = Field(default=1, ge=1, description="in each stage")

    @field_validator("channels")
    @classmethod
    def _grow(cls, value: list[int]) -> list[int]:
        if any(value[-1] % one for one in value) or any(a > b for a, b in pairwise(value)):
            raise ValueError(f"channels grow and divide the last one, unlike {value}")
        return value

    def build(self, generator: torch.Generator | None = None) -> "VggEmbedder":
        if self.weights is not None:
            network: Any = of_weights(self.weights)
            if type(network).__name__ != "VGG":
                raise CheckpointError(f"{self.weights} is no VGG; `kind: backbone` takes any network of timm")
            return VggEmbedder(self, network.features)
        with seeded(asked(generator)):
            return VggEmbedder(self, stages(self.channels, self.convolutions))


class VggEmbedder(FrozenEmbedder):
    """Convolutions of a VGG, read before each pooling."""

    def __init__(self, part: Vgg, layers: nn.Sequential) -> None:
        name = part.kind if part.weights is None else f"{part.kind}:{part.weights}"
        origin: Origin = "random-features" if part.weights is None else "published"
        super().__init__(name, layers, Preparation(part.size, *IMAGENET, mode="bilinear"), origin)
        self.part = part

    def read(self, prepared: Float[Tensor, "batch 3 size size"]) -> Held:
        maps, x = [], prepared
        for layer in self.network.children():
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return Held(to_tokens(maps), maps[-1].mean(dim=(2, 3)), maps)


def stages(channels: list[int], convolutions: int) -> nn.Sequential:
    """The layers of a VGG of these widths, by the same plan as the published one."""
    layers: list[nn.Module] = []
    for before, after in pairwise([3, *channels]):
        for number in range(convolutions):
            width = before if number == 0 else after
            layers += [nn.Conv2d(width, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
