"""Masked patches: the encoder sees some tokens, a light decoder says what the others held (He et al. 2022, arXiv:2111.06377).

Beside it, one target for the window as a whole: the pooled features of what was seen must tell the statistics of all of it.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.layers.position import PositionFeatures
from brainfm.objectives import Loss, Objective
from brainfm.statistics import NAMES, window_statistics
from brainfm.tokens import Hidden, Tokenized, Tokens


class MaskedPatches(Objective):
    """Mean squared error on hidden patches, each normalised to mean 0 and variance 1, plus the window's statistics."""

    decoder_depth: int = Field(default=2, ge=1)
    statistics: float = Field(
        default=1.0, ge=0, description="weight of the window-level target; 0 leaves it out"
    )

    def build(self, width: int, patches: Mapping[str, int]) -> "MaskedPatchLoss":
        return MaskedPatchLoss(self, width, patches)


class MaskedPatchLoss(nn.Module):
    """The decoder and the statistics head; the encoder is passed in."""

    def __init__(self, part: MaskedPatches, width: int, patches: Mapping[str, int]) -> None:
        super().__init__()
        self.part = part
        self.where = PositionFeatures(width)
        self.ask = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.blocks = nn.ModuleList(
            CrossBlock(width, heads_for(width), part.decoder_depth) for _ in range(part.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.predict = nn.ModuleDict(
            {modality: nn.Linear(width, samples) for modality, samples in patches.items()}
        )
        self.weights = {"patches": 1.0}
        if part.statistics:
            self.weights["statistics"] = part.statistics
            self.describe = nn.Linear(width, len(NAMES))
            self.mean = nn.Buffer(torch.zeros(len(NAMES)))
            self.std = nn.Buffer(torch.ones(len(NAMES)))

    @torch.no_grad()
    def fit(self, batches: list[Batch]) -> None:
        """Learn the corpus's mean and spread of each statistic, so that all weigh the same."""
        if self.part.statistics:
            values = torch.cat([self.statistics(batch) for batch in batches])
            self.mean.copy_(values.mean(dim=0))
            self.std.copy_(values.std(dim=0).clamp(min=1e-3))

    def forward(self, batch: Batch, tokenized: Tokenized, encoder: nn.Module, hidden: Hidden) -> Loss:
        seen = encoder(tokenized.tokens.take(hidden.seen))
        target = normalise(self.target(batch, tokenized, hidden)).detach()
        predicted = self.decode(batch.modality, seen, tokenized.tokens.take(hidden.hidden))
        parts = {"patches": F.mse_loss(predicted.float(), target)}
        if self.part.statistics:
            described = self.describe(seen.embedding.mean(dim=1)).float()
            wanted = (self.statistics(batch) - self.mean) / self.std
            parts["statistics"] = F.smooth_l1_loss(described, wanted.clamp(-5, 5))
        return Loss(parts, self.weights)

    def decode(self, modality: str, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden time"]:
        """Normalised patches at the places and times of `asked`, from what was seen."""
        x = self.ask + self.where(asked.position, asked.located)
        for block in self.blocks:
            x = block(x, asked.time, seen.embedding, seen.time, seen.valid if seen.padded else None)
        return self.predict[modality](self.norm(x))

    def target(
        self, batch: Batch, tokenized: Tokenized, hidden: Hidden
    ) -> Float[Tensor, "batch hidden time"]:
        """What the hidden tokens held."""
        value = tokenized.targets[batch.modality].value
        return value.gather(1, hidden.hidden.unsqueeze(-1).expand(-1, -1, value.shape[-1])).float()

    def statistics(self, batch: Batch) -> Float[Tensor, "batch statistic"]:
        return window_statistics(batch.signal, batch.sfreq, batch.position, batch.located)


def normalise(patch: Float[Tensor, "batch token time"]) -> Float[Tensor, "batch token time"]:
    """Mean 0 and variance 1 in each patch alone (He et al. 2022, §4.1, the better target)."""
    centred = patch - patch.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
