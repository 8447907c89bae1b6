"""How far predicted features of pictures are from true ones, both (picture, token, width); each loss is a mean over pictures."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SAMPLED = 32
"""Tokens of a picture that `info_nce` compares at most: their similarities grow with the square."""


def mse(told: Tensor, true: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, ""]:
    """The mean squared error."""
    return F.mse_loss(told, true)


def cosine(told: Tensor, true: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, ""]:
    """One minus the cosine over all that is told of a picture: its weight λ makes Brain-IT's "MSE − λ · cos", less a constant."""
    return (1 - F.cosine_similarity(told.flatten(1), true.flatten(1), dim=1)).mean()


def info_nce(told: Tensor, true: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, ""]:
    """Which of all tokens of all pictures is it? Both ways, by products that are neither normalised nor scaled.

    Brain-IT's low-level loss (Beliy et al. 2025, arXiv:2510.25976, §3.2): positives are a token and its prediction, negatives
    the sampled tokens of the whole micro-batch.
    """
    if told.shape[1] > SAMPLED:
        kept = torch.randperm(told.shape[1], generator=generator)[:SAMPLED].to(told.device)
        told, true = told[:, kept], true[:, kept]
    a, b = told.flatten(0, 1).float(), true.flatten(0, 1).float()
    with torch.autocast(a.device.type, enabled=False):  # differences of large products need their digits
        similar = a @ b.T
    mine = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(similar, mine) + F.cross_entropy(similar.T, mine)) / 2


LOSSES: Mapping[str, Callable[[Tensor, Tensor, torch.Generator | None], Tensor]] = {
    "mse": mse,
    "cosine": cosine,
    "info_nce": info_nce,
}
"""By the name that a stage's objectives use."""


def weighted(
    told: Mapping[str, Tensor],
    true: Mapping[str, Tensor],
    objectives: Mapping[str, Mapping[Any, float]],
    generator: torch.Generator | None = None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Each target's losses, unweighted, under "target.loss", and their weights."""
    parts, weights = {}, {}
    for target, asked in objectives.items():
        for name, weight in asked.items():
            parts[f"{target}.{name}"] = LOSSES[name](told[target].float(), true[target].float(), generator)
            weights[f"{target}.{name}"] = weight
    return parts, weights
