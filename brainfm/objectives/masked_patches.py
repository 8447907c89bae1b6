"""Masked patches: the encoder sees some tokens, a light decoder says what the others held (He et al. 2022, arXiv:2111.06377).

Beside it, targets for the window as a whole: the pooled features of what was seen must tell the statistics of all of it.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.layers.position import PositionFeatures
from brainfm.objectives import Loss, Objective
from brainfm.pooling import pool_tokens
from brainfm.statistics import row_names, row_statistics, window_names, window_statistics
from brainfm.tokens import Hidden, Tokenized, Tokens

SHORT = 16
"""Samples from which on a patch has a shape of its own."""
Waves = Float[Tensor, "batch row time"]
"""The signal of every row of tokens."""


class MaskedPatches(Objective):
    """Mean squared error on hidden patches at mean 0 and variance 1 (`patches_wanted`), plus the window's statistics."""

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
            self.describe = nn.ModuleDict({modality: Describe(width, modality) for modality in patches})

    @torch.no_grad()
    def fit(self, batches: Sequence[tuple[Batch, Tensor]]) -> None:
        """Learn the corpus's mean and spread of each statistic of each modality, so that all weigh the same."""
        if self.part.statistics:
            for modality, describe in self.describe.items():
                assert isinstance(describe, Describe)
                describe.fit([(batch, rows) for batch, rows in batches if batch.modality == modality])

    def forward(self, batch: Batch, tokenized: Tokenized, encoder: nn.Module, hidden: Hidden) -> Loss:
        seen = encoder(tokenized.tokens.take(hidden.seen))
        target = held(patches_wanted(tokenized, batch.modality), hidden).detach()
        predicted = self.decode(batch.modality, seen, tokenized.tokens.take(hidden.hidden))
        parts = {"patches": F.mse_loss(predicted.float(), target), **tokenized.losses}
        if self.part.statistics:
            describe: nn.Module = self.describe[batch.modality]
            parts["statistics"] = describe(batch, waves(batch, tokenized), seen)
        return Loss(parts, {**dict.fromkeys(tokenized.losses, 1.0), **self.weights})

    def decode(self, modality: str, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden time"]:
        """Normalised patches at the places and times of `asked`, from what was seen."""
        x = self.ask + self.where(asked.position, asked.located)
        if asked.who is not None:
            x = x + asked.who.to(x.dtype)
        for block in self.blocks:
            x = block(x, asked.time, seen.embedding, seen.time, seen.valid if seen.padded else None)
        return self.predict[modality](self.norm(x))


class Describe(nn.Module):
    """Tell each row's statistics from the mean of its seen tokens, and the head's fields from the mean of all.

    A row is a sensor, or what stands for several. The targets come from the whole window, hidden parts included; a row of
    which nothing was seen is not asked.
    """

    def __init__(self, width: int, modality: str) -> None:
        super().__init__()
        told, fields = len(row_names(modality)), len(window_names(modality))
        self.sensor, self.window = nn.Linear(width, told), nn.Linear(width, fields)
        self.mean, self.std = nn.Buffer(torch.zeros(told)), nn.Buffer(torch.ones(told))
        self.window_mean, self.window_std = nn.Buffer(torch.zeros(fields)), nn.Buffer(torch.ones(fields))

    def fit(self, batches: Sequence[tuple[Batch, Tensor]]) -> None:
        """Mean and spread of each statistic over these windows and their rows."""
        rows = torch.cat([statistics(batch, waves_).flatten(0, 1) for batch, waves_ in batches])
        windows = torch.cat([fields(batch) for batch, _ in batches])
        self.mean.copy_(rows.mean(dim=0))
        self.std.copy_(rows.std(dim=0, correction=0).clamp(min=1e-3))
        self.window_mean.copy_(windows.mean(dim=0))
        self.window_std.copy_(windows.std(dim=0, correction=0).clamp(min=1e-3))

    def forward(self, batch: Batch, waves_: Waves, seen: Tokens) -> Float[Tensor, ""]:
        wanted = ((fields(batch) - self.window_mean) / self.window_std).clamp(-5, 5)
        loss = F.smooth_l1_loss(self.window(pool_tokens(seen, "mean")).float(), wanted)
        pooled, counted = per_row(seen, waves_.shape[1])
        wanted = ((statistics(batch, waves_) - self.mean) / self.std).clamp(-5, 5)
        return loss + F.smooth_l1_loss(self.sensor(pooled).float()[counted], wanted[counted])


def waves(batch: Batch, tokenized: Tokenized) -> Waves:
    """What each row of tokens stands for over the whole window; the sensors themselves where tokens are events."""
    if not tokenized.tokens.period:
        return batch.signal
    rows = int(tokenized.tokens.sensor.max()) + 1
    return tokenized.targets[batch.modality].value.unflatten(1, (rows, -1)).flatten(2)


def statistics(batch: Batch, waves_: Waves) -> Float[Tensor, "batch row statistic"]:
    """The statistics of each row."""
    return row_statistics(waves_, batch.sfreq, batch.modality)


def fields(batch: Batch) -> Float[Tensor, "batch field"]:
    """The statistics of the window as a whole, from its sensors."""
    return window_statistics(statistics(batch, batch.signal), batch.position, batch.located)


def per_row(tokens: Tokens, rows: int) -> tuple[Float[Tensor, "batch row width"], Bool[Tensor, "batch row"]]:
    """The mean of each row's tokens, and which rows have any."""
    member = F.one_hot(tokens.sensor, rows).to(tokens.embedding.dtype) * tokens.valid.unsqueeze(-1)
    count = member.sum(dim=1)
    pooled = member.transpose(1, 2) @ tokens.embedding / count.clamp(min=1).unsqueeze(-1)
    return pooled, count > 0


def held(value: Float[Tensor, "batch token time"], hidden: Hidden) -> Float[Tensor, "batch hidden time"]:
    """What the hidden tokens held."""
    return value.gather(1, hidden.hidden.unsqueeze(-1).expand(-1, -1, value.shape[-1]))


def patches_wanted(tokenized: Tokenized, modality: str) -> Float[Tensor, "batch token time"]:
    """What the decoder is to tell, at mean 0 and variance 1: patch by patch, or over each row where patches are `SHORT`.

    Two volumes of fMRI normalised alone are a sign, and ten bins of a neuron no longer say how often it fired.
    """
    value = tokenized.targets[modality].value.float()
    if not tokenized.tokens.period or value.shape[-1] >= SHORT:
        return normalise(value)
    rows = int(tokenized.tokens.sensor.max()) + 1
    whole = value.unflatten(1, (rows, -1))
    return normalise(whole.flatten(2)).unflatten(2, whole.shape[2:]).flatten(1, 2)


def normalise(patch: Float[Tensor, "batch token time"]) -> Float[Tensor, "batch token time"]:
    """Mean 0 and variance 1 in each patch alone (He et al. 2022, §4.1, the better target)."""
    centred = patch - patch.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
