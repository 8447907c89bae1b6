"""How a statistic lies over the head, whatever the montage."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PLACES = ("mean", "x", "y", "z")
"""What is told of a statistic of rows over the head."""
SUMMARY = ("mean", "spread")
"""What is told of a statistic of pairs over all of them."""


def slopes(
    power: Float[Tensor, "batch sensor statistic"],
    position: Float[Tensor, "batch sensor 3"],
    located: Bool[Tensor, "batch sensor"],
    ridge: float = 0.1,
) -> Float[Tensor, "batch statistic 4"]:
    """Mean over sensors, and the slope along x, y and z per 0.1 m: a ridge regression on position (metres).

    The ridge keeps slopes near zero along directions that the montage does not cover.
    """
    here = located.float().unsqueeze(-1)
    count = here.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (position - (position * here).sum(dim=1, keepdim=True) / count) * here / 0.1
    mean = power.mean(dim=1, keepdim=True)
    gram = centred.transpose(1, 2) @ centred / count + ridge * torch.eye(3, device=power.device)
    slope = torch.linalg.solve(gram, centred.transpose(1, 2) @ ((power - mean) * here) / count)
    return torch.cat([mean, slope], dim=1).transpose(1, 2)
