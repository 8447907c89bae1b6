"""Subject-linear: one linear map of a person's voxels to one token (MindEye2).

Scotti et al. 2024, arXiv:2403.11207, §2.2: a linear layer for each subject, without a nonlinearity, brings all to one space; what
shrinks its weights is the optimiser's weight decay, so a stage of it must not exempt them (`undecayed: []`). Here a person's map
is the rows that a vocabulary has for the voxels, so people are added by `adopt` and voxels may come in any order.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class SubjectLinear(Tokenizer):
    """One token for every `seconds`, whatever the number of voxels."""

    reads = ("fmri",)

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return ("all voxels",)

    def build(self, width: int, modality: int) -> "SubjectLinearTokenizer":
        return SubjectLinearTokenizer(self, width, modality)


class SubjectLinearTokenizer(Knowing):
    """`Batch -> Tokenized`, in order of time. A voxel that was never met has the mean of all rows."""

    def __init__(self, part: SubjectLinear, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.vocabulary = Vocabulary(part.times * width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        there = batch.valid.to(patches.dtype)
        count = there.sum(dim=1).clamp(min=1).view(-1, 1, 1)
        patches = patches * there[:, :, None, None]
        token = self.mapped(batch, patches) * math.sqrt(self.part.times * len(self.bias)) / count.sqrt()
        mean = (patches.sum(dim=1) / count).unsqueeze(1)
        # a token of all voxels lies in their middle
        here = (batch.located & batch.valid).to(patches.dtype).unsqueeze(-1)
        middle = (batch.position * here).sum(dim=1, keepdim=True) / here.sum(dim=1, keepdim=True).clamp(min=1)
        located = here.sum(dim=1) > 0
        nameless = torch.zeros_like(located, dtype=torch.int64)
        rows = Rows.all_there(middle, located, nameless, self.bias.expand(len(there), 1, -1))
        return tokenized(batch, rows, token.unsqueeze(1), mean, self.part.seconds, self.modality)

    def mapped(
        self, batch: Batch, patches: Float[Tensor, "batch sensor patch time"]
    ) -> Float[Tensor, "batch patch width"]:
        """The sum over voxels of what each says by its row."""
        if bool((batch.identity == batch.identity[0]).all()):  # one person's: one product of matrices
            weight = self.vocabulary(batch.identity[:1])[0].unflatten(-1, (self.part.times, -1))
            found: Tensor = torch.einsum("bspt,stw->bpw", patches, weight.to(patches.dtype))
            return found
        several = self.vocabulary(batch.identity).unflatten(-1, (self.part.times, -1))
        return torch.einsum("bspt,bstw->bpw", patches, several.to(patches.dtype))
