"""Two linear maps side by side: what the first half of a vector becomes knows nothing of its second half."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Halves(nn.Module):
    """`parts` maps of `width` to `width`, each of which maps either half by itself: half the weights of whole ones.

    Beside each other, as `Linear(width, parts · width)` would give them.
    """

    def __init__(self, width: int, parts: int = 1) -> None:
        super().__init__()
        half, self.parts = width // 2, parts
        bound = 1 / math.sqrt(half)
        self.weight = nn.Parameter(torch.empty(2, parts, half, half).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*shape width"]) -> Float[Tensor, "*shape out"]:
        both = x.unflatten(-1, (2, -1))
        return torch.einsum("...hi,hpoi->...pho", both, self.weight.to(x.dtype)).flatten(-3)
