"""Pictures with a known truth: a coloured disc on a coloured ground."""

import torch
from jaxtyping import Float
from torch import Tensor


def blobs(
    count: int, size: int, generator: torch.Generator
) -> tuple[Float[Tensor, "picture 3 size size"], Float[Tensor, "picture 8"]]:
    """Pictures and what makes them: place (2), colour of the disc (3) and of the ground (3), each from 0 to 1."""
    truth = torch.rand(count, 8, generator=generator)
    axis = torch.linspace(0, 1, size)
    far = (axis[None, :, None] - 0.2 - 0.6 * truth[:, 0, None, None]) ** 2
    far = far + (axis[None, None, :] - 0.2 - 0.6 * truth[:, 1, None, None]) ** 2
    inside = torch.sigmoid((0.06 - far) * 120).unsqueeze(1)
    disc, ground = truth[:, 2:5, None, None], truth[:, 5:8, None, None]
    return inside * disc + (1 - inside) * ground, truth
