"""The one contract of all image embedders: what a frozen network makes of pictures, whichever network it is."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.images.rgb import Mode, resized

Origin = Literal["published", "random-features", "trained-here"]
"""Where an embedder's weights come from. Scores on features of another origin than published weights are nobody else's."""


@dataclass(frozen=True)
class Held:
    """What a network holds of pictures, from one pass."""

    tokens: Float[Tensor, "batch token feature"]
    pooled: Float[Tensor, "batch _"]
    maps: list[Float[Tensor, "batch _ _ _"]]
    """(batch, channel, height, width) each, from early to late."""


@dataclass(frozen=True)
class Preparation:
    """How pictures are brought to what a network was trained on."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: Mode = "bicubic"

    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 size size"]:
        """The pictures, resized and standardised by colour."""
        mean, std = (images.new_tensor(one)[:, None, None] for one in (self.mean, self.std))
        return (resized(images, self.size, self.mode) - mean) / std


class FrozenEmbedder(nn.Module):
    """Pictures to tokens, one vector and maps. Its weights never train; gradients of the pictures pass through.

    Subclasses say what the network's answer means in `read`.
    """

    def __init__(self, name: str, network: nn.Module, prepare: Preparation, origin: Origin) -> None:
        super().__init__()
        self.name, self.origin, self.prepare = name, origin, prepare
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FrozenEmbedder":
        """Stays in evaluation mode, whatever it is part of: running means and dropout are part of what is frozen."""
        return super().train(False)

    def read(self, prepared: Float[Tensor, "batch 3 size size"]) -> Held:
        """What the network holds of prepared pictures."""
        raise NotImplementedError  # a base class; every embedder that is frozen has its own

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Held:
        return self.read(self.prepare(images))

    def tokens(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch token feature"]:
        """Localised features, row by row."""
        return self(images).tokens

    def pooled(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature"]:
        """One vector a picture."""
        return self(images).pooled

    def maps(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Feature maps (batch, channel, height, width), from early to late."""
        return self(images).maps

    @property
    def id(self) -> str:
        """Name and a hash of the weights, with where they come from unless they are published."""
        words = [self.name] if self.origin == "published" else [self.name, self.origin]
        return f"{' '.join(words)} {weights_hash(self.network)}"

    @property
    def token_shape(self) -> tuple[int, int]:
        """(token, feature) of a picture."""
        blank = next(self.network.parameters()).new_full((1, 3, self.prepare.size, self.prepare.size), 0.5)
        with torch.no_grad():
            found = self.tokens(blank)
        return found.shape[1], found.shape[2]


def weights_hash(network: nn.Module) -> str:
    """Twelve digits that are the same for the same tensors under the same names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def as_grid(
    tokens: Float[Tensor, "batch token feature"], *sides: Any
) -> Float[Tensor, "batch feature high wide"]:
    """Tokens that stand row by row, as a map. A square one unless `sides` (high, wide) are given."""
    high, wide = sides or (round(tokens.shape[1] ** 0.5),) * 2
    return tokens.transpose(1, 2).unflatten(2, (high, wide))
