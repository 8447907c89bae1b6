"""Masked patches: the encoder sees some tokens, a light decoder says what the others held (He et al. 2022, arXiv:2111.06377).

Beside it, targets for the window as a whole: the pooled features of what was seen must tell the statistics of all of it.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.layers.position import PositionFeatures
from brainfm.objectives import Loss, Objective
from brainfm.statistics import SENSOR_NAMES, WINDOW_NAMES, sensor_statistics, window_statistics
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
            self.describe = Describe(width)

    @torch.no_grad()
    def fit(self, batches: list[Batch]) -> None:
        """Learn the corpus's mean and spread of each statistic, so that all weigh the same."""
        if self.part.statistics:
            self.describe.fit(batches)

    def forward(self, batch: Batch, tokenized: Tokenized, encoder: nn.Module, hidden: Hidden) -> Loss:
        seen = encoder(tokenized.tokens.take(hidden.seen))
        target = normalise(self.target(batch, tokenized, hidden)).detach()
        predicted = self.decode(batch.modality, seen, tokenized.tokens.take(hidden.hidden))
        parts = {"patches": F.mse_loss(predicted.float(), target)}
        if self.part.statistics:
            parts["statistics"] = self.describe(batch, seen)
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


class Describe(nn.Module):
    """Tell each sensor's statistics from the mean of its seen tokens, and the head's fields from the mean of all.

    The targets come from the whole window, hidden parts included; a sensor of which nothing was seen is not asked.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sensor, self.window = nn.Linear(width, len(SENSOR_NAMES)), nn.Linear(width, len(WINDOW_NAMES))
        self.mean = nn.Buffer(torch.zeros(len(SENSOR_NAMES)))
        self.std = nn.Buffer(torch.ones(len(SENSOR_NAMES)))
        self.window_mean = nn.Buffer(torch.zeros(len(WINDOW_NAMES)))
        self.window_std = nn.Buffer(torch.ones(len(WINDOW_NAMES)))

    def fit(self, batches: list[Batch]) -> None:
        """Mean and spread of each statistic over these windows."""
        sensors = [sensor_statistics(batch.signal, batch.sfreq) for batch in batches]
        windows = torch.cat(
            [
                window_statistics(values, b.position, b.located)
                for values, b in zip(sensors, batches, strict=True)
            ]
        )
        every = torch.cat([values.flatten(0, 1) for values in sensors])
        self.mean.copy_(every.mean(dim=0))
        self.std.copy_(every.std(dim=0, correction=0).clamp(min=1e-3))
        self.window_mean.copy_(windows.mean(dim=0))
        self.window_std.copy_(windows.std(dim=0, correction=0).clamp(min=1e-3))

    def forward(self, batch: Batch, seen: Tokens) -> Float[Tensor, ""]:
        values = sensor_statistics(batch.signal, batch.sfreq)
        fields = window_statistics(values, batch.position, batch.located)
        pooled, counted = per_sensor(seen, values.shape[1])
        told = self.sensor(pooled).float()
        wanted = ((values - self.mean) / self.std).clamp(-5, 5)
        sensor = F.smooth_l1_loss(told[counted], wanted[counted])
        wanted = ((fields - self.window_mean) / self.window_std).clamp(-5, 5)
        return sensor + F.smooth_l1_loss(self.window(seen.embedding.mean(dim=1)).float(), wanted)


def per_sensor(
    tokens: Tokens, sensors: int
) -> tuple[Float[Tensor, "batch sensor width"], Bool[Tensor, "batch sensor"]]:
    """The mean of each sensor's tokens, and which sensors have any."""
    member = F.one_hot(tokens.sensor, sensors).to(tokens.embedding.dtype)
    count = member.sum(dim=1)
    pooled = member.transpose(1, 2) @ tokens.embedding / count.clamp(min=1).unsqueeze(-1)
    return pooled, count > 0


def normalise(patch: Float[Tensor, "batch token time"]) -> Float[Tensor, "batch token time"]:
    """Mean 0 and variance 1 in each patch alone (He et al. 2022, §4.1, the better target)."""
    centred = patch - patch.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
