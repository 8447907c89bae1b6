"""Contrastive: instruments that recorded the same moment must find each other among the moments of the step (InfoNCE).

Van den Oord et al. 2018 (arXiv:1807.03748, eq. 4) have the loss, Radford et al. 2021 (arXiv:2103.00020, §2.3) both ways and
the learnt temperature, Défossez et al. 2023 (arXiv:2208.12266, §2.2) brain against what was heard.
"""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.gathering import Others
from brainfm.objectives import Loss, Objective, Shapes
from brainfm.pooling import pool_tokens
from brainfm.view import View, numbers

HOTTEST = 100.0
"""The largest factor that a learnt temperature gives similarities (Radford et al. 2021, §2.5)."""


class Contrastive(Objective):
    """Cross-entropy of which window of the step is one's own, by what another instrument's seen tokens say of it.

    Each instrument is encoded by itself: in one pass they hear each other, and are known by that. Windows of a single one have
    nothing to be compared with: steps of these lack the part, as do those in which a mask hides all but one. Candidates are the
    windows of a micro-batch; with `gather` those of all processes, so that several processes give what one would.
    """

    width: int = Field(default=64, ge=1, description="of the space in which instruments are compared")
    norm: bool = Field(default=True, description="whether vectors have length 1")
    temperature: float = Field(default=0.1, gt=0, description="that similarities are divided by, at first")
    learned: bool = Field(default=True, description="whether the temperature is learnt")
    symmetric: bool = Field(default=True, description="whether each of two is to find the other")
    gather: bool = Field(default=True, description="whether windows of other processes are candidates, too")

    def build(self, shapes: Shapes) -> "ContrastiveLoss":
        return ContrastiveLoss(self, shapes)


class ContrastiveLoss(nn.Module):
    """A linear map into the common space for each instrument, and the temperature."""

    def __init__(self, part: Contrastive, shapes: Shapes) -> None:
        super().__init__()
        self.part = part
        self.project = nn.ModuleDict(
            {modality: nn.Linear(shapes.width, part.width, bias=False) for modality in shapes.patches}
        )
        factor = torch.tensor(-math.log(part.temperature))
        self.factor = nn.Parameter(factor) if part.learned else nn.Buffer(factor)

    def forward(self, view: View) -> Loss:
        there = [
            (piece.modality, pool_tokens(seen, "mean"))
            for piece, seen in zip(view.pieces, view.alone, strict=True)
            if seen.count
        ]
        if len(there) < 2:
            return Loss({}, {})
        vectors = [self.placed(modality, pooled) for modality, pooled in there]
        number = numbers(view)
        others = Others.of(number) if self.part.gather else Others.alone(number)
        ways = list(combinations(vectors, 2))
        if self.part.symmetric:
            ways += [(b, a) for a, b in ways]
        errors = [self.error(a, b, others) for a, b in ways]
        return Loss({"contrastive": torch.stack(errors).mean()}, {"contrastive": 1.0})

    def placed(self, modality: str, pooled: Float[Tensor, "window width"]) -> Float[Tensor, "window common"]:
        """Where windows lie in the common space."""
        found: Tensor = self.project[modality](pooled).float()
        return F.normalize(found, dim=-1) if self.part.norm else found

    def error(
        self, asking: Float[Tensor, "window common"], told: Float[Tensor, "window common"], others: Others
    ) -> Float[Tensor, ""]:
        """Of the windows here: which of all windows is this one? The mean over windows."""
        scale = self.factor.exp().clamp(max=HOTTEST)
        with torch.autocast(asking.device.type, enabled=False):  # a cosine times a hundred needs its digits
            similar = scale * asking @ others.gathered(told).T
        return F.cross_entropy(similar, others.mine)
