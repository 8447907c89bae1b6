"""A linear map of the tokens for each subject (Défossez et al. 2023, Decoding speech perception, §2.2)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brainfm.part import Settings


class SubjectLayer(Settings):
    """Who has a map of their own; everyone's begins as the identity. Whoever is `unknown` gets that, or the mean of all maps."""

    unknown: Literal["identity", "mean"] = "identity"
    ids: list[int] = []
    """Subjects by `batch.number_of` of "dataset/subject"; a recipe leaves them out, a run fills them in."""

    def build(self, width: int) -> "SubjectMaps":
        return SubjectMaps(self, width)


class SubjectMaps(nn.Module):
    """What is kept is each map less the identity, so that weight decay draws people together and not to nothing."""

    def __init__(self, settings: SubjectLayer, width: int) -> None:
        super().__init__()
        self.settings = settings
        self.change = nn.Parameter(torch.zeros(len(settings.ids), width, width))

    def forward(
        self, x: Float[Tensor, "batch token width"], subject: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch token width"]:
        """`subject` numbers whose each window is; None: nobody is known."""
        subject = x.new_zeros(len(x), dtype=torch.int64) if subject is None else subject
        known = subject.unsqueeze(1) == torch.tensor(self.settings.ids, device=x.device)
        if self.settings.unknown == "mean":
            known = known | ~known.any(dim=1, keepdim=True)  # all of them, for a mean
        weight = known.to(x.dtype)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
        change = torch.einsum("bs,sij->bij", weight, self.change.to(x.dtype))
        return x + x @ change.transpose(1, 2)
