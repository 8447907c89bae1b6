"""Train a small embedder on the spot, where published weights are not at hand: it learns to tell pictures again.

Two linear readers, one of the vector and one of each map, rebuild the picture at the size that they have room for, so what a
picture is must be kept on the way. A few hundred steps on the user's pictures; nothing here stands in for CLIP.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.errors import RecipeError
from brainfm.images.frozen import FrozenEmbedder
from brainfm.images.rgb import resized
from brainfm.images.seeded import seeded

THUMBNAIL = 8
"""Side of the picture that a vector has to tell, pixels."""


class Readers(nn.Module):
    """Linear maps from what an embedder holds to small pictures."""

    def __init__(self, pooled: int, channels: list[int]) -> None:
        super().__init__()
        self.pooled = nn.Linear(pooled, 3 * THUMBNAIL**2)
        self.maps = nn.ModuleList(nn.Conv2d(one, 3, 1) for one in channels)

    def forward(
        self, pooled: Tensor, maps: list[Tensor], images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        """Mean squared error of all small pictures."""
        told = self.pooled(pooled).unflatten(1, (3, THUMBNAIL, THUMBNAIL))
        loss = F.mse_loss(told, resized(images, THUMBNAIL))
        for reader, one in zip(self.maps, maps, strict=True):
            loss = loss + F.mse_loss(reader(one), resized(images, one.shape[-1])) / len(maps)
        return loss


def train_small(
    embedder: FrozenEmbedder,
    images: Float[Tensor, "picture 3 height width"],
    generator: torch.Generator,
    steps: int = 200,
    batch: int = 32,
    rate: float = 2e-3,
    progress: Callable[[float], None] | None = None,
) -> list[float]:
    """Train its network on these pictures and freeze it again; its `id` then says "trained-here". Gives the losses.

    `progress` is called with the loss of every step. Raises `RecipeError` for published weights, which stay as they are.
    """
    if embedder.origin == "published":
        raise RecipeError(
            f"{embedder.name} has published weights, which are not trained here; drop `weights`"
        )
    with torch.no_grad():
        seen = embedder(images[:1])
    with seeded(generator):
        readers = Readers(seen.pooled.shape[1], [one.shape[1] for one in seen.maps])
    network = embedder.network.requires_grad_(True).train()
    weights = [*network.parameters(), *readers.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    losses = []
    try:
        for _ in range(steps):
            rows = torch.randint(len(images), (batch,), generator=generator)
            held = embedder(images[rows])
            loss = readers(held.pooled, held.maps, images[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if progress is not None:
                progress(losses[-1])
    finally:
        network.requires_grad_(False).eval()
        embedder.origin = "trained-here"
    return losses
