"""Principal components of pictures: the plainest image embedder, and one that a few pictures are enough for."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.images.embedders import ImageEmbedder
from brainfm.images.frozen import FrozenEmbedder, Held, Preparation


class Principal(ImageEmbedder):
    """`components` numbers a picture, each of spread one over the pictures that it was fitted on."""

    weights: Literal[None] = None
    size: int = Field(default=28, ge=4, description="side of a picture, pixels")
    components: int = Field(default=10, ge=1)

    def build(self, generator: torch.Generator | None = None) -> "PrincipalEmbedder":
        return PrincipalEmbedder(self)


class Components(nn.Module):
    """The mean picture, and the directions in which pictures differ most."""

    def __init__(self, part: Principal) -> None:
        super().__init__()
        pixels = 3 * part.size**2
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.basis = nn.Parameter(torch.zeros(part.components, pixels))
        """(component, pixel) orthonormal rows, times the spread along them."""
        self.spread = nn.Parameter(torch.ones(part.components))

    def forward(self, pictures: Float[Tensor, "batch pixel"]) -> Float[Tensor, "batch component"]:
        return ((pictures - self.mean) @ self.basis.T) / self.spread**2


class PrincipalEmbedder(FrozenEmbedder):
    """One token, which holds all components."""

    def __init__(self, part: Principal) -> None:
        network = Components(part)
        super().__init__(
            part.kind, network, Preparation(part.size, (0.0,) * 3, (1.0,) * 3, "bilinear"), "random-features"
        )
        self.part, self.components = part, network

    @torch.no_grad()
    def fit(self, images: Float[Tensor, "picture 3 height width"]) -> None:
        """Find the components of these pictures (their own mean taken off)."""
        flat = self.prepare(images).flatten(1)
        mean = flat.mean(dim=0)
        _, size, basis = torch.linalg.svd(flat - mean, full_matrices=False)
        spread = (size / len(flat) ** 0.5)[: self.part.components].clamp(min=1e-6)
        self.components.mean.copy_(mean)
        self.components.spread.copy_(spread)
        self.components.basis.copy_(basis[: self.part.components] * spread[:, None])
        self.origin = "trained-here"

    def read(self, prepared: Float[Tensor, "batch 3 size size"]) -> Held:
        found = self.components(prepared.flatten(1))
        return Held(found.unsqueeze(1), found, [prepared])

    def pictures(self, tokens: Float[Tensor, "batch 1 component"]) -> Float[Tensor, "batch 3 size size"]:
        """The pictures of these components: what a linear decoder makes of them."""
        flat = tokens[:, 0] @ self.components.basis + self.components.mean
        return flat.unflatten(1, (3, self.part.size, self.part.size)).clamp(0, 1)
